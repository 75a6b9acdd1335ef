/**
 * What a caller may say of a start in its query: when the run may begin, how urgent it is, and how long an attempt may take.
 */
import type { FastifyRequest } from 'fastify';
import type { StartRequest } from '../engine.ts';
import { shown } from '../errors.ts';
import { highestPriority, longestSpanMs } from '../policy.ts';
import { checkQuery, invalidQuery } from './checks.ts';
import { wholeNumber } from './wholeNumber.ts';

export type StartOptions = Pick<StartRequest, 'runAt' | 'priority' | 'timeoutMs'>;

const names = ['delay_ms', 'run_at', 'priority', 'timeout_ms'];

/**
 * undefined when there is no query. Throws a 400 for what is unknown or not valid. `timeoutLimitMs` is what the author gives an
 * attempt, of which a caller can only take away; null: there is no limit, or it is not known yet.
 */
export function startOptions(
  request: FastifyRequest,
  timeoutLimitMs: number | null,
  now: number,
): StartOptions | undefined {
  if (!request.raw.url?.includes('?')) return undefined;
  checkQuery(request, names);
  const query = request.query as Record<string, string | undefined>;
  const runAt = timeToRun(query.delay_ms, query.run_at, now);
  const priority = wholeNumber('priority', query.priority, 0, highestPriority);
  const timeoutMs = wholeNumber('timeout_ms', query.timeout_ms, 1, longestSpanMs);
  if (timeoutMs !== undefined && timeoutLimitMs !== null && timeoutMs > timeoutLimitMs) {
    throw invalidQuery(
      'timeout_ms',
      `timeout_ms is ${timeoutMs}, but the task gives each attempt ${timeoutLimitMs} ms: ask for that, or for less.`,
    );
  }
  return {
    ...(runAt !== undefined && runAt > now && { runAt }),
    ...(priority !== undefined && { priority }),
    ...(timeoutMs !== undefined && { timeoutMs }),
  };
}

function timeToRun(delay: string | undefined, time: string | undefined, now: number): number | undefined {
  if (delay !== undefined && time !== undefined) {
    throw invalidQuery('run_at', 'delay_ms and run_at both say when the run may begin: give one of them.');
  }
  const delayMs = wholeNumber('delay_ms', delay, 0, longestSpanMs);
  if (delayMs !== undefined) return now + delayMs;
  if (time === undefined) return undefined;
  const runAt = parseTime(time);
  if (runAt === undefined) {
    throw invalidQuery(
      'run_at',
      `run_at must be a time with its offset from UTC, such as 2026-11-23T15:30:00Z or 2026-11-23T16:30:00%2B01:00, and not ${shown(time)}.`,
    );
  }
  if (runAt <= now + longestSpanMs) return runAt;
  throw invalidQuery('run_at', `run_at is ${shown(time)}, which is more than 10 years away.`);
}

/**
 * A date-time of RFC 3339, in milliseconds since the epoch. A `+` that was not encoded has become a space on its way, and there
 * is nothing else that it could have been.
 */
export function parseTime(text: string): number | undefined {
  const pattern =
    /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(\.\d{1,12})?(?:[Zz]|([+ -])(\d\d):(\d\d))$/;
  const match = pattern.exec(text);
  if (!match) return undefined;
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number) as [
    ...[number, number, number],
    ...[number, number, number],
  ];
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return undefined;
  const [offsetHours, offsetMinutes] = [Number(match[9] ?? 0), Number(match[10] ?? 0)];
  // A minute may have a leap second.
  if (hour > 23 || minute > 59 || second > 60 || offsetHours > 23 || offsetMinutes > 59) return undefined;
  const ms = Math.floor(Number(match[7] ?? 0) * 1000);
  const offset = (offsetHours * 60 + offsetMinutes) * (match[8] === '-' ? -1 : 1);
  return date.getTime() + ((hour * 60 + minute - offset) * 60 + second) * 1000 + ms;
}
