/**
 * How much a caller wants of what comes in pages.
 */
import type { FastifyRequest } from 'fastify';
import { wholeNumber } from './wholeNumber.ts';

const defaultLimit = 100;
const maxLimit = 1000;

/** How many a page may have. Throws a 400 for what cannot be. */
export function parseLimit(request: FastifyRequest): number {
  const { limit } = request.query as { limit?: string };
  return wholeNumber('limit', limit, 1, maxLimit) ?? defaultLimit;
}
