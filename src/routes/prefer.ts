/**
 * How long a caller wants to wait for the end of a run: `?wait=30`, or `Prefer: wait=30` (RFC 7240, section 4.3).
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { wholeNumber } from './wholeNumber.ts';

/** Proxies and clients seldom let a request stay open for longer. */
export const longestWaitSeconds = 60;

/**
 * What the header `Prefer` asks for: seconds, null when it asks for no wait. What is more than may be is cut to that; other
 * preferences, and whatever is none, are passed over (RFC 7240, section 2).
 */
export function preferredWait(header: string | string[] | undefined): number | null {
  if (header === undefined) return null;
  for (const preference of preferences(String(header))) {
    const [assignment = ''] = preference.split(';', 1);
    const [name = '', ...value] = assignment.split('=');
    if (name.trim().toLowerCase() !== 'wait') continue;
    const [, seconds] = /^(?:(\d+)|"(\d+)")$/.exec(value.join('=').trim())?.filter(Boolean) ?? [];
    // Only the first of its name counts, whatever it is.
    return seconds === undefined ? null : Math.min(Number(seconds), longestWaitSeconds);
  }
  return null;
}

/** The header between its commas; those within quotes separate nothing. */
function preferences(header: string): string[] {
  const found: string[] = [];
  let from = 0;
  let isQuoted = false;
  for (let at = 0; at < header.length; at++) {
    const char = header[at];
    if (char === '"') isQuoted = !isQuoted;
    else if (char === '\\' && isQuoted) at++;
    else if (char === ',' && !isQuoted) {
      found.push(header.slice(from, at));
      from = at + 1;
    }
  }
  return [...found, header.slice(from)];
}

/** The wait of a start: only the header asks for it. Says in the answer that it was heeded. */
export function waitOfStart(request: FastifyRequest, reply: FastifyReply): number | null {
  const seconds = preferredWait(request.headers.prefer);
  if (seconds !== null) reply.header('preference-applied', `wait=${seconds}`);
  return seconds;
}

/** The wait of a read: the query, or else the header. Throws a 400 for a query that cannot be. */
export function waitOfRead(request: FastifyRequest, reply: FastifyReply): number | null {
  const { wait } = request.query as { wait?: string };
  const seconds = wholeNumber('wait', wait, 0, longestWaitSeconds, 'a whole number of seconds');
  return seconds ?? waitOfStart(request, reply);
}
