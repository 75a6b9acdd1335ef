/**
 * Which events of a run somebody has already.
 */
import type { FastifyRequest } from 'fastify';
import { RequestError } from '../errors.ts';
import type { Run } from '../run.ts';
import { invalidQuery } from './checks.ts';

const wholeNumber = /^\d{1,15}$/;

/** The last `seq` that the caller has; 0, for everything, when it does not say. */
export function parseSince(request: FastifyRequest): number {
  const { since } = request.query as { since?: string };
  if (since === undefined) return 0;
  if (wholeNumber.test(since)) return Number(since);
  throw invalidQuery(
    'since',
    'since must be a whole number: the seq of the last message that you have, or 0 for all.',
  );
}

/** The same for a reader of server-sent events, which says it in a header when it comes back, and cannot change its address. */
export function parseLastEventId(request: FastifyRequest): number {
  const since = parseSince(request);
  const header = request.headers['last-event-id'];
  if (header === undefined || header === '') return since;
  if (wholeNumber.test(String(header))) return Number(header);
  throw new RequestError(
    'bad-request',
    'The header Last-Event-ID must be the id of an event of this stream: a whole number.',
  );
}

/** Throws a 400 when the run has not come so far. */
export function requireReached({ snapshot }: Run, since: number): void {
  if (since <= snapshot.seq) return;
  throw invalidQuery('since', `since is ${since}, but the run's latest event has seq ${snapshot.seq}.`);
}
