/**
 * How a run's history is kept: what the row itself implies is never stored a second time.
 *
 * Event 1 (accepted) is implied by `created_at`, event 2 (first leased) by `started_at`, the terminal one by the row as
 * it ended. What lies between is stored in chunks of JSON, each readable by itself. So a short run costs one row.
 */
import { isTerminal, type RunEvent, type Snapshot, TaskStatus, taskStatuses } from '../../run.ts';
import type { Row } from './driver.ts';

/** A run's history is kept up to these two; then its oldest events go, status changes excepted. */
export const historyEvents = 10_000;
export const historyBytes = 1024 * 1024;

/** Events in one chunk, and about the size of a page of history. */
export const chunkEvents = 500;
const chunkBytes = 64 * 1024;

/** `[seq, at, status, progress, message, attempt, extras?]` */
type StoredEvent = [
  seq: number,
  at: number,
  status: number,
  progress: number,
  message: string | null,
  attempt: number,
  extras?: {
    result?: unknown;
    error?: Snapshot['error'];
    text?: string;
    fields?: Record<string, unknown>;
    starts_at?: string;
  },
];

export interface Chunk {
  seq: number;
  last: number;
  count: number;
  body: string;
}

/** Chunks of up to `chunkEvents` events, each closed when it has grown to `chunkBytes`. */
export function encodeChunks(events: readonly RunEvent[], closedAt = chunkBytes): Chunk[] {
  const chunks: Chunk[] = [];
  let stored: string[] = [];
  let bytes = 0;
  let first = 0;
  let result: unknown = null;
  for (const event of events) {
    const { seq } = event.snapshot;
    if (stored.length === 0) [first, bytes, result] = [seq, 0, null];
    const text = JSON.stringify(toStored(event, result));
    result = event.snapshot.result;
    stored.push(text);
    bytes += text.length;
    if (stored.length === chunkEvents || bytes >= closedAt || event === events.at(-1)) {
      chunks.push({ seq: first, last: seq, count: stored.length, body: `[${stored.join(',')}]` });
      stored = [];
    }
  }
  return chunks;
}

/** `result`: that of the event before, for one stands only where it changed: repeating it would eat the history's budget. */
function toStored({ kind, snapshot, text, fields }: RunEvent, result: unknown): StoredEvent {
  const event: StoredEvent = [
    snapshot.seq,
    Date.parse(snapshot.timestamp),
    taskStatuses.indexOf(snapshot.status),
    snapshot.progress,
    snapshot.message,
    snapshot.attempt,
  ];
  const extras: StoredEvent[6] = {};
  if (snapshot.result !== result) extras.result = snapshot.result;
  if (snapshot.error) extras.error = snapshot.error;
  if (snapshot.starts_at) extras.starts_at = snapshot.starts_at;
  if (kind === 'log') {
    extras.text = text ?? '';
    if (fields) extras.fields = fields;
  }
  if (Object.keys(extras).length > 0) event.push(extras);
  return event;
}

export function decodeChunk(body: string, row: Row): RunEvent[] {
  let result: unknown = null;
  return (JSON.parse(body) as StoredEvent[]).map(
    ([seq, at, status, progress, message, attempt, extras = {}]): RunEvent => {
      if ('result' in extras) result = extras.result;
      const snapshot: Snapshot = {
        task_id: row.id as string,
        state: row.state as string,
        task: row.task as string,
        status: taskStatuses[status] as TaskStatus,
        progress,
        message,
        result,
        error: extras.error ?? null,
        attempt,
        seq,
        timestamp: new Date(at).toISOString(),
      };
      if (extras.starts_at !== undefined) snapshot.starts_at = extras.starts_at;
      addOrigin(snapshot, row);
      const client = row.client as string | null;
      if (extras.text === undefined) return { kind: 'update', snapshot, client };
      const event: RunEvent = { kind: 'log', snapshot, client, text: extras.text };
      if (extras.fields) event.fields = extras.fields;
      return event;
    },
  );
}

/** What stays of a chunk when the history outgrows its budget: its status changes. Null: nothing. */
export function onlyStatusChanges(body: string, row: Row, before: TaskStatus | undefined): Chunk | null {
  let status = before;
  const kept = decodeChunk(body, row).filter(({ kind, snapshot }) => {
    const changed = kind === 'update' && snapshot.status !== status;
    status = snapshot.status;
    return changed;
  });
  return encodeChunks(kept, Number.POSITIVE_INFINITY)[0] ?? null;
}

/** The status in which a chunk ends. */
export function lastStatus(body: string): TaskStatus | undefined {
  const last = (JSON.parse(body) as StoredEvent[]).at(-1);
  return last && taskStatuses[last[2]];
}

/** Events 1 and 2, which every run's row implies. */
export function openingEvents(row: Row): RunEvent[] {
  const client = row.client as string | null;
  const accepted = openingSnapshot(row, TaskStatus.PENDING, 0, row.created_at as number);
  const runAt = row.run_at as number | null | undefined;
  if (runAt && runAt > (row.created_at as number)) accepted.starts_at = new Date(runAt).toISOString();
  const events: RunEvent[] = [{ kind: 'update', snapshot: accepted, client }];
  if (row.started_at !== null) {
    const leased = openingSnapshot(row, TaskStatus.STARTING, 1, row.started_at as number);
    events.push({ kind: 'update', snapshot: leased, client });
  }
  return events;
}

/** Written out, not spread from one another: two are made for each start, and a spread takes several times as long. */
function openingSnapshot(row: Row, status: TaskStatus, attempt: 0 | 1, at: number): Snapshot {
  const snapshot: Snapshot = {
    task_id: row.id as string,
    state: row.state as string,
    task: row.task as string,
    status,
    progress: 0,
    message: null,
    result: null,
    error: null,
    attempt,
    seq: attempt + 1,
    timestamp: new Date(at).toISOString(),
  };
  addOrigin(snapshot, row);
  return snapshot;
}

/** Which run it does again, where it does. */
function addOrigin(snapshot: Snapshot, row: Row): void {
  if (typeof row.retry_of === 'string') snapshot.retry_of = row.retry_of;
}

/** The event that a finished run's row implies. */
export function closingEvents(row: Row): RunEvent[] {
  const snapshot = rowSnapshot(row);
  return isTerminal(snapshot.status)
    ? [{ kind: 'update', snapshot, client: row.client as string | null }]
    : [];
}

export function rowSnapshot(row: Row): Snapshot {
  const snapshot: Snapshot = {
    task_id: row.id as string,
    state: row.state as string,
    task: row.task as string,
    status: taskStatuses[row.status as number] as TaskStatus,
    progress: row.progress as number,
    message: parseColumn(row.message) as string | null,
    result: parseColumn(row.result),
    error: parseColumn(row.error) as Snapshot['error'],
    attempt: row.attempt as number,
    seq: row.seq as number,
    timestamp: new Date(row.at as number).toISOString(),
  };
  // Its time is told with the event that began the wait; where it stands among others is no event, and told elsewhere.
  if (typeof row.due_at === 'number') snapshot.starts_at = new Date(row.due_at).toISOString();
  addOrigin(snapshot, row);
  return snapshot;
}

function parseColumn(value: Row[string] | undefined): unknown {
  return typeof value === 'string' ? JSON.parse(value) : null;
}

/** A value as a JSON column; null stays NULL. */
export function toColumn(value: unknown): string | null {
  return value === null || value === undefined ? null : JSON.stringify(value);
}
