/**
 * How much a caller wants of what comes in pages.
 */
import type { FastifyRequest } from 'fastify';
import { invalidQuery } from './checks.ts';

const defaultLimit = 100;
const maxLimit = 1000;

/** How many a page may have. Throws a 400 for what cannot be. */
export function parseLimit(request: FastifyRequest): number {
  const { limit: text } = request.query as { limit?: string };
  if (text === undefined) return defaultLimit;
  const limit = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (limit >= 1 && limit <= maxLimit) return limit;
  throw invalidQuery('limit', `limit must be a whole number from 1 to ${maxLimit}.`);
}
