/**
 * What the main loop and the store thread say to each other: batches of operations one way, their answers the other.
 */
import type { CancelProgress } from '../../admin.ts';
import type { Match, Mode, Scope, ScopeMode, StartRequest } from '../../engine.ts';
import type { TaskName } from '../../servedTasks.ts';
import type { ClientToken } from '../../token.ts';
import type { CancelOrder } from './cancelOrder.ts';
import type { DriverName, Row } from './driver.ts';
import type { Chunk } from './history.ts';
import type { Limits } from './taskLimits.ts';
import type { Ahead } from './waitingRuns.ts';

export interface NewRun {
  n: number;
  id: string;
  state: string;
  task: string;
  client: string | null;
  input: string | null;
  /** Accepted and leased in the same commit; where its task has limits, as far as they have room. */
  leased: boolean;
  limited?: true;
  /** Its task is being drained: it must not be a new run. */
  drained?: true;
  at: number;
  /** What is out of the ordinary about it; most runs have none of it. */
  wish?: RunWish;
}

/** What a start can ask for, besides being run. */
export interface RunWish extends Pick<StartRequest, 'unique' | 'idempotency'> {
  priority: number;
  key: string | null;
  /** Not before this time. */
  runAt: number | null;
  expiresAt: number | null;
  timeoutMs: number | null;
  retryOf: string | null;
}

/** A run as a lease, a progress write or an end leaves it. Changes nothing unless `fence` is still the run's own. */
export interface RunUpdate {
  n: number;
  fence: number;
  status: number;
  progress: number;
  /** JSON columns. */
  message: string | null;
  result: string | null;
  error: string | null;
  seq: number;
  at: number;
  chunks: Chunk[];
}

/** An operation that writes; those of one batch share one commit. */
export type WriteOperation =
  | { op: 'accept'; runs: NewRun[] }
  | { op: 'lease'; max: number; at: number }
  | { op: 'progress'; run: RunUpdate; reserved: number; outgrown: boolean }
  | { op: 'finish'; run: RunUpdate }
  /** Ends the lease: the run waits again, for its turn or for `dueAt`. */
  | { op: 'release'; run: RunUpdate; because: Release; dueAt: number | null }
  | { op: 'cancel'; id: string; at: number }
  /** Cancels those that match: up to `limit` of those that wait, and all that are leased. */
  | { op: 'cancelAll'; match: Match; limit: number; at: number }
  /** The same for an order, with a note of how far that has come. */
  | { op: 'carryOut'; order: CancelOrder; limit: number; at: number }
  | { op: 'setMode'; scope: Scope; mode: Mode }
  /** Tells commands what there is. */
  | { op: 'serve'; tasks: readonly TaskName[] }
  | { op: 'seeSchedules'; keys: string[]; at: number }
  /** Accepts the run of an occurrence, unless it had one; null: it is to have none. */
  | { op: 'occur'; key: string; occurrence: number; run: NewRun | null }
  | { op: 'createToken'; token: ClientToken }
  | { op: 'revokeToken'; idOrDigest: string; at: number };

export type ReadOperation =
  | { op: 'read'; id: string; at: number }
  | {
      op: 'list';
      client: string | null;
      state: string;
      limit: number;
      before?: string;
      active?: boolean;
      endedSince?: number;
      at: number;
    }
  | { op: 'history'; id: string; since: number }
  | { op: 'input'; id: string }
  | { op: 'standings'; ids: readonly string[]; at: number };

/**
 * Why a lease ended without an end of its run: `death` of its process or thread, `failure` of its attempt, `kill` of a thread that
 * would not stop, which is both, `stop` of the server, which is neither.
 */
export type Release = 'death' | 'failure' | 'kill' | 'stop';

/** A run as it is stored, and, where it waits, what goes before it; null: it waits for a time and not for its turn. */
export interface StoredRun {
  row: Row;
  ahead?: Ahead | null;
}

/** What became of a batch of starts. */
export type Accepted =
  /** A key of one of them was used with another input: nothing was kept. */
  | 'conflict'
  /** One of them would be a new run of a task that is being drained: nothing was kept. */
  | 'drained'
  | {
      /** By their place: those that a key had made before. */
      known: Map<number, StoredRun>;
      /** The places of those that were to be leased and have to wait. */
      held: Set<number>;
      /** Of those that were not leased, in their order; only for a small batch. */
      waiting: (Ahead | null)[];
    };

export interface WriteAnswers {
  accept: Accepted;
  lease: {
    leased: Row[];
    /** Runs that were not begun in time. */
    expired: Row[];
    /** When there may be more to lease, or to end; null: when something happens. */
    nextAt: number | null;
  };
  /** How many events and bytes of history there are now, where `outgrown` had them counted. */
  progress: { count: number; bytes: number } | true;
  /** False: refused by its fence. */
  finish: boolean;
  /** The run as it now is: it waits again, or has ended when a cancel of it had been accepted. Undefined: refused by its fence. */
  release: Row | undefined;
  /** The run as it now is; `cancelled`: by this very operation. Undefined: there is none. */
  cancel: { row: Row; cancelled: boolean } | undefined;
  /** Those that have ended, the ids of those that are leased, and whether there may be more. */
  cancelAll: { ended: Row[]; leased: string[]; more: boolean };
  carryOut: WriteAnswers['cancelAll'] & { progress: CancelProgress };
  setMode: ScopeMode[];
  serve: true;
  seeSchedules: Row[];
  /** `occurred`: it had one, or is to have none. */
  occur: Accepted | 'occurred';
  createToken: true;
  revokeToken: ClientToken | undefined;
}

export interface ReadAnswers {
  read: StoredRun | undefined;
  list: StoredRun[];
  history: { row: Row; bodies: string[]; more: boolean } | undefined;
  input: string | null | undefined;
  standings: StoredRun[];
}

/** The answer to one operation of a batch. */
export type Answer = { ok: unknown } | { refused: string; retry: boolean };

export type ToThread =
  | { kind: 'write'; operations: WriteOperation[] }
  | { kind: 'read'; ticket: number; operation: ReadOperation }
  | { kind: 'close' };

export type FromThread =
  | {
      kind: 'ready';
      lastN: number;
      pending: number;
      interrupted: Row[];
      tokens: ClientToken[];
      modes: ScopeMode[];
      orders: CancelOrder[];
    }
  | { kind: 'failed'; message: string; exitCode: number | undefined }
  | { kind: 'written'; answers: Answer[] }
  | { kind: 'read'; ticket: number; answer: Answer }
  | { kind: 'tokens'; tokens: ClientToken[] }
  | { kind: 'modes'; modes: ScopeMode[] }
  | { kind: 'orders'; orders: CancelOrder[] }
  /** Why starts are to be refused; null: all is well again. */
  | { kind: 'trouble'; reason: string | null }
  | { kind: 'closed' };

export interface StoreSettings {
  folder: string;
  /** The time by the engine's clock. */
  openedAt: number;
  keepMs: number;
  keepRuns: number;
  /** Of the tasks that have any. */
  limits: Limits[];
  threads: number;
  /** All that the server has. */
  served: readonly TaskName[];
  /** Default: the best that this Node has. */
  driver?: DriverName;
}
