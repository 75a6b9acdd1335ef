/**
 * What every request goes through before its route, and where it ends when there is none.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { RequestError, shown } from '../errors.ts';
import { type Guard, isUpgrade } from '../guard.ts';
import { redactUrl } from '../logging.ts';
import { commonHeaders } from './problems.ts';

export function guardRoutes(app: FastifyInstance, guard: Guard): void {
  app.addHook('onRoute', (route) => {
    if (route.websocket) route.config = { ...route.config, isWebSocket: true };
  });
  app.addHook('onRequest', (request, reply, done) => {
    enter(guard, request, reply);
    if (request.is404) return answerNoRoute(app, request, reply);
    if (isUpgrade(request.raw) && !request.routeOptions.config.isWebSocket) throw noWebSocket();
    done();
  });
  app.setNotFoundHandler((request, reply) => answerNoRoute(app, request, reply));
}

/** Sets the headers of every answer. Throws a `RequestError` for a request from where none may come. */
export function enter(guard: Guard, request: FastifyRequest, reply: FastifyReply): void {
  const { raw } = request;
  reply.header('cache-control', commonHeaders['cache-control']);
  reply.header('referrer-policy', commonHeaders['referrer-policy']);
  reply.header('x-content-type-options', commonHeaders['x-content-type-options']);
  if (isUpgrade(raw)) closeAfterAnswer(raw, reply.raw);
  // Before the guard: a page of an allowed origin may read why it was refused.
  if (guard.knowsOrigins) allowOrigin(guard, request, reply);
  guard.check(raw);
}

/** What a page of an allowed origin may read, and may send, besides what every page may. */
const exposedHeaders = 'Link, Location, Preference-Applied, Retry-After, Spyglass-Deduplicated';
const takenHeaders = 'Content-Type, Idempotency-Key, Last-Event-ID, Prefer';

/** CORS (https://fetch.spec.whatwg.org/#http-cors-protocol), for the origins that were allowed. */
function allowOrigin(guard: Guard, request: FastifyRequest, reply: FastifyReply): void {
  reply.header('vary', 'Origin');
  const origin = guard.allowedOrigin(request.raw);
  if (origin === undefined) return;
  reply.header('access-control-allow-origin', origin);
  reply.header('access-control-expose-headers', exposedHeaders);
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

/** 405 where another method would do, 204 for OPTIONS there, and 404 where none would. */
function answerNoRoute(app: FastifyInstance, request: FastifyRequest, reply: FastifyReply): void {
  const path = (request.raw.url ?? '/').split(/[?#]/, 1)[0] as string;
  const methods = ['GET', 'HEAD', 'POST'].filter((method) => app.findRoute({ method, url: path }));
  if (methods.length === 0) {
    throw new RequestError(
      'not-found',
      `There is nothing at ${shown(redactUrl(path))}. GET /api/tasks lists what can be started; /docs describes it.`,
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
    reply.header('access-control-allow-headers', takenHeaders);
    reply.header('access-control-max-age', '600');
  }
  reply.code(204).send();
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Set for the routes that take an upgrade. */
    isWebSocket?: boolean;
  }
}
