/**
 * Which events of a run somebody has already.
 */
import type { FastifyRequest } from 'fastify';
import { RequestError, shown } from '../errors.ts';
import type { Run } from '../run.ts';
import { invalidQuery } from './checks.ts';

const wholeNumberPattern = /^\d{1,15}$/;

/** The last `seq` that the caller has; 0, for everything, when it does not say. */
export function parseSince(request: FastifyRequest): number {
  const { since } = request.query as { since?: string };
  if (since === undefined) return 0;
  if (wholeNumberPattern.test(since)) return Number(since);
  throw invalidQuery(
    'since',
    `since must be a whole number, the seq of the last message that you have, or 0 for all, and not ${shown(since)}.`,
  );
}

/**
 * The same for a reader of server-sent events, which says it in a header when it comes back, and cannot change its address;
 * undefined when it has none.
 */
export function parseLastEventId({ headers }: FastifyRequest): number | undefined {
  const header = headers['last-event-id'];
  if (header === undefined || header === '') return undefined;
  if (wholeNumberPattern.test(String(header))) return Number(header);
  throw new RequestError(
    'bad-request',
    `The header Last-Event-ID must be the id of an event of this stream, a whole number, and not ${shown(String(header))}.`,
  );
}

/** Throws a 400 when the run has not come so far, in words for where the caller said it. */
export function requireReached(
  { snapshot }: Run,
  since: number,
  where: 'since' | 'Last-Event-ID' = 'since',
): void {
  if (since <= snapshot.seq) return;
  const text = `${where} is ${since}, but the run's latest event has seq ${snapshot.seq}.`;
  throw where === 'since' ? invalidQuery('since', text) : new RequestError('bad-request', text);
}
