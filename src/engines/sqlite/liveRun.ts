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
import { encodeChunks, historyBytes, historyEvents, toColumn } from './history.ts';
import type { RunUpdate } from './protocol.ts';

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

/** What may wait for a number: a task that logs without awaiting, or a store that does not answer, can bring much. */
const heldWords = 50_000;
const heldBytes = 16 * 1024 * 1024;

type Line = { text: string; fields: Record<string, unknown> | undefined };
type Word = RunPatch | Line;

/** A leased run, with what its holder needs to write it. */
export interface Lease extends LeasedRun {
  n: number;
  fence: number;
}

/** Who a live run belongs to: told when it has something to number, and when a status must reach the disk at once. */
export interface LiveRunHost {
  now(): number;
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
  readonly fence: number;
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
  #unflushedBytes = 0;
  #flushedAt = 0;
  /** Events and bytes of history on disk, about; unknown for a run that had a life before this lease. */
  #kept = { count: 0, bytes: 0 };
  #words: Word[] = [];
  #heldBytes = 0;
  #spoken = 0;
  #controller: AbortController | undefined;
  #aborted: AbortReason | undefined;

  constructor(host: LiveRunHost, run: Lease, snapshot: Snapshot) {
    this.#host = host;
    this.n = run.n;
    this.id = run.id;
    this.state = run.state;
    this.task = run.task;
    this.client = run.client;
    this.input = run.input;
    this.attempt = run.attempt;
    this.fence = run.fence;
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
    this.#aborted ??= reason;
    this.#controller?.abort(this.#aborted);
  }

  update(patch: RunPatch): Promise<void> {
    if (this.closed) return resolved;
    const last = this.#words.at(-1);
    if (last && !('text' in last)) Object.assign(last, patch);
    else this.#words.push({ ...patch });
    return this.#speak();
  }

  log(text: string, fields: Record<string, unknown> | undefined): Promise<void> {
    if (this.closed) return resolved;
    this.#words.push({ text, fields });
    this.#heldBytes += text.length;
    if (this.#words.length > heldWords || this.#heldBytes > heldBytes) this.#mergeHeld();
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

  /** Numbers what the tick brought. What finds no number reserved stays, merged, for the next time. */
  number(): RunEvent[] {
    this.dirty = false;
    this.#spoken = 0;
    if (this.#words.length === 0) return [];
    const events: RunEvent[] = [];
    if (this.snapshot.status === TaskStatus.STARTING && this.#mayNumber()) {
      const first = this.#words[0] as Word;
      // A first update carries the change of status itself; a first log line is preceded by it.
      if ('text' in first) events.push(this.#next({ status: TaskStatus.PROCESSING }));
      else events.push(this.#next({ ...(this.#words.shift() as RunPatch), status: TaskStatus.PROCESSING }));
    }
    let taken = 0;
    for (const word of this.#words) {
      if (!this.#mayNumber()) break;
      events.push('text' in word ? this.#next({}, word) : this.#next(word));
      taken++;
    }
    this.#words = taken === this.#words.length ? [] : this.#words.slice(taken);
    if (this.#words.length === 0) this.#heldBytes = 0;
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
    return this.#words.length > 0;
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

  #next(change: RunPatch & { status?: TaskStatus }, line?: Line): RunEvent {
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

  #keep(events: readonly RunEvent[]): void {
    for (const event of events) {
      this.unflushed.push(event);
      this.#unflushedBytes += event.text?.length ?? 0;
    }
    const waiting = this.unflushed.length - this.#flushing;
    const over = this.#unflushedBytes > heldBytes ? waiting >> 1 : waiting - historyEvents;
    // More than a history keeps anyway: the oldest go, and a reader is told of them as a gap.
    if (over <= 0) return;
    this.unflushed.splice(this.#flushing, over);
    this.#unflushedBytes = textLength(this.unflushed);
  }

  /** More was said than can be held: the updates melt into one, and a line takes the place of the oldest lines. */
  #mergeHeld(): void {
    const patch: RunPatch = {};
    const lines = this.#words.filter((word): word is Line => {
      if ('text' in word) return true;
      Object.assign(patch, word);
      return false;
    });
    const kept = lines.slice(-heldWords / 2);
    const text = `${lines.length - kept.length} log lines were dropped here: the task logs faster than they can be stored.`;
    this.#words = [{ text, fields: undefined }, ...kept, patch];
    this.#heldBytes = kept.reduce((sum, line) => sum + line.text.length, 0);
  }

  /** Takes what is not on disk yet as one write; `flushed` or `flushFailed` is to be called with what came of it. */
  takeUpdate(): { update: RunUpdate; reserved: number; outgrown: boolean } {
    const now = this.#host.now();
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
    const wanted = Math.min(2 * this.#words.length, mostReserved);
    return { update, reserved: this.snapshot.seq + Math.max(this.reserveSize, wanted), outgrown };
  }

  flushed(reserved: number, kept: { count: number; bytes: number } | undefined): void {
    this.unflushed.splice(0, this.#flushing);
    this.#unflushedBytes = textLength(this.unflushed);
    this.#flushing = 0;
    this.reserved = Math.max(this.reserved, reserved);
    if (kept) this.#kept = kept;
  }

  flushFailed(): void {
    this.#flushing = 0;
  }

  /**
   * The attempt is over: numbers what was still unsaid, then the end. `events` may be shown once `update` is on disk;
   * until then the run stands, for everybody, where it stood.
   */
  end(outcome: Outcome): { update: RunUpdate; events: RunEvent[] } {
    const shown = this.snapshot;
    // The commit that these wait for makes any reservation needless.
    this.reserved = Number.POSITIVE_INFINITY;
    const events = this.number();
    this.closed = true;
    const last = this.#next(ending(outcome));
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

function textLength(events: readonly RunEvent[]): number {
  return events.reduce((sum, { text }) => sum + (text?.length ?? 0), 0);
}

/** What an outcome makes of a run. */
function ending(outcome: Outcome): Partial<Snapshot> & { status: TaskStatus } {
  switch (outcome.kind) {
    case 'completed':
      return { status: TaskStatus.COMPLETED, progress: 100, result: outcome.result, error: null };
    case 'failed':
      return { status: TaskStatus.ERROR, error: outcome.error };
    case 'cancelled':
      return { status: TaskStatus.CANCELLED };
    case 'interrupted':
      return { status: TaskStatus.PENDING };
  }
}
