/**
 * The HTTP application: what every request goes through, and every route. It listens to nothing yet.
 */
import type { IncomingMessage } from 'node:http';
import websocket from '@fastify/websocket';
import Fastify, { type FastifyInstance, LogController } from 'fastify';
import { directIsOn, startsPerSecond } from './config.ts';
import { RequestError } from './errors.ts';
import { type Log, redactUrl } from './logging.ts';
import { bodyLimitBytes, readJsonBodies } from './routes/body.ts';
import { catalogueRoutes } from './routes/catalogue.ts';
import { directRoutes } from './routes/direct.ts';
import { docsRoutes } from './routes/docs.ts';
import { enter, guardRoutes } from './routes/entry.ts';
import { EventStreams } from './routes/eventStreams.ts';
import { eventRoutes } from './routes/events.ts';
import { healthRoutes } from './routes/health.ts';
import { startLimits } from './routes/limits.ts';
import { logRoutes } from './routes/logs.ts';
import type { RouteParts } from './routes/parts.ts';
import { answerClientError, answerError, answerHandshakeError, endWithProblem } from './routes/problems.ts';
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

/** The application of these parts, ready to listen. */
export async function createApp(
  parts: Omit<RouteParts, 'limits' | 'events'>,
  timeouts: Partial<HttpTimeouts> = {},
): Promise<FastifyInstance> {
  const app = makeApp(parts, { ...defaultTimeouts, ...timeouts });
  app.decorateRequest('clientToken', null);
  guardRoutes(app, parts.guard);
  if (parts.log.enabled('debug')) logAnswers(app, parts.log);
  answerWhatIsNoRequest(app);
  readJsonBodies(app);
  const events = new EventStreams(parts.clock);
  events.start();
  app.addHook('onClose', async () => events.stop());
  await addRoutes(app, { ...parts, events, limits: await startLimits(app, startsPerSecond(parts.config)) });
  return app;
}

function makeApp({ guard, log }: Pick<RouteParts, 'guard' | 'log'>, timeouts: HttpTimeouts): FastifyInstance {
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
        enter(guard, request, reply);
        answerError(log, error, request, reply);
      } catch (refusal) {
        answerError(log, refusal, request, reply);
      }
    },
  });
  app.setErrorHandler((error, request, reply) => answerError(log, error, request, reply));
  return app;
}

function logAnswers(app: FastifyInstance, log: Log): void {
  app.addHook('onResponse', (request, reply, done) => {
    const { statusCode: status, elapsedTime } = reply;
    const fields = {
      method: request.method,
      url: redactUrl(request.url),
      status,
      ms: Math.round(elapsedTime),
    };
    log('debug', 'Answered', fields);
    done();
  });
}

/** What Node keeps from the routes, and would otherwise answer without a body. */
function answerWhatIsNoRequest(app: FastifyInstance): void {
  app.server.on('connect', (_request, socket) => {
    socket.on('error', () => socket.destroy());
    const detail = 'This server is not a proxy: it does not take CONNECT.';
    endWithProblem(socket, new RequestError('method-not-allowed', detail));
  });
  // An expectation that nobody knows is one that nobody need meet (RFC 9110, section 10.1.1).
  app.server.on('checkExpectation', (request, response) => app.routing(request, response));
}

async function addRoutes(app: FastifyInstance, parts: RouteParts): Promise<void> {
  healthRoutes(app, parts);
  catalogueRoutes(app, parts);
  if (directIsOn(parts.config)) directRoutes(app, parts);
  stateEventRoutes(app, parts);
  eventRoutes(app, parts);
  logRoutes(app, parts);
  // Each in a scope of its own, since what their plugins hook in would run for every request.
  await app.register((scope) => docsRoutes(scope, parts));
  await app.register(async (scope) => {
    await scope.register(websocket, {
      options: { maxPayload: framePayloadLimitBytes, perMessageDeflate: false },
      errorHandler: (_error, socket) => socket.terminate(),
      preClose: closeSockets,
    });
    scope.websocketServer.on('wsClientError', answerHandshakeError);
    socketRoutes(scope, parts);
  });
}

function isWebSocketUpgrade(request: IncomingMessage): boolean {
  return request.headers.upgrade?.toLowerCase() === 'websocket';
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
