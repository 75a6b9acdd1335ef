/**
 * Direct access: runs without a client token, seen by whoever knows their id. `--direct off` leaves these routes out.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { bulkBody, startMany } from './bulk.ts';
import type { RouteParts } from './parts.ts';
import { checkRetry, retryRun } from './retry.ts';
import { cancelRun, checkCancel, type RunParams, readRun } from './runs.ts';
import { scheduleRoutes } from './schedules.ts';
import { checkStart, startRun } from './start.ts';

export function directRoutes(app: FastifyInstance, parts: RouteParts): void {
  const resultsOf = (request: FastifyRequest) => `/api/${(request.params as RunParams).state}/task/result`;
  const onStart = [
    ...parts.limits.byAddress,
    (request: FastifyRequest, _reply: FastifyReply, done: () => void) => {
      checkStart(parts, request);
      done();
    },
  ];

  app.post('/api/:state/task/start/:task', {
    onRequest: onStart,
    handler: (request, reply) => startRun(parts, request, reply, resultsOf(request)),
  });

  app.post('/api/:state/task/start/:task/bulk', {
    ...bulkBody,
    onRequest: onStart,
    handler: (request, reply) => startMany(parts, request, reply),
  });

  app.post('/api/:state/task/retry/:id', {
    onRequest: [
      ...parts.limits.byAddress,
      (request, _reply, done) => {
        checkRetry(parts, request);
        done();
      },
    ],
    handler: (request, reply) => retryRun(parts, request, reply, resultsOf(request)),
  });

  app.get('/api/:state/task/result/:id', (request, reply) => readRun(parts, request, reply, null));

  app.post('/api/:state/task/cancel/:id', {
    onRequest: (request, _reply, done) => {
      checkCancel(request);
      done();
    },
    handler: (request, reply) => cancelRun(parts, request, reply, null),
  });

  scheduleRoutes(app, parts);
}
