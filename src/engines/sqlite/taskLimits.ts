/**
 * What a task's author limits, and how much of it is taken: attempts at once in all, for each client and for each key, and
 * beginnings in a span of time.
 */
import type { RateLimit } from '../../policy.ts';

/** The limits of one task, as they are told to the store thread. null: none. */
export interface Limits {
  state: string;
  task: string;
  concurrency: number | null;
  concurrencyPerClient: number | null;
  concurrencyPerKey: number | null;
  rateLimit: RateLimit | null;
  /** Whether its attempts each take one of the worker threads. */
  isolate: boolean;
}

export const noLimits: Omit<Limits, 'state' | 'task'> = {
  concurrency: null,
  concurrencyPerClient: null,
  concurrencyPerKey: null,
  rateLimit: null,
  isolate: false,
};

/** Whether nothing has to be counted for a task. */
export function isUnlimited(limits: Omit<Limits, 'state' | 'task'>): boolean {
  return (
    limits.concurrency === null &&
    limits.concurrencyPerClient === null &&
    limits.concurrencyPerKey === null &&
    limits.rateLimit === null &&
    !limits.isolate
  );
}

const spare = 500;

export class TaskLimits {
  readonly limits: Omit<Limits, 'state' | 'task'>;
  #running = 0;
  readonly #byClient = new Map<string | null, number>();
  readonly #byKey = new Map<string, number>();
  /** When the latest attempts began, oldest first: at the least `rateLimit.max` of them. */
  #begun: number[] = [];

  constructor(limits: Omit<Limits, 'state' | 'task'>) {
    this.limits = limits;
  }

  mayBegin(at: number): boolean {
    this.#keepBefore(at);
    const { concurrency } = this.limits;
    return (concurrency === null || this.#running < concurrency) && this.rateOpensAt(at) <= at;
  }

  mayBeginFor(client: string | null): boolean {
    const { concurrencyPerClient: limit } = this.limits;
    return limit === null || (this.#byClient.get(client) ?? 0) < limit;
  }

  mayBeginWith(key: string | null): boolean {
    const { concurrencyPerKey: limit } = this.limits;
    return limit === null || key === null || (this.#byKey.get(key) ?? 0) < limit;
  }

  /** When the `ahead + 1`-th attempt from now on may begin, as far as the rate goes. */
  rateOpensAt(at: number, ahead = 0): number {
    const { rateLimit } = this.limits;
    if (rateLimit === null) return at;
    const { max, perMs } = rateLimit;
    // Each waits for the one that is `max` places before it to be out of the span.
    const before = this.#begun[this.#begun.length + (ahead % max) - max];
    const opens = before === undefined ? at : Math.max(at, Math.min(before, at) + perMs);
    return opens + Math.floor(ahead / max) * perMs;
  }

  began(client: string | null, key: string | null, at: number): void {
    this.#count(1, client, key);
    const { rateLimit } = this.limits;
    if (rateLimit === null) return;
    this.#keepBefore(at);
    this.#begun.push(at);
    // A few more than are asked for, since a commit that comes to nothing takes its own away again.
    if (this.#begun.length > 2 * (rateLimit.max + spare))
      this.#begun = this.#begun.slice(-(rateLimit.max + spare));
  }

  ended(client: string | null, key: string | null): void {
    this.#count(-1, client, key);
  }

  /** A commit came to nothing: as if it had not begun. */
  didNotBegin(client: string | null, key: string | null): void {
    this.#count(-1, client, key);
    this.#begun.pop();
  }

  didNotEnd(client: string | null, key: string | null): void {
    this.#count(1, client, key);
  }

  /** What was begun before the server was started. */
  restore(begun: readonly number[]): void {
    this.#begun = [...begun];
  }

  /**
   * Where the clock was set back, what was begun later than now counts as begun now: else it would hold the task up until the clock
   * is where it was.
   */
  #keepBefore(at: number): void {
    if ((this.#begun.at(-1) ?? at) > at) this.#begun = this.#begun.map((begun) => Math.min(begun, at));
  }

  #count(change: 1 | -1, client: string | null, key: string | null): void {
    this.#running += change;
    if (this.limits.concurrencyPerClient !== null) bump(this.#byClient, client, change);
    if (this.limits.concurrencyPerKey !== null && key !== null) bump(this.#byKey, key, change);
  }
}

function bump<K>(counts: Map<K, number>, key: K, change: 1 | -1): void {
  const count = (counts.get(key) ?? 0) + change;
  if (count > 0) counts.set(key, count);
  else counts.delete(key);
}
