/**
 * What an author throws to say whether a failed attempt is followed by another. There can be a second copy of this module,
 * as of `task.ts`, so what an error wishes is kept on it under a `Symbol.for` key that every copy knows.
 */
import { shownValue } from './errors.ts';
import { longestSpanMs } from './policy.ts';
import type { RetryWish } from './run.ts';

const wish: unique symbol = Symbol.for('spyglass-tasks.retry-wish');

/** Ends the run in `Error` at once, however many attempts its `retries` would still give it: trying again would not help. */
export class FatalError extends Error {
  override name = 'FatalError';
  readonly [wish]: RetryWish = 'never';
}

/**
 * Fails the attempt, and says how long to wait before the next: what a `Retry-After` header asks for, say. It takes the place of
 * the wait that `retries` would make, `maxDelayMs` and jitter included. It gives no attempt that `retries` does not: thrown by
 * the last one, it ends the run.
 */
export class RetryError extends Error {
  override name = 'RetryError';
  /** Milliseconds, in whole ones: a part of one is rounded up. */
  readonly afterMs: number;
  readonly [wish]: RetryWish;

  /** Throws a `TypeError` unless `afterMs` is a number of milliseconds from 0 to ten years. */
  constructor(
    afterMs: number,
    message = `The task asked to be tried again after ${afterMs} ms`,
    options?: ErrorOptions,
  ) {
    if (!isSpan(afterMs)) {
      throw new TypeError(
        `new RetryError(afterMs) takes a number of milliseconds from 0 to ${longestSpanMs} (ten years), not ${shownValue(afterMs)}`,
      );
    }
    super(message, options);
    this.afterMs = Math.ceil(afterMs);
    this[wish] = { afterMs: this.afterMs };
  }
}

/** What `thrown` says of the next attempt; undefined when it says nothing, and `retries` decides. */
export function retryWish(thrown: unknown): RetryWish | undefined {
  if (typeof thrown !== 'object' || thrown === null || !(wish in thrown)) return undefined;
  const said = thrown[wish] as { afterMs?: unknown } | 'never' | null | undefined;
  if (said === 'never') return said;
  // Another copy can be another version: what this one cannot act on is not a wish.
  return isSpan(said?.afterMs) ? { afterMs: Math.ceil(said.afterMs) } : undefined;
}

function isSpan(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value <= longestSpanMs;
}
