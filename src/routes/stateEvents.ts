/**
 * State events: runs that belong to a client token, and are seen with that token only.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { ListQuery } from '../engine.ts';
import type { ClientToken } from '../token.ts';
import { asJson } from './answer.ts';
import { bulkBody, startMany } from './bulk.ts';
import { authenticateWith } from './caller.ts';
import { checkQuery, invalidQuery, unknownState } from './checks.ts';
import { parseLimit } from './limit.ts';
import type { RouteParts } from './parts.ts';
import { checkRetry, retryRun } from './retry.ts';
import { cancelRun, checkCancel, readRun } from './runs.ts';
import { checkStart, startRun } from './start.ts';

interface TokenParams {
  state: string;
  token: string;
}

export function stateEventRoutes(app: FastifyInstance, parts: RouteParts): void {
  const all = '/api/:state/tasks/:token';
  const authenticate = authenticateWith(parts);

  const withToken = [...parts.limits.byAddress, authenticate, ...parts.limits.byToken];
  const resultsOf = (request: FastifyRequest) => {
    const { state, token } = request.params as TokenParams;
    return `/api/${state}/tasks/${token}/result`;
  };
  const onStart = [
    ...withToken,
    (request: FastifyRequest, _reply: FastifyReply, done: () => void) => {
      checkStart(parts, request);
      done();
    },
  ];

  app.post(`${all}/start/:task`, {
    onRequest: onStart,
    handler: (request, reply) => startRun(parts, request, reply, resultsOf(request)),
  });

  app.post(`${all}/start/:task/bulk`, {
    ...bulkBody,
    onRequest: onStart,
    handler: (request, reply) => startMany(parts, request, reply),
  });

  app.post(`${all}/retry/:id`, {
    onRequest: [
      ...withToken,
      (request, _reply, done) => {
        checkRetry(parts, request);
        done();
      },
    ],
    handler: (request, reply) => retryRun(parts, request, reply, resultsOf(request)),
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
  const { before } = request.query as { before?: string };
  if (before === '')
    throw invalidQuery('before', 'before is empty. Give the task_id of the last run of the page before.');
  return {
    limit: parseLimit(request),
    ...(before !== undefined && { before }),
  };
}
