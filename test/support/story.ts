/**
 * What every watcher may rely on, whatever happens: a stream that leaves nothing out without saying so, and ends once.
 */
import { isTerminal, type TaskStatus } from '../../src/run.ts';
import type { WireMessage } from './watcher.ts';

/** Where a run stands among others has no place among its events. */
export function isEvent({ type }: WireMessage): boolean {
  return type !== 'position';
}

function ends({ type, status }: WireMessage): boolean {
  return type !== 'gap' && isTerminal(status as TaskStatus);
}

/**
 * What is wrong with all that a stream of one run told after `since`, or null. Each `seq` follows the one before; a hole is
 * explained by one `gap`, behind which comes where the run stands; the end comes once, and last.
 */
export function faultOfStream(all: readonly WireMessage[], since = 0): string | null {
  const messages = all.filter(isEvent);
  let position = since;
  for (const [place, message] of messages.entries()) {
    const { type, seq, missed = 0 } = message;
    const before = messages[place - 1];
    if (before && ends(before)) return `${shown(message)} after the end, ${shown(before)}`;
    if (type === 'gap') {
      if (missed < 1 || seq - missed !== position + 1) return `${shown(message)} after seq ${position}`;
      const next = messages[place + 1];
      if (next && (next.seq !== seq || !(next.type === 'snapshot' || ends(next))))
        return `${shown(next)} behind ${shown(message)}`;
      position = seq - 1;
      continue;
    }
    if (type === 'snapshot' && before?.type !== 'gap') return `${shown(message)} without a gap before it`;
    if (seq !== position + 1) return `${shown(message)} after seq ${position}`;
    position = seq;
  }
  return null;
}

/** What is wrong with a stream that is over. */
export function faultOfWholeStream(all: readonly WireMessage[], since = 0): string | null {
  const messages = all.filter(isEvent);
  const last = messages.at(-1);
  if (!last || !ends(last)) return `it stopped at ${last ? shown(last) : 'nothing'}`;
  return faultOfStream(messages, since);
}

/**
 * What is wrong with what a stream of all told of one run, or null. It begins with where the run stood, with its first event,
 * or with a gap; from then on it is like a stream of the run alone.
 */
export function faultOfPart(all: readonly WireMessage[]): string | null {
  const messages = all.filter(isEvent);
  const [first, ...rest] = messages;
  if (!first) return null;
  if (first.type === 'gap') return faultOfStream(messages, first.seq - (first.missed ?? 0) - 1);
  if (first.type === 'snapshot') {
    return ends(first) && rest.length > 0
      ? `${shown(rest[0] as WireMessage)} after the end, ${shown(first)}`
      : faultOfStream(rest, first.seq);
  }
  return first.seq === 1 ? faultOfStream(messages) : `it began with ${shown(first)}`;
}

function shown({ type, seq, status, missed }: WireMessage): string {
  return type === 'gap' ? `a gap of ${missed} before ${seq}` : `${type} ${seq} (${status})`;
}
