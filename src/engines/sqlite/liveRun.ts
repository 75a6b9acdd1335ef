/**
 * A leased run, in memory: numbers what its attempt says, and knows what of it is on disk.
 */
import { setMaxListeners } from 'node:events';
import type { AbortReason, AttemptContext, LeasedRun, RunPatch } from '../../engine.ts';
import {
  isTerminal,
  type Outcome,
  type RunEvent,
  type Snapshot,
  TaskStatus,
  taskStatuses,
} from '../../run.ts';
import type { Row } from './driver.ts';
import { encodeChunks, historyBytes, historyEvents, toColumn } from './history.ts';
import type { RunUpdate } from './protocol.ts';
import { isLine, jsonSize, type Line, Unnumbered } from './unnumbered.ts';

/**
 * How many events a lease may show before its first write has reserved more. After a crash the numbers go on behind the
 * reserved ones, so that no number is ever shown with two meanings; the difference is told as one gap.
 */
export const leaseReserve = 16;

/** A reservation is meant to last at least so long. */
const reserveForMs = 100;
const leastReserved = 4;
const mostReserved = 16_384;

/** After so many words in one turn of the event loop an attempt is made to wait for the next one. */
const wordsPerTick = 256;

/** Of what waits for the disk, so much is held at the most. */
const unflushedBytes = 16 * 1024 * 1024;

/** A leased run, with what its holder needs to write it. */
export interface Lease extends LeasedRun {
  n: number;
  fence: number;
  key: string | null;
  /** Attempts that failed before, and those under which the process or its thread died. */
  failures: number;
  deaths: number;
}

/** That a run is handed back to wait, and until when; null: for its turn. */
export interface HandBack {
  dueAt: number | null;
}

/** Who a live run belongs to: told when it has something to number, and when a status must reach the disk at once. */
export interface LiveRunHost {
  now(): number;
  /** What durations are measured by. */
  elapsed(): number;
  spoke(run: LiveRun): void;
  /** Resolves after the host has numbered what this tick brought. */
  nextTick(): Promise<void>;
}

const resolved = Promise.resolve();

export class LiveRun implements LeasedRun, AttemptContext {
  readonly n: number;
  readonly id: string;
  readonly state: string;
  readonly task: string;
  readonly client: string | null;
  readonly input: string | null;
  readonly attempt: number;
  readonly timeoutMs: number | null;
  readonly fence: number;
  readonly key: string | null;
  readonly failures: number;
  readonly deaths: number;
  /** When its lease began, by `Clock.elapsed`. */
  readonly begunAt: number;
  snapshot: Snapshot;
  /** Numbered and shown, not yet on disk. */
  unflushed: RunEvent[] = [];
  /** A write of it is on its way. */
  writing = false;
  /** The status that the latest write carried. */
  statusOnDisk: TaskStatus;
  /** No number beyond this one may be shown. */
  reserved: number;
  /** How many numbers are reserved at a time: more for a run that talks fast. */
  reserveSize = leaseReserve;
  /** Whether `spoke` has been called for this tick. */
  dirty = false;
  /** A cancel was accepted: remembered on disk. */
  cancelRequested = false;
  /** Its attempt is over (or was given up): what it still says is not heard. */
  closed = false;

  readonly #host: LiveRunHost;
  /** How many of `unflushed` are on their way to the disk. */
  #flushing = 0;
  /** Of each of `unflushed`, and of all. */
  readonly #sizes: number[] = [];
  #unflushedBytes = 0;
  #flushedAt = Number.NEGATIVE_INFINITY;
  /** Events and bytes of history on disk, about; unknown for a run that had a life before this lease. */
  #kept = { count: 0, bytes: 0 };
  readonly #unnumbered = new Unnumbered();
  #spoken = 0;
  #controller: AbortController | undefined;
  #aborted: AbortReason | undefined;
  readonly #abortListeners: ((reason: AbortReason) => void)[] = [];

  constructor(host: LiveRunHost, run: Lease, snapshot: Snapshot) {
    this.#host = host;
    this.n = run.n;
    this.id = run.id;
    this.state = run.state;
    this.task = run.task;
    this.client = run.client;
    this.input = run.input;
    this.attempt = run.attempt;
    this.timeoutMs = run.timeoutMs;
    this.fence = run.fence;
    this.key = run.key;
    this.failures = run.failures;
    this.deaths = run.deaths;
    this.begunAt = host.elapsed();
    this.snapshot = snapshot;
    this.statusOnDisk = snapshot.status;
    this.reserved = snapshot.seq + leaseReserve;
  }

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      // Many things may wait for one signal: a task with twenty sleeps at once does not leak.
      setMaxListeners(0, this.#controller.signal);
      if (this.#aborted) this.#controller.abort(this.#aborted);
    }
    return this.#controller.signal;
  }

  abort(reason: AbortReason): void {
    if (this.#aborted) return;
    this.#aborted = reason;
    this.#controller?.abort(reason);
    for (const listener of this.#abortListeners) listener(reason);
  }

  onAbort(listener: (reason: AbortReason) => void): void {
    if (this.#aborted) listener(this.#aborted);
    else this.#abortListeners.push(listener);
  }

  update(patch: RunPatch): Promise<void> {
    if (this.closed) return resolved;
    this.#unnumbered.update(patch);
    return this.#speak();
  }

  log(text: string, fields: Record<string, unknown> | undefined): Promise<void> {
    if (this.closed) return resolved;
    this.#unnumbered.log({ text, fields });
    return this.#speak();
  }

  /** An author who awaits every word lets the loop turn now and then; nobody waits for a disk or a watcher. */
  #speak(): Promise<void> {
    if (!this.dirty) {
      this.dirty = true;
      this.#host.spoke(this);
    }
    return ++this.#spoken < wordsPerTick ? resolved : this.#host.nextTick();
  }

  /** Numbers what the tick brought. What finds no number reserved stays for the next time. */
  number(): RunEvent[] {
    this.dirty = false;
    this.#spoken = 0;
    const events: RunEvent[] = [];
    while (this.#unnumbered.size > 0 && this.#mayNumber()) {
      const isFirst = this.snapshot.status === TaskStatus.STARTING;
      const said = this.#unnumbered.take() as RunPatch | Line;
      // A first update carries the change of status itself; a first log line is preceded by it.
      if (!isLine(said)) events.push(this.#next(isFirst ? { ...said, status: TaskStatus.PROCESSING } : said));
      else {
        if (isFirst) events.push(this.#next({ status: TaskStatus.PROCESSING }));
        events.push(this.#next({}, said));
      }
    }
    this.#keep(events);
    return events;
  }

  /** The method has run for so long that it counts as at work, though it has said nothing. */
  beginProcessing(): RunEvent[] {
    if (this.snapshot.status !== TaskStatus.STARTING || this.closed || !this.#mayNumber()) return [];
    const events = [this.#next({ status: TaskStatus.PROCESSING })];
    this.#keep(events);
    return events;
  }

  /** Whether there are words that have no number yet. */
  get hasUnnumbered(): boolean {
    return this.#unnumbered.size > 0;
  }

  /** Whether they wait for more numbers to be reserved. */
  get starved(): boolean {
    return this.hasUnnumbered && !this.#mayNumber();
  }

  /** Whether more numbers should be reserved, lest it come to that. */
  get isLowOnNumbers(): boolean {
    return this.snapshot.seq + this.reserveSize / 2 >= this.reserved;
  }

  /** After a crash: numbers up to `reserved`, or as many as the first reservation had, may have been shown. */
  skipShown(reserved: number): void {
    this.snapshot = { ...this.snapshot, seq: Math.max(reserved, this.reserved) };
  }

  #mayNumber(): boolean {
    return this.snapshot.seq < this.reserved;
  }

  #next(change: RunPatch & Partial<Snapshot>, line?: Line): RunEvent {
    const timestamp = new Date(this.#host.now()).toISOString();
    this.snapshot = { ...this.snapshot, ...change, seq: this.snapshot.seq + 1, timestamp };
    const event: RunEvent = { kind: 'update', snapshot: this.snapshot, client: this.client };
    if (line) {
      event.kind = 'log';
      event.text = line.text;
      if (line.fields) event.fields = line.fields;
    }
    return event;
  }

  /** An event that was made elsewhere and shown already. */
  addUnwritten(event: RunEvent): void {
    this.#keep([event]);
  }

  #keep(events: readonly RunEvent[]): void {
    for (const event of events) {
      const { message, result } = event.snapshot;
      const changed = result !== this.unflushed.at(-1)?.snapshot.result;
      const size =
        jsonSize(event.text) + jsonSize(event.fields) + jsonSize(message) + (changed ? jsonSize(result) : 0);
      this.unflushed.push(event);
      this.#sizes.push(size);
      this.#unflushedBytes += size;
    }
    const waiting = this.unflushed.length - this.#flushing;
    // More than a history keeps anyway: the oldest go, and a reader is told of them as a gap.
    if (this.#unflushedBytes > unflushedBytes) this.#letGo(this.#flushing, Math.ceil(waiting / 2));
    else if (waiting > historyEvents) this.#letGo(this.#flushing, waiting - historyEvents);
  }

  #letGo(from: number, count: number): void {
    this.unflushed.splice(from, count);
    for (const size of this.#sizes.splice(from, count)) this.#unflushedBytes -= size;
  }

  /** Takes what is not on disk yet as one write; `flushed` or `flushFailed` is to be called with what came of it. */
  takeUpdate(): { update: RunUpdate; reserved: number; outgrown: boolean } {
    const now = this.#host.elapsed();
    // A run that used up its numbers soon gets more at a time; one that talks slowly leaves a smaller gap after a crash.
    if (this.starved || now - this.#flushedAt < reserveForMs) {
      this.reserveSize = Math.min(this.reserveSize * 2, mostReserved);
    } else this.reserveSize = Math.max(this.reserveSize / 2, leastReserved);
    this.#flushedAt = now;
    this.#flushing = this.unflushed.length;
    this.statusOnDisk = this.snapshot.status;
    const update = this.#asUpdate(this.snapshot, this.unflushed);
    for (const { count, body } of update.chunks) {
      this.#kept.count += count;
      this.#kept.bytes += body.length;
    }
    const outgrown = this.#kept.count > historyEvents || this.#kept.bytes > historyBytes;
    const wanted = Math.min(2 * this.#unnumbered.size, mostReserved);
    return { update, reserved: this.snapshot.seq + Math.max(this.reserveSize, wanted), outgrown };
  }

  flushed(reserved: number, kept: { count: number; bytes: number } | undefined): void {
    this.#letGo(0, this.#flushing);
    this.#flushing = 0;
    this.reserved = Math.max(this.reserved, reserved);
    if (kept) this.#kept = kept;
  }

  flushFailed(): void {
    this.#flushing = 0;
  }

  /**
   * The attempt is over: numbers what was still unsaid, then the end. `events` may be shown once `update` is on disk;
   * until then the run stands, for everybody, where it stood. `back`: it has not ended, and waits for another attempt.
   */
  end(outcome: Outcome, back: HandBack | null): { update: RunUpdate; events: RunEvent[] } {
    const shown = this.snapshot;
    // The commit that these wait for makes any reservation needless.
    this.reserved = Number.POSITIVE_INFINITY;
    const events = this.number();
    this.closed = true;
    const last = this.#next(back ? waiting(outcome, back) : ending(outcome));
    events.push(last);
    const unwritten = this.unflushed.slice(this.#flushing);
    // A terminal event is implied by the row; one that hands the run back is not.
    if (!isTerminal(last.snapshot.status)) unwritten.push(last);
    this.snapshot = shown;
    return { update: this.#asUpdate(last.snapshot, unwritten), events };
  }

  /** What history does not have on disk yet and everybody may see. */
  recent(): RunEvent[] {
    return this.unflushed.filter(({ snapshot }) => snapshot.seq <= this.snapshot.seq);
  }

  #asUpdate(snapshot: Snapshot, events: readonly RunEvent[]): RunUpdate {
    return {
      n: this.n,
      fence: this.fence,
      status: taskStatuses.indexOf(snapshot.status),
      progress: snapshot.progress,
      message: toColumn(snapshot.message),
      result: toColumn(snapshot.result),
      error: toColumn(snapshot.error),
      seq: snapshot.seq,
      at: Date.parse(snapshot.timestamp),
      chunks: encodeChunks(events),
    };
  }
}

type Ending = Partial<Snapshot> & { status: TaskStatus };

/** What an outcome makes of a run that has ended with it. */
function ending(outcome: Outcome): Ending {
  switch (outcome.kind) {
    case 'completed':
      return { status: TaskStatus.COMPLETED, progress: 100, result: outcome.result, error: null };
    case 'failed':
    case 'died':
      return { status: TaskStatus.ERROR, error: outcome.error };
    case 'cancelled':
    case 'interrupted':
      return { status: TaskStatus.CANCELLED };
  }
}

/** What it makes of one that is tried again: why the attempt failed, if it did, and when the next one begins. */
function waiting(outcome: Outcome, { dueAt }: HandBack): Ending {
  const wait: Ending = { status: TaskStatus.PENDING, error: 'error' in outcome ? outcome.error : null };
  return dueAt === null ? wait : { ...wait, starts_at: new Date(dueAt).toISOString() };
}

/** The lease that a run's row tells of. */
export function leaseOf(row: Row): Lease {
  return {
    n: row.n as number,
    fence: row.fence as number,
    id: row.id as string,
    state: row.state as string,
    task: row.task as string,
    client: row.client as string | null,
    input: row.input as string | null,
    attempt: row.attempt as number,
    timeoutMs: row.timeout_ms as number | null,
    key: row.key as string | null,
    failures: row.failures as number,
    deaths: row.deaths as number,
  };
}
