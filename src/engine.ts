/**
 * The engine seam: what queues, leases, executes and remembers runs. One interface, one sentence a method; every engine
 * passes the one conformance suite in `test/engine/`.
 */
import type { Outcome, Run, RunEvent } from './run.ts';

/** A start that has been validated. */
export interface StartRequest {
  state: string;
  task: string;
  /** Id of the client token, null for direct access. */
  client: string | null;
  /** What the caller sent, as JSON text; null when there was no body (the schema's default then applies). */
  input: string | null;
}

/** One attempt as its executor sees it. */
export interface LeasedRun {
  id: string;
  state: string;
  task: string;
  client: string | null;
  input: string | null;
  /** 1 for the first. */
  attempt: number;
}

/** What an attempt tells its engine while it runs. None of these waits for a disk, and none throws. */
export interface AttemptContext {
  /** Aborted on cancel and shutdown, with an `AbortReason`. Made on first use: most short tasks never ask. */
  readonly signal: AbortSignal;
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

/** Why an attempt's signal was aborted. */
export class AbortReason extends Error {
  readonly because: 'cancel' | 'shutdown';
  constructor(cause: 'cancel' | 'shutdown') {
    super(cause === 'cancel' ? 'The run was cancelled' : 'The server is stopping');
    this.name = 'AbortError';
    this.because = cause;
  }
}

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
  pending: number;
  running: number;
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
  /** Commits a batch of starts, all or none, and answers with the runs, in the order of the batch, when they are on disk. */
  accept(requests: readonly StartRequest[]): Promise<Run[]>;
  /** One run by its id, as it stands now. */
  read(id: string): Promise<Run | undefined>;
  /** Runs of one client in one state, newest first. */
  list(query: ListQuery): Promise<Run[]>;
  /** The events of a run with a `seq` greater than `since`, a page at a time. */
  history(id: string, since: number): Promise<History | undefined>;
  /** Ends a pending run, or asks a running one to stop; remembered through a crash. */
  cancel(id: string): Promise<Cancellation | undefined>;
  /** How many runs wait and how many are leased. */
  counts(): Counts;
  /** Why starts are refused just now, or null when all is well. */
  trouble(): string | null;
  /** Leases no more, gives running attempts `graceMs` to end, aborts the rest and hands them back to be run again. */
  drain(graceMs: number): Promise<void>;
  /** Lets go of the store. Running attempts are handed back first. */
  close(): Promise<void>;
}
