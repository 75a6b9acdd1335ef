/**
 * For load balancers and supervisors: whether the process lives, and whether it should be sent work.
 */
import type { FastifyInstance } from 'fastify';
import { RequestError } from '../errors.ts';
import { asJson } from './answer.ts';
import { checkQuery } from './checks.ts';
import type { RouteParts } from './parts.ts';
import { retryAfter } from './problems.ts';

export function healthRoutes(app: FastifyInstance, parts: RouteParts): void {
  /** 200 as long as the process answers at all. */
  app.get('/healthz', async (request, reply) => {
    checkQuery(request);
    return asJson(reply, '{"status":"ok"}');
  });

  /** 200 when starts are taken, else a 503 that says why not. */
  app.get('/readyz', async (request, reply) => {
    checkQuery(request);
    if (parts.isStopping()) {
      throw new RequestError('stopping', 'The server is stopping.', {
        headers: retryAfter(parts.config.graceMs),
      });
    }
    const trouble = parts.engine.trouble();
    if (trouble !== null)
      throw new RequestError('engine-unavailable', trouble, { headers: retryAfter(1000) });
    return asJson(reply, '{"status":"ready"}');
  });
}
