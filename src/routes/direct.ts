/**
 * Direct access: runs without a client token, seen by whoever knows their id. `--direct off` leaves these routes out.
 */
import type { FastifyInstance } from 'fastify';
import type { RouteParts } from './parts.ts';
import { cancelRun, checkCancel, checkStart, readRun, type StartParams, startRun } from './runs.ts';

export function directRoutes(app: FastifyInstance, parts: RouteParts): void {
  app.post('/api/:state/task/start/:task', {
    onRequest: [
      ...parts.limits.byAddress,
      (request, _reply, done) => {
        checkStart(parts, request);
        done();
      },
    ],
    handler: (request, reply) =>
      startRun(parts, request, reply, null, `/api/${(request.params as StartParams).state}/task/result`),
  });

  app.get('/api/:state/task/result/:id', (request, reply) => readRun(parts, request, reply, null));

  app.post('/api/:state/task/cancel/:id', {
    onRequest: (request, _reply, done) => {
      checkCancel(request);
      done();
    },
    handler: (request, reply) => cancelRun(parts, request, reply, null),
  });
}
