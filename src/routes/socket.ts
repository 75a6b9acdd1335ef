/**
 * The WebSocket streams: one run, directly or with a client token, and all runs of a client token. They only send.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { WebSocket } from 'ws';
import { endedToken } from '../auth.ts';
import { directIsOn } from '../config.ts';
import { RequestError } from '../errors.ts';
import { isUpgrade } from '../guard.ts';
import type { ClientToken } from '../token.ts';
import { authenticateWith } from './caller.ts';
import { checkQuery, requireRun, unknownState } from './checks.ts';
import { Heartbeat } from './heartbeat.ts';
import type { RouteParts } from './parts.ts';
import { parseSince, requireReached } from './since.ts';
import { WebSocketSink } from './webSocketSink.ts';

interface StreamParams {
  state: string;
  id: string;
}

export function socketRoutes(app: FastifyInstance, parts: RouteParts): void {
  const heartbeat = new Heartbeat(parts.clock);
  heartbeat.start();
  app.addHook('onClose', async () => heartbeat.stop());

  /** Hands a socket its stream, and what happens to it besides. */
  function follow(socket: WebSocket, request: FastifyRequest, watch: () => () => void): void {
    // The token may have ended while the run was looked up, when there was no stream yet to be closed.
    if (request.clientToken && !parts.auth.isGood(request.clientToken)) {
      socket.close(1008, endedToken);
      return;
    }
    const leave = watch();
    heartbeat.add(socket, request.raw.socket);
    socket.on('message', () => {
      leave();
      socket.close(1003, 'This stream only sends: it takes no frames');
    });
    socket.on('close', () => {
      leave();
      heartbeat.remove(socket);
    });
  }

  function watchRun(socket: WebSocket, request: FastifyRequest): void {
    const { id } = request.params as StreamParams;
    const client = request.clientToken?.id ?? null;
    const since = parseSince(request);
    const sink = new WebSocketSink(socket, request.raw.socket);
    follow(socket, request, () => parts.subscribers.watchRun(id, client, since, sink));
  }

  function watchAll(socket: WebSocket, request: FastifyRequest): void {
    const { state } = request.params as StreamParams;
    const { id: client } = request.clientToken as ClientToken;
    const sink = new WebSocketSink(socket, request.raw.socket);
    follow(socket, request, () => parts.subscribers.watchClient(client, state, sink));
  }

  async function requireVisible(request: FastifyRequest): Promise<void> {
    checkQuery(request, ['since']);
    const since = parseSince(request);
    const { state, id } = request.params as StreamParams;
    const run = await requireRun(parts, state, id, request.clientToken?.id ?? null);
    requireReached(run, since);
  }

  function requireState(request: FastifyRequest, _reply: FastifyReply, done: () => void): void {
    checkQuery(request);
    const { state } = request.params as StreamParams;
    if (!parts.registry.state(state)) throw unknownState(parts.registry, state);
    done();
  }

  const { byAddress, byToken } = parts.limits;
  const withToken = [...byAddress, authenticateWith(parts), ...byToken];
  if (directIsOn(parts.config)) {
    app.get(
      '/ws/:state/task/ws/:id',
      { websocket: true, onRequest: [requireUpgrade, ...byAddress, requireVisible] },
      watchRun,
    );
  }
  app.get(
    '/ws/:state/tasks/:token/:id',
    { websocket: true, onRequest: [requireUpgrade, ...withToken, requireVisible] },
    watchRun,
  );
  app.get(
    '/ws/:state/tasks/:token',
    { websocket: true, onRequest: [requireUpgrade, ...withToken, requireState] },
    watchAll,
  );
}

function requireUpgrade(request: FastifyRequest, _reply: FastifyReply, done: () => void): void {
  if (!isUpgrade(request.raw)) {
    throw new RequestError(
      'upgrade-required',
      'This address is a WebSocket stream. Open it with a WebSocket client, such as: wscat -c ws://…',
      { headers: { upgrade: 'websocket', connection: 'upgrade, close' } },
    );
  }
  done();
}
