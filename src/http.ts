/**
 * The HTTP application: what every request goes through, and every route. It listens to nothing yet.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import websocket from '@fastify/websocket';
import Fastify, {
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify';
import { directIsOn, startsPerSecond } from './config.ts';
import { RequestError, shown } from './errors.ts';
import { isUpgrade } from './guard.ts';
import { redactUrl } from './logging.ts';
import { bodyLimitBytes, readJsonBodies } from './routes/body.ts';
import { catalogueRoutes } from './routes/catalogue.ts';
import { directRoutes } from './routes/direct.ts';
import { docsRoutes } from './routes/docs.ts';
import { healthRoutes } from './routes/health.ts';
import { startLimits } from './routes/limits.ts';
import type { RouteParts } from './routes/parts.ts';
import {
  answerClientError,
  answerError,
  answerHandshakeError,
  commonHeaders,
  endWithProblem,
} from './routes/problems.ts';
import { socketRoutes } from './routes/socket.ts';
import { stateEventRoutes } from './routes/stateEvents.ts';

/** How long a client may take. All in milliseconds. */
export interface HttpTimeouts {
  /** For the request line and headers. */
  headersMs: number;
  /** For the whole request. */
  requestMs: number;
  /** Between two requests on one connection. */
  keepAliveMs: number;
  /** How often the first two are looked at. */
  checkMs: number;
}

export const defaultTimeouts: HttpTimeouts = {
  headersMs: 10_000,
  requestMs: 30_000,
  keepAliveMs: 72_000,
  checkMs: 2000,
};

/** A frame from a watcher is a mistake that is answered with a close code; this bounds what is read of it. */
const framePayloadLimitBytes = 1024;

/** For sockets that do not answer the closing handshake. */
const socketCloseMs = 1000;

export async function createApp(
  parts: Omit<RouteParts, 'limits'>,
  timeouts: HttpTimeouts = defaultTimeouts,
): Promise<FastifyInstance> {
  const { guard, log } = parts;
  const app: FastifyInstance = Fastify({
    // Fastify's own lines would carry addresses with tokens in them, and cost time on each request.
    logger: false,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: bodyLimitBytes,
    requestTimeout: timeouts.requestMs,
    keepAliveTimeout: timeouts.keepAliveMs,
    // Whoever still has a connection while the server closes is answered like everybody else.
    return503OnClosing: false,
    // As long as Node lets a header block be: what is too long to be an id or a token is unknown like any other.
    routerOptions: { maxParamLength: 16_384 },
    http: {
      headersTimeout: timeouts.headersMs,
      connectionsCheckingInterval: timeouts.checkMs,
      // Node would answer without a body; the guard says what is wrong.
      requireHostHeader: false,
      // Where Node asks (22.21, 24.9), so that a client which offers HTTP/2 in passing is served its HTTP/1.1.
      ...{ shouldUpgradeCallback: isWebSocketUpgrade },
    },
    clientErrorHandler: answerClientError,
    frameworkErrors(error, request, reply) {
      try {
        enter(request, reply);
        answerError(log, error, request, reply);
      } catch (refusal) {
        answerError(log, refusal, request, reply);
      }
    },
  });

  /** What comes before every route, and before there is found to be none. */
  function enter(request: FastifyRequest, reply: FastifyReply): void {
    const { raw } = request;
    reply.header('cache-control', commonHeaders['cache-control']);
    reply.header('referrer-policy', commonHeaders['referrer-policy']);
    reply.header('x-content-type-options', commonHeaders['x-content-type-options']);
    if (isUpgrade(raw)) closeAfterAnswer(raw, reply.raw);
    // Before the guard: a page of an allowed origin may read why it was refused.
    if (guard.knowsOrigins) allowOrigin(request, reply);
    guard.check(raw);
  }

  function allowOrigin(request: FastifyRequest, reply: FastifyReply): void {
    reply.header('vary', 'Origin');
    const origin = guard.allowedOrigin(request.raw);
    if (origin === undefined) return;
    reply.header('access-control-allow-origin', origin);
    reply.header('access-control-expose-headers', 'Location, Retry-After');
  }

  app.decorateRequest('clientToken', null);
  app.addHook('onRoute', (route) => {
    if (route.websocket) route.config = { ...route.config, isWebSocket: true };
  });
  app.addHook('onRequest', (request, reply, done) => {
    enter(request, reply);
    if (request.is404) return answerNoRoute(app, request, reply);
    if (isUpgrade(request.raw) && !request.routeOptions.config.isWebSocket) throw noWebSocket();
    done();
  });
  if (log.enabled('debug')) {
    app.addHook('onResponse', (request, reply, done) => {
      const { method, url } = request;
      log('debug', 'Answered', {
        method,
        url: redactUrl(url),
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime),
      });
      done();
    });
  }
  app.setErrorHandler((error, request, reply) => answerError(log, error, request, reply));
  app.setNotFoundHandler((request, reply) => answerNoRoute(app, request, reply));
  app.server.on('connect', (_request, socket) => {
    socket.on('error', () => socket.destroy());
    endWithProblem(
      socket,
      new RequestError('method-not-allowed', 'This server is not a proxy: it does not take CONNECT.'),
    );
  });
  // An expectation that nobody knows is one that nobody need meet (RFC 9110, section 10.1.1).
  app.server.on('checkExpectation', (request, response) => app.routing(request, response));
  readJsonBodies(app);

  const routeParts: RouteParts = { ...parts, limits: await startLimits(app, startsPerSecond(parts.config)) };
  healthRoutes(app, routeParts);
  catalogueRoutes(app, routeParts);
  if (directIsOn(parts.config)) directRoutes(app, routeParts);
  stateEventRoutes(app, routeParts);
  await app.register((scope) => docsRoutes(scope, routeParts));
  // In a scope of its own: the plugin's hooks would run for every request.
  await app.register(async (scope) => {
    await scope.register(websocket, {
      options: { maxPayload: framePayloadLimitBytes, perMessageDeflate: false },
      errorHandler: (_error, socket) => socket.terminate(),
      preClose: closeSockets,
    });
    scope.websocketServer.on('wsClientError', answerHandshakeError);
    socketRoutes(scope, routeParts);
  });
  return app;
}

/** 405 where another method would do, 204 for OPTIONS there, and 404 where none would. */
function answerNoRoute(app: FastifyInstance, request: FastifyRequest, reply: FastifyReply): void {
  const path = (request.raw.url ?? '/').split(/[?#]/, 1)[0] as string;
  const methods = ['GET', 'HEAD', 'POST'].filter((method) => app.findRoute({ method, url: path }));
  if (methods.length === 0) {
    throw new RequestError(
      'not-found',
      `There is nothing at ${shown(path)}. GET /api/tasks lists what can be started; /docs describes it.`,
    );
  }
  const allow = [...methods, 'OPTIONS'].join(', ');
  reply.header('allow', allow);
  if (request.method !== 'OPTIONS') {
    throw new RequestError(
      'method-not-allowed',
      `This address does not take ${request.method}. It takes: ${allow}.`,
    );
  }
  if (reply.hasHeader('access-control-allow-origin')) {
    reply.header('access-control-allow-methods', allow);
    reply.header('access-control-allow-headers', 'Content-Type');
    reply.header('access-control-max-age', '600');
  }
  reply.code(204).send();
}

function isWebSocketUpgrade(request: IncomingMessage): boolean {
  return request.headers.upgrade?.toLowerCase() === 'websocket';
}

/** Node has let go of a socket that asks for an upgrade, so nobody else would close it after a plain answer. */
function closeAfterAnswer(request: IncomingMessage, response: ServerResponse): void {
  response.setHeader('connection', 'close');
  response.once('finish', () => request.socket.destroySoon());
}

function noWebSocket(): RequestError {
  return new RequestError(
    'not-found',
    'There is no WebSocket at this address: send the request without the Upgrade header. Streams are below /ws.',
  );
}

/** The streams were told to close before. What is still open a moment later is not coming back. */
function closeSockets(this: FastifyInstance, done: () => void): void {
  const { clients } = this.websocketServer;
  this.websocketServer.close();
  const timer = setTimeout(() => {
    for (const client of clients) client.terminate();
  }, socketCloseMs);
  timer.unref();
  done();
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Set for the routes that take an upgrade. */
    isWebSocket?: boolean;
  }
}
