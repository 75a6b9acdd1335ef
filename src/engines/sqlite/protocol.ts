/**
 * What the main loop and the store thread say to each other: batches of operations one way, their answers the other.
 */
import type { ClientToken } from '../../token.ts';
import type { DriverName, Row } from './driver.ts';
import type { Chunk } from './history.ts';

export interface NewRun {
  n: number;
  id: string;
  state: string;
  task: string;
  client: string | null;
  input: string | null;
  /** Accepted and leased in the same commit. */
  leased: boolean;
  at: number;
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
  /** Ends the lease: the run waits again. `death`: its process had died. */
  | { op: 'release'; run: RunUpdate; death: boolean }
  | { op: 'cancel'; id: string; at: number }
  | { op: 'createToken'; token: ClientToken }
  | { op: 'revokeToken'; idOrDigest: string; at: number };

export type ReadOperation =
  | { op: 'read'; id: string }
  | {
      op: 'list';
      client: string | null;
      state: string;
      limit: number;
      before?: string;
      active?: boolean;
      endedSince?: number;
    }
  | { op: 'history'; id: string; since: number };

export interface WriteAnswers {
  accept: true;
  lease: Row[];
  /** How many events and bytes of history there are now, where `outgrown` had them counted. */
  progress: { count: number; bytes: number } | true;
  /** False: refused by its fence. */
  finish: boolean;
  /** The run as it now is: it waits again, or has ended when a cancel of it had been accepted. Undefined: refused by its fence. */
  release: Row | undefined;
  /** The run as it now is; `cancelled`: by this very operation. Undefined: there is none. */
  cancel: { row: Row; cancelled: boolean } | undefined;
  createToken: true;
  revokeToken: ClientToken | undefined;
}

export interface ReadAnswers {
  read: Row | undefined;
  list: Row[];
  history: { row: Row; bodies: string[]; more: boolean } | undefined;
}

/** The answer to one operation of a batch. */
export type Answer = { ok: unknown } | { refused: string; retry: boolean };

export type ToThread =
  | { kind: 'write'; operations: WriteOperation[] }
  | { kind: 'read'; ticket: number; operation: ReadOperation }
  | { kind: 'close' };

export type FromThread =
  | { kind: 'ready'; lastN: number; pending: number; interrupted: Row[]; tokens: ClientToken[] }
  | { kind: 'failed'; message: string; exitCode: number | undefined }
  | { kind: 'written'; answers: Answer[] }
  | { kind: 'read'; ticket: number; answer: Answer }
  | { kind: 'tokens'; tokens: ClientToken[] }
  /** Why starts are to be refused; null: all is well again. */
  | { kind: 'trouble'; reason: string | null }
  | { kind: 'closed' };

export interface StoreSettings {
  folder: string;
  keepMs: number;
  keepRuns: number;
  /** Default: the best that this Node has. */
  driver?: DriverName;
}
