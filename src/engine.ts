/**
 * The engine seam: what queues, leases, executes and remembers runs. One interface, one sentence a method; every engine
 * passes the one conformance suite in `test/engine/`.
 */
import type { RunKeys, Schedule } from './policy.ts';
import type { Outcome, Run, RunEvent, Standing } from './run.ts';

/** A start that has been validated. */
export interface StartRequest extends RunKeys {
  state: string;
  task: string;
  /** Id of the client token, null for direct access. */
  client: string | null;
  /** What the caller sent, as JSON text; null when there was no body (the schema's default then applies). */
  input: string | null;
  /** Not before this time (milliseconds since the epoch). Default: at once. */
  runAt?: number;
  /** Default: the task's own. */
  priority?: number;
  /** What each attempt may take, where the caller wants less than the author gives. */
  timeoutMs?: number;
  /** As `unique`, for 24 h, as the caller wants it; another `fingerprint` under the same key is a conflict. */
  idempotency?: { key: string; fingerprint: string };
  /** The run that this one does again. */
  retryOf?: string;
}

/** What became of a start: a new run, or the one that its key had made before. */
export interface Acceptance {
  run: Run;
  deduplicated: boolean;
}

/** How long an idempotency key is remembered, from the acceptance of its run. */
export const idempotencyMs = 24 * 3_600_000;

/** One attempt as its executor sees it. */
export interface LeasedRun {
  id: string;
  state: string;
  task: string;
  client: string | null;
  input: string | null;
  /** 1 for the first. */
  attempt: number;
  /** What the caller lets each attempt take; null: as the author says. */
  timeoutMs: number | null;
}

/** What an attempt tells its engine while it runs. None of these waits for a disk, and none throws. */
export interface AttemptContext {
  /** Aborted on cancel, shutdown and when time is over, with an `AbortReason`. Made on first use: most short tasks never ask. */
  readonly signal: AbortSignal;
  /** Aborts the signal; only the first reason counts. */
  abort(reason: AbortReason): void;
  /** Calls back when the signal is aborted, without making one; at once when it was before. */
  onAbort(listener: (reason: AbortReason) => void): void;
  /** Fields that are left out stay as they are. The promise lets the event loop breathe, and waits for nothing else. */
  update(patch: RunPatch): Promise<void>;
  log(text: string, fields: Record<string, unknown> | undefined): Promise<void>;
}

/** A change that an attempt makes to its run; already checked by the executor. */
export interface RunPatch {
  progress?: number;
  message?: string | null;
  /** JSON, already proved to be serialisable. */
  result?: unknown;
}

/** Runs one attempt and turns whatever happens into a value. Never rejects. */
export type Execute = (run: LeasedRun, context: AttemptContext) => Promise<Outcome>;

/** Why an attempt's signal was aborted: `timeout` and `heartbeat` when time was over. */
export type AbortCause = 'cancel' | 'shutdown' | 'timeout' | 'heartbeat';

export class AbortReason extends Error {
  readonly because: AbortCause;
  /** `limitMs`: the time that was over. */
  constructor(because: AbortCause, limitMs = 0) {
    super(abortSentences[because].replace('%', String(limitMs)));
    // As `AbortSignal.timeout` and `AbortController` name theirs (https://dom.spec.whatwg.org/#abortsignal).
    this.name = because === 'timeout' || because === 'heartbeat' ? 'TimeoutError' : 'AbortError';
    this.because = because;
  }
}

const abortSentences: Record<AbortCause, string> = {
  cancel: 'The run was cancelled',
  shutdown: 'The server is stopping',
  timeout: 'The attempt took longer than its time limit of % ms',
  heartbeat: 'The attempt said nothing, by update or log, for % ms',
};

/** A page of a run's history. Events are in ascending `seq`; a number that is missing will not come. */
export interface History {
  run: Run;
  events: RunEvent[];
  /** Whether there is more after the last event of this page. */
  more: boolean;
}

export interface ListQuery {
  client: string | null;
  state: string;
  limit: number;
  /** Only runs accepted before this one. An id that the client does not have gives an empty list. */
  before?: string;
  /** Only active runs. */
  active?: boolean;
  /** Only runs that ended at this time or later (milliseconds since the epoch). */
  endedSince?: number;
}

export type Cancellation =
  /** Ended now, or its signal has been aborted: `run` is where it stands. */
  | { kind: 'accepted'; run: Run }
  /** It had ended before. */
  | { kind: 'already-ended'; run: Run };

export interface Counts {
  /** Accepted and not leased: waiting for their turn, delayed, or between attempts. */
  pending: number;
  running: number;
}

/** All tasks of a state, or one. */
export interface Scope {
  state: string;
  /** Default: all of the state's. */
  task?: string;
}

/**
 * What an admin has decided about a scope. `pause`: starts are taken and wait. `drain`: no new runs are taken, those that wait
 * are run. `run`: neither. The mode of a state holds for each of its tasks, whatever their own is.
 */
export type Mode = 'run' | 'pause' | 'drain';

/** A scope that is not in the mode `run`. */
export interface ScopeMode {
  scope: Scope;
  mode: Mode;
}

/** Which runs an admin means; what is left out matches all. */
export interface Match {
  state?: string;
  task?: string;
  client?: string | null;
  /** `pending`: those that wait; `running`: those that are leased. Default: both. */
  active?: 'pending' | 'running';
}

/** One entry of a task's `schedule`, and where it stands. Times are milliseconds since the epoch. */
export interface ScheduleState {
  state: string;
  task: string;
  schedule: Schedule;
  /** The latest occurrence that was run, and its run; null: none yet. */
  last: { at: number; id: string } | null;
  /** null: it never occurs again. */
  nextAt: number | null;
}

/** Thrown by `accept`: an idempotency key was used before with another fingerprint. Nothing of the batch was kept. */
export class KeyConflictError extends Error {
  override readonly name = 'KeyConflictError';
}

/** Thrown by `accept`: the task is being drained, and a start would make a new run of it. Nothing of the batch was kept. */
export class DrainedError extends Error {
  override readonly name = 'DrainedError';
}

/**
 * Thrown by `accept` and `cancel` when the store cannot take anything now (disk full, engine away). Nothing was kept;
 * trying again later is right. `message` says what is wrong.
 */
export class EngineUnavailableError extends Error {
  override readonly name = 'EngineUnavailableError';
  readonly retryAfterMs: number;
  constructor(message: string, retryAfterMs = 1000) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}

/** What an engine has to say, whoever listens. */
export type EngineLog = (
  level: 'info' | 'warn' | 'error',
  message: string,
  fields?: Record<string, unknown>,
) => void;

export interface Engine {
  /** Every RunEvent comes out here: in ascending `seq` for each run, a terminal one after its commit. Set once, before `open`. */
  onEvent(listener: (event: RunEvent) => void): void;
  /** Opens the store and takes back the runs whose process died; throws a `StartError` that says why it cannot. */
  open(): Promise<void>;
  /** Begins to lease runs and hands each to `execute`. */
  start(execute: Execute): void;
  /**
   * Commits a batch of starts with their keys, all or none, and answers for each, in the order of the batch, when they are on disk.
   * Where a task is drained, only those are answered whose key had made a run before.
   */
  accept(requests: readonly StartRequest[]): Promise<Acceptance[]>;
  /** One run by its id, as it stands now. */
  read(id: string): Promise<Run | undefined>;
  /** What a run was started with, as it was accepted. */
  input(id: string): Promise<{ input: string | null } | undefined>;
  /** Where those of the runs stand that wait, some hundreds at a time; an engine that cannot say leaves them out. */
  standings(ids: readonly string[]): Promise<Map<string, Standing>>;
  /** Runs of one client in one state, newest first. */
  list(query: ListQuery): Promise<Run[]>;
  /** The events of a run with a `seq` greater than `since`, a page at a time. */
  history(id: string, since: number): Promise<History | undefined>;
  /** Ends a pending run, or asks a running one to stop; remembered through a crash. */
  cancel(id: string): Promise<Cancellation | undefined>;
  /** The same for all that match; answers how many were accepted. */
  cancelAll(match: Match): Promise<number>;
  /** Pauses, drains or resumes a scope; remembered through a restart. */
  setMode(scope: Scope, mode: Mode): Promise<void>;
  /** The scopes that are not in the mode `run`. */
  modes(): readonly ScopeMode[];
  /** The schedules of all tasks, with their last and next times. */
  schedules(): Promise<ScheduleState[]>;
  /** How many runs wait and how many are leased. */
  counts(): Counts;
  /** Why starts are refused just now, or null when all is well. */
  trouble(): string | null;
  /** Leases no more, gives running attempts `graceMs` to end, aborts the rest and hands them back to be run again. */
  drain(graceMs: number): Promise<void>;
  /** Lets go of the store. Running attempts are handed back first. */
  close(): Promise<void>;
}
