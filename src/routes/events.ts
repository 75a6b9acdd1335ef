/**
 * The streams of server-sent events: the same messages as over a WebSocket, for whatever can read a response as it comes.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { directIsOn } from '../config.ts';
import { isTerminal } from '../run.ts';
import type { ClientToken } from '../token.ts';
import { authenticateWith, requireStillGood } from './caller.ts';
import { checkQuery, requireRun, unknownState } from './checks.ts';
import { numberedEvents, unnumberedEvents } from './eventStreamSink.ts';
import type { RouteParts } from './parts.ts';
import { parseLastEventId, parseSince, requireReached } from './since.ts';

export const eventStreamType = 'text/event-stream';

export function eventRoutes(app: FastifyInstance, parts: RouteParts): void {
  const { byAddress, byToken } = parts.limits;
  const withToken = [...byAddress, authenticateWith(parts), ...byToken];
  if (directIsOn(parts.config)) {
    app.get('/api/:state/task/events/:id', {
      onRequest: [...byAddress],
      handler: (request, reply) => resumeRun(parts, request, reply),
    });
  }
  app.get('/api/:state/tasks/:token/events/:id', {
    onRequest: withToken,
    handler: (request, reply) => resumeRun(parts, request, reply),
  });
  app.get('/api/:state/tasks/:token/events', {
    onRequest: withToken,
    handler: (request, reply) => followAll(parts, request, reply),
  });
}

/** Answers with the events of a run from the first on, and ends with the run. The caller may see the run. */
export function followRun(
  parts: RouteParts,
  request: FastifyRequest,
  reply: FastifyReply,
  id: string,
  since = 0,
): FastifyReply {
  // The token may have ended while the run was looked up, when there was no stream yet to be closed.
  requireStillGood(parts, request);
  const client = request.clientToken?.id ?? null;
  return parts.events.open(request, reply, numberedEvents, (sink) =>
    parts.subscribers.watchRun(id, client, since, sink),
  );
}

/** The same from behind what the caller has. With nothing left to tell, a 204 keeps an `EventSource` from coming back for ever. */
async function resumeRun(
  parts: RouteParts,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  checkQuery(request, ['since']);
  const inQuery = parseSince(request);
  const lastId = parseLastEventId(request);
  const since = lastId ?? inQuery;
  const { state, id } = request.params as { state: string; id: string };
  const run = await requireRun(parts, state, id, request.clientToken?.id ?? null);
  requireReached(run, since, lastId === undefined ? 'since' : 'Last-Event-ID');
  if (since === run.snapshot.seq && isTerminal(run.snapshot.status)) return reply.code(204).send();
  return followRun(parts, request, reply, id, since);
}

async function followAll(
  parts: RouteParts,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  checkQuery(request);
  const { state } = request.params as { state: string };
  if (!parts.registry.state(state)) throw unknownState(parts.registry, state);
  requireStillGood(parts, request);
  const { id: client } = request.clientToken as ClientToken;
  return parts.events.open(request, reply, unnumberedEvents, (sink) =>
    parts.subscribers.watchClient(client, state, sink),
  );
}
