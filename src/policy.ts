/**
 * What an author decides about how the runs of a task are run: in numbers, without a function or a schema, so that an engine
 * can be asked to keep to it wherever it works.
 */

export type Backoff = 'fixed' | 'exponential';
export type Jitter = 'full' | 'none';
export type CatchUp = 'none' | 'one';

/** How often a failing run is tried, and how long it waits in between. */
export interface Retries {
  /** Attempts in all, the first included; 1: a failure is the end. Deaths of the process and hand-backs do not count. */
  attempts: number;
  /** `exponential` doubles the wait with each failure. */
  backoff: Backoff;
  /** The wait after the first failure. */
  delayMs: number;
  /** No wait is longer. */
  maxDelayMs: number;
  /**
   * `full`: a wait is drawn between 0 and what it would be without, so that runs which failed together do not come back
   * together (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
   */
  jitter: Jitter;
}

export interface RateLimit {
  /** Attempts that may be let go … */
  max: number;
  /** … within any span of so many milliseconds. */
  perMs: number;
}

/** When a task is run by itself. */
export interface Schedule {
  /** Five fields, or six with seconds before them. */
  cron: string;
  /** IANA name, such as `Europe/Berlin`. */
  timeZone: string;
  /** The input of its runs as JSON text; null: no body. */
  input: string | null;
  /** What becomes of occurrences that were missed while the server was down: nothing, or one run for all of them. */
  catchUp: CatchUp;
}

export interface TaskPolicy {
  onCrash: 'retry' | 'fail';
  retries: Retries;
  /** What one attempt may take; null: any time. */
  timeoutMs: number | null;
  /** How long an attempt may say nothing; null: any time. */
  heartbeatMs: number | null;
  /** A run that has not begun so long after it was due ends in `Error`; null: it waits. */
  expiresInMs: number | null;
  /** 0 to 9: higher goes first. */
  priority: number;
  /** Attempts at once of this task; null: as many as the server makes. */
  concurrency: number | null;
  concurrencyPerClient: number | null;
  concurrencyPerKey: number | null;
  rateLimit: RateLimit | null;
  /** In a worker thread of its own. */
  isolate: boolean;
  /** Heap of that thread, in MiB; null: as Node decides. */
  memoryMb: number | null;
  schedules: readonly Schedule[];
}

export const highestPriority = 9;

/**
 * No span of time that an author gives is longer: ten years, beyond which it is a mistake in the unit. Whoever sets a timer for one
 * must mind that Node's reach no further than `longestDelayMs` of `clock.ts`.
 */
export const longestSpanMs = 10 * 365 * 86_400_000;

/** What holds where the author has said nothing. */
export const defaultRetries: Retries = {
  attempts: 1,
  backoff: 'exponential',
  delayMs: 1000,
  maxDelayMs: 3_600_000,
  jitter: 'full',
};

export const defaultPolicy: TaskPolicy = {
  onCrash: 'retry',
  retries: defaultRetries,
  timeoutMs: null,
  heartbeatMs: null,
  expiresInMs: null,
  priority: 0,
  concurrency: null,
  concurrencyPerClient: null,
  concurrencyPerKey: null,
  rateLimit: null,
  isolate: false,
  memoryMb: null,
  schedules: [],
};

/** What the server's tasks want, by name. */
export interface Policies {
  /** That of a task which is no longer served is the default. */
  of(state: string, task: string): TaskPolicy;
  all(): readonly { state: string; task: string; policy: TaskPolicy }[];
  /** What the task's `key` and `unique` make of an input (JSON text, or null for no body) that it accepts. */
  keysOf(state: string, task: string, input: string | null): RunKeys;
}

/** The keys of one run; left out where the task has none. */
export interface RunKeys {
  /** For `concurrencyPerKey`. */
  key?: string;
  /** Another start of the task by the same client with the same key gets this run instead: for `forMs` from when it may begin, null for as long as it is active. */
  unique?: { key: string; forMs: number | null };
}

/** How long a run waits after its `failures`-th failure. `random` is from 0 to 1. */
export function retryDelayMs(retries: Retries, failures: number, random = Math.random()): number {
  // No further than a number goes: nothing times infinity is no number.
  const factor = retries.backoff === 'fixed' ? 1 : 2 ** Math.min(failures - 1, 1000);
  const delayMs = Math.min(retries.delayMs * factor, retries.maxDelayMs);
  return Math.round(retries.jitter === 'full' ? delayMs * random : delayMs);
}
