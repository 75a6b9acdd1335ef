/**
 * What can be started: every state and task, with its input as JSON Schema.
 */
import type { FastifyInstance } from 'fastify';
import { asJson } from './answer.ts';
import { checkQuery } from './checks.ts';
import type { RouteParts } from './parts.ts';

export function catalogueRoutes(app: FastifyInstance, { registry }: RouteParts): void {
  let catalogue: string | undefined;
  app.get('/api/tasks', async (request, reply) => {
    checkQuery(request);
    catalogue ??= JSON.stringify(registry.catalogue());
    return asJson(reply, catalogue);
  });
}
