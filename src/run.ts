/**
 * What a run is, everywhere: on the wire, in the store, in the dashboard. Nothing here does any work.
 */

/**
 * Where a run stands. The values are the words on the wire.
 *
 * `PENDING` accepted: waiting, delayed, or between attempts · `STARTING` leased · `PROCESSING` at work ·
 * `COMPLETED`, `ERROR`, `CANCELLED` terminal: a terminal status never changes.
 */
export const TaskStatus = {
  PENDING: 'Pending',
  STARTING: 'Starting',
  PROCESSING: 'Processing',
  COMPLETED: 'Completed',
  ERROR: 'Error',
  CANCELLED: 'Cancelled',
} as const;
export type TaskStatus = (typeof TaskStatus)[keyof typeof TaskStatus];

/** Every status, in the order of a run's life. The store keeps a status as its place in this list: append only. */
export const taskStatuses = [
  TaskStatus.PENDING,
  TaskStatus.STARTING,
  TaskStatus.PROCESSING,
  TaskStatus.COMPLETED,
  TaskStatus.ERROR,
  TaskStatus.CANCELLED,
] as const satisfies readonly TaskStatus[];

export function isTerminal(status: TaskStatus): boolean {
  return status === TaskStatus.COMPLETED || status === TaskStatus.ERROR || status === TaskStatus.CANCELLED;
}

/** Why a run ended in `Error`, as callers may know it. A stack is for the admin only. */
export interface RunError {
  name: string;
  message: string;
}

/** The one shape of a run on the wire (REST, WebSocket, client). The keys are always there, in this order. */
export interface Snapshot {
  task_id: string;
  state: string;
  task: string;
  status: TaskStatus;
  /** 0 to 100. */
  progress: number;
  message: string | null;
  /** JSON. What the method returned, or the latest `update({ result })` while it runs. */
  result: unknown;
  error: RunError | null;
  /** 0 until the run is leased for the first time. */
  attempt: number;
  /** The number of the latest event: starts at 1, never used twice. */
  seq: number;
  /** When that event happened: RFC 3339, UTC, milliseconds. */
  timestamp: string;
  /** The run that this one does again. */
  retry_of?: string;
  /**
   * Only while it is `Pending`: its place among those of its client that wait for the same task, and for the same key where that has a
   * limit; 1 for the next. null when it is not its turn that it waits for: delayed, or between attempts.
   */
  position?: number | null;
  /** Only while it is `Pending`: when it is due, else about when it will begin; null when that cannot be said. RFC 3339. */
  starts_at?: string | null;
  /** Only while it is `Pending`: about when it will have ended; null when that cannot be said. RFC 3339. */
  ends_at?: string | null;
}

/** What can be said of a run that waits, besides where it stands. It is no event: it changes as others come and go. */
export type Standing = Required<Pick<Snapshot, 'position' | 'starts_at' | 'ends_at'>>;

/**
 * Something that happened to a run. `snapshot` is the run as this event left it.
 *
 * `client` is the id of the client token that the run was started with, null for direct access.
 */
export interface RunEvent {
  kind: 'update' | 'log';
  snapshot: Snapshot;
  client: string | null;
  /** Only of a `log`. */
  text?: string;
  fields?: Record<string, unknown>;
}

/** A run as an engine tells it to the server: what callers may see, and whose it is. */
export interface Run {
  snapshot: Snapshot;
  client: string | null;
}

/** What an attempt ended in, as a value: the executor makes it, the engine commits it. */
export type Outcome =
  /** `result` is a JSON value. */
  | { kind: 'completed'; result: unknown }
  /** `stack` is logged for the admin and never shown to a caller. `killed`: its thread would not stop, which counts as a death too. */
  | { kind: 'failed'; error: RunError; stack?: string; retry?: RetryWish; killed?: true }
  /** The thread of an isolated attempt ended under it: counts as a death, as if the process had died. */
  | { kind: 'died'; error: RunError }
  | { kind: 'cancelled' }
  /** Aborted by a shutdown: to be handed back and run again. */
  | { kind: 'interrupted' };

/** What the author said of the next attempt by what was thrown: none, or after so many milliseconds. */
export type RetryWish = 'never' | { afterMs: number };

/** The JSON text of one message of a stream: a snapshot plus `type`, and for a log line `text` and `fields`. */
export function eventMessage(event: RunEvent): string {
  const snapshot = event.snapshot;
  if (event.kind === 'update') return typedSnapshot('update', snapshot);
  const { result: _withheld, ...rest } = snapshot;
  return JSON.stringify({ type: 'log', ...rest, text: event.text, fields: event.fields ?? {} });
}

/** Where a run stands, for somebody who joins or was passed over. */
export function snapshotMessage(snapshot: Snapshot): string {
  return typedSnapshot('snapshot', snapshot);
}

/** `missed` messages before `seq` will not come. */
export function gapMessage(taskId: string, missed: number, seq: number): string {
  return JSON.stringify({ type: 'gap', task_id: taskId, missed, seq });
}

/** Where a run stands that waits. */
export function positionMessage(taskId: string, { position, starts_at, ends_at }: Standing): string {
  return JSON.stringify({ type: 'position', task_id: taskId, position, starts_at, ends_at });
}

function typedSnapshot(type: string, snapshot: Snapshot): string {
  return `{"type":"${type}",${JSON.stringify(snapshot).slice(1)}`;
}
