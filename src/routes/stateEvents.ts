/**
 * State events: runs that belong to a client token, and are seen with that token only.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { ListQuery } from '../engine.ts';
import type { ClientToken } from '../token.ts';
import { asJson } from './answer.ts';
import { authenticateWith } from './caller.ts';
import { checkQuery, invalidQuery, unknownState } from './checks.ts';
import type { RouteParts } from './parts.ts';
import { cancelRun, checkCancel, checkStart, readRun, startRun } from './runs.ts';

/** A page of the list of all runs. */
const defaultLimit = 100;
const maxLimit = 1000;

interface TokenParams {
  state: string;
  token: string;
}

export function stateEventRoutes(app: FastifyInstance, parts: RouteParts): void {
  const all = '/api/:state/tasks/:token';
  const authenticate = authenticateWith(parts);

  app.post(`${all}/start/:task`, {
    onRequest: [
      ...parts.limits.byAddress,
      authenticate,
      ...parts.limits.byToken,
      (request, _reply, done) => {
        checkStart(parts, request);
        done();
      },
    ],
    handler: (request, reply) => {
      const { state, token } = request.params as TokenParams;
      return startRun(parts, request, reply, clientOf(request), `/api/${state}/tasks/${token}/result`);
    },
  });

  app.get(all, { onRequest: authenticate, handler: (request, reply) => listRuns(parts, request, reply) });

  const one = (request: FastifyRequest, reply: FastifyReply) =>
    readRun(parts, request, reply, clientOf(request));
  app.get(`${all}/:id`, { onRequest: authenticate, handler: one });
  app.get(`${all}/result/:id`, { onRequest: authenticate, handler: one });

  app.post(`${all}/cancel/:id`, {
    onRequest: [
      authenticate,
      (request, _reply, done) => {
        checkCancel(request);
        done();
      },
    ],
    handler: (request, reply) => cancelRun(parts, request, reply, clientOf(request)),
  });
}

/** The id of the token that `authenticate` has found good. */
function clientOf(request: FastifyRequest): string {
  return (request.clientToken as ClientToken).id;
}

async function listRuns(parts: RouteParts, request: FastifyRequest, reply: FastifyReply): Promise<string> {
  const { state } = request.params as TokenParams;
  const query = page(request);
  const runs = await parts.engine.list({ state, client: clientOf(request), ...query });
  if (runs.length === 0 && !parts.registry.state(state)) throw unknownState(parts.registry, state);
  const last = runs.at(-1);
  // A page can be shorter than its limit, when results are large; the next one is behind its last run all the same.
  if (last) reply.header('link', `<?before=${last.snapshot.task_id}&limit=${query.limit}>; rel="next"`);
  const entries = runs.map(({ snapshot }) => `"${snapshot.task_id}":${JSON.stringify(snapshot)}`);
  return asJson(reply, `{"all_tasks":{${entries.join(',')}}}`);
}

function page(request: FastifyRequest): Pick<ListQuery, 'limit' | 'before'> {
  checkQuery(request, ['limit', 'before']);
  const { limit, before } = request.query as { limit?: string; before?: string };
  if (before === '')
    throw invalidQuery('before', 'before is empty. Give the task_id of the last run of the page before.');
  return {
    limit: limit === undefined ? defaultLimit : parseLimit(limit),
    ...(before !== undefined && { before }),
  };
}

function parseLimit(text: string): number {
  const limit = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (limit >= 1 && limit <= maxLimit) return limit;
  throw invalidQuery('limit', `limit must be a whole number from 1 to ${maxLimit}.`);
}
