/**
 * What an author may say about a task besides its function. `taskPolicy.ts` checks it, and makes of it what an engine is asked to
 * keep to.
 */
import type { RateLimit } from './policy.ts';
import type { SchemaInput, SchemaOutput, ZodSchema } from './schema.ts';

/**
 * Options of a task, the same for `@monitoredBackgroundTask({...})` and `defineTask({...}, fn)`. Durations are whole milliseconds,
 * 1 to ten years; other numbers are whole, 1 to 1,000,000, unless it is said otherwise. A value that is not allowed stops the server
 * from starting, with a sentence that says why.
 */
export interface TaskOptions<Schema extends ZodSchema | undefined = undefined> {
  /** A sentence for the catalogue and `/docs`. */
  description?: string;
  /** A zod schema (4 or 3) of what callers send; what it gives is the task's second argument. Default: no input. */
  input?: Schema;
  /** When the server dies while the task runs: run it again, up to 3 deaths, or end in `Error`. Default: `'retry'`. */
  onCrash?: 'retry' | 'fail';
  /**
   * How often a run that fails is tried, and how long it waits in between. Default: the first failure ends it in `Error`.
   * A failure is an attempt that throws or takes too long. When the server dies (see `onCrash`) or stops, that is none.
   */
  retries?: RetryOptions;
  /**
   * What one attempt may take. Then its signal is aborted with a `TimeoutError`; an attempt that has not ended 5 s later is given
   * up, and its thread killed if it has one (see `isolate`). Counts as a failure. A caller may ask for less. Default: any time.
   */
  timeoutMs?: number;
  /** How long an attempt may say nothing, by `update` or `log`, before it counts as hung; then as `timeoutMs`. Default: any time. */
  heartbeatMs?: number;
  /**
   * A run that has not begun so long after it was due (accepted, or the time that its caller chose) ends in `Error`, and never
   * runs late. One that has begun is not ended by this, nor are its further attempts. Default: it waits.
   */
  expiresInMs?: number;
  /**
   * 0 to 9: of runs that wait, the higher goes first. A lower one is passed over for at most 10 s once it is at the head of its
   * line. A caller may choose another for its run. Default: 0.
   */
  priority?: number;
  /** How many attempts of this task are at work at once; others wait. Default: as many as the server has places. */
  concurrency?: number;
  /** The same for each client token by itself, and for direct access as a whole. Default: no such limit. */
  concurrencyPerClient?: number;
  /** The same for each `key` by itself, which it needs. Default: no such limit. */
  concurrencyPerKey?: number;
  /**
   * No more than `max` attempts are let go within any `perMs` milliseconds; others wait. Further attempts of a run count. The method's
   * first line comes a millisecond or two after that, or later where the event loop or the start of a thread holds it up. Default: no
   * limit.
   */
  rateLimit?: RateLimit;
  /**
   * What belongs together, for `concurrencyPerKey`, without which it has no effect: a customer's id, say. Default: none.
   */
  key?: KeyFunction<Schema>;
  /**
   * A second start with the same key makes no second run, but is answered with the one there is. The key holds within the
   * task, for each client token by itself and for direct access as a whole. Default: each start makes a run.
   */
  unique?: UniqueOptions<Schema>;
  /**
   * When the task is run by itself. Such a run is one of direct access (its `client` is null), and keeps to all that is said here
   * of others. Default: never.
   */
  schedule?: readonly ScheduleOptions<Schema>[];
  /**
   * Each attempt runs in a worker thread, so that a task which computes blocks nobody, and one that does not stop can be killed. The
   * thread loads the task's file, so the state must come from one, and shares no variables with the server. A thread that
   * ends under its attempt counts as a death (see `onCrash`). Default: false.
   */
  isolate?: boolean;
  /**
   * How large the heap of that thread may grow, in MiB (16 or more); beyond it the thread is ended. Buffers and typed arrays are not
   * in the heap, and so not limited. Needs `isolate`. Default: as Node decides.
   */
  memoryMb?: number;
}

/** How often a failing run is tried, and how long it waits in between. */
export interface RetryOptions {
  /** Attempts in all, the first included: 1 to 100,000. Those that the server's death or stop cut short do not count. */
  attempts: number;
  /** `'exponential'` doubles the wait with each failure, `'fixed'` does not. Default: `'exponential'`. */
  backoff?: 'fixed' | 'exponential';
  /** The wait after the first failure; may be 0. Default: 1,000. */
  delayMs?: number;
  /** No wait that `retries` makes is longer; at least `delayMs`. Default: one hour, or `delayMs` where that is more. */
  maxDelayMs?: number;
  /**
   * `'full'`: each wait is drawn between 0 and what it would be, so that runs which failed together do not come back together.
   * `'none'`: it is what it would be. Default: `'full'`.
   */
  jitter?: 'full' | 'none';
}

/**
 * Makes a key of what the schema gives; for a task without input it has no parameter. It is called at each start: quick, and without
 * side effects. Where it throws, or gives anything but a text of 1 to 512 characters, nothing is started.
 */
export type KeyFunction<Schema extends ZodSchema | undefined> = (...args: TaskArgs<Schema>) => string;

/** How long a key holds: as long as its run is active, or for a time. */
export type UniqueOptions<Schema extends ZodSchema | undefined = undefined> =
  | {
      /** What must not be there twice. */
      key: KeyFunction<Schema>;
      /** Until the run has ended. */
      whileActive: true;
      forMs?: Refused<'unique takes either whileActive: true or forMs'>;
    }
  | {
      key: KeyFunction<Schema>;
      /** For so long from when the run may begin (its acceptance, or `?delay_ms=`, `?run_at=`), whether it has ended or not. */
      forMs: number;
      whileActive?: Refused<'unique takes either whileActive: true or forMs'>;
    };

/** When a task is run by itself, and with which input. */
export type ScheduleOptions<Schema extends ZodSchema | undefined = undefined> = ScheduleTimes &
  ScheduleArgs<Schema>;

export interface ScheduleTimes {
  /**
   * Minute, hour, day of the month, month, day of the week; or six fields, with the seconds before them. `L` is the last day of a
   * month, `MON#2` its second Monday. With both a day of the month and one of the week, either will do.
   *
   * When the clock changes, a pattern that names hours occurs once for each of its wall times: the first time where there are two of
   * one, and after the gap where there is none. A pattern of every hour (`*`) goes by elapsed time.
   */
  cron: string;
  /** An IANA name, such as `'Europe/Berlin'`. Default: `'UTC'`. */
  timeZone?: string;
  /** What becomes of occurrences that were missed while the server was down: nothing, or one run for all of them. Default: `'none'`. */
  catchUp?: 'none' | 'one';
}

/** `args` is what a caller would send. It may be left out when the schema accepts no body. */
export type ScheduleArgs<Schema extends ZodSchema | undefined> = [Schema] extends [ZodSchema]
  ? undefined extends SchemaInput<Schema>
    ? { args?: SchemaInput<Schema> }
    : { args: SchemaInput<Schema> }
  : { args?: Refused<'A task without an input schema takes no args'> };

/** What the compiler shows where a value makes no sense: the reason stands in the type. */
export interface Refused<Reason extends string> {
  readonly reason: Reason;
}

/** What follows the context among a task's parameters: the parsed input when there is a schema. */
export type TaskArgs<Schema> = [Schema] extends [ZodSchema] ? [args: SchemaOutput<Schema>] : [];

/** Options as they are read back: whatever the author gave, seen by the compiler or not. */
export type AnyTaskOptions = { readonly [Name in keyof TaskOptions]?: unknown };

/** The names of all options, to refuse a misspelt one of an author whom no compiler checks. */
export const taskOptionNames = [
  'description',
  'input',
  'onCrash',
  'retries',
  'timeoutMs',
  'heartbeatMs',
  'expiresInMs',
  'priority',
  'concurrency',
  'concurrencyPerClient',
  'concurrencyPerKey',
  'rateLimit',
  'key',
  'unique',
  'schedule',
  'isolate',
  'memoryMb',
] as const satisfies (keyof TaskOptions)[];
