/**
 * The embedded engine: runs on one machine, durable, with nothing else installed. The store thread has the database; this
 * side has the runs that are leased, and never waits for the disk.
 */
import { customAlphabet } from 'nanoid';
import type { Clock } from '../../clock.ts';
import type { Config } from '../../config.ts';
import {
  AbortReason,
  type Accepted,
  type Cancellation,
  type Counts,
  type Engine,
  type EngineLog,
  EngineUnavailableError,
  type Execute,
  type History,
  type ListQuery,
  type StartRequest,
} from '../../engine.ts';
import { isTerminal, type Outcome, type Run, type RunError, type RunEvent } from '../../run.ts';
import { idAlphabet } from '../../token.ts';
import type { DriverName, Row } from './driver.ts';
import { closingEvents, decodeChunk, openingEvents, rowSnapshot } from './history.ts';
import { LiveRun, type LiveRunHost } from './liveRun.ts';
import type { NewRun } from './protocol.ts';
import { StoreClient } from './storeClient.ts';
import { SqliteTokenStore } from './tokenStore.ts';

/** 131 random bits: an id is the only key to a direct run. */
const makeRunId = customAlphabet(idAlphabet, 22);

/** How often progress is written. A change of status does not wait for it. */
const progressPeriodMs = 250;

/** A method that has said nothing for so long counts as at work. */
const silentStartMs = 100;

/** What an aborted attempt gets to come to its end before its run is handed back without it. */
const abortPatienceMs = 1000;

/** After so many deaths of its process a run ends in `Error`. */
const mostDeaths = 3;

/** Events in one page of history. */
const historyPage = 500;

export interface SqliteEngineParts {
  clock: Clock;
  log: EngineLog;
  /** What the author wants when the process died under an attempt. */
  onCrash(state: string, task: string): 'retry' | 'fail';
  driver?: DriverName;
}

type SqliteEngineConfig = Pick<Config, 'data' | 'concurrency' | 'keepMs' | 'keepRuns'>;

export class SqliteEngine implements Engine {
  readonly tokens: SqliteTokenStore;
  readonly #config: SqliteEngineConfig;
  readonly #parts: SqliteEngineParts;
  readonly #store: StoreClient;
  #emit: (event: RunEvent) => void = () => {};
  #execute: Execute | undefined;
  #lastN = 0;
  #trouble: string | null = null;
  #draining = false;

  /** Leased runs by id. */
  readonly #live = new Map<string, LiveRun>();
  /** Leases asked for and not yet answered: they hold their place among the `concurrency`. */
  #leasing = 0;
  #leaseAsked = false;
  /** Runs that wait on disk. */
  #pending = 0;

  /** What this turn of the loop brought. */
  #spoken: LiveRun[] = [];
  #tick: Promise<void> | undefined;
  /** Leased in this turn: executed in the next, so that the answers to their starts leave first. */
  #begun: LiveRun[] = [];
  readonly #unwritten = new Set<LiveRun>();
  #stopProgress: (() => void) | undefined;
  #idle: (() => void) | undefined;

  constructor(config: SqliteEngineConfig, parts: SqliteEngineParts) {
    this.#config = config;
    this.#parts = parts;
    const { data: folder, keepMs, keepRuns } = config;
    const settings = { folder, keepMs, keepRuns, ...(parts.driver && { driver: parts.driver }) };
    this.#store = new StoreClient(settings, {
      tokens: (tokens) => this.tokens.replace(tokens),
      trouble: (reason) => this.#setTrouble(reason),
      died: (error) => this.#setTrouble(`the store stopped: ${error.message}; restart the server`),
    });
    this.tokens = new SqliteTokenStore(this.#store);
  }

  onEvent(listener: (event: RunEvent) => void): void {
    this.#emit = listener;
  }

  async open(): Promise<void> {
    const ready = await this.#store.open();
    this.#lastN = ready.lastN;
    this.#pending = ready.pending;
    this.tokens.replace(ready.tokens);
    await Promise.all(ready.interrupted.map((row) => this.#recover(row)));
    this.#stopProgress = this.#parts.clock.every(progressPeriodMs, () => this.#writeProgress());
  }

  start(execute: Execute): void {
    this.#execute = execute;
    this.#leaseMore();
  }

  // ---- Accepting

  async accept(requests: readonly StartRequest[]): Promise<Accepted[]> {
    if (this.#trouble !== null) throw new EngineUnavailableError(this.#trouble);
    const at = this.#now();
    const runs: NewRun[] = [];
    let leased = 0;
    for (const { state, task, client, input } of requests) {
      const now = this.#mayLeaseAtOnce();
      if (now) {
        leased++;
        this.#leasing++;
      }
      runs.push({ n: ++this.#lastN, id: makeRunId(), state, task, client, input, leased: now, at });
    }
    this.#pending += runs.length - leased;
    try {
      await this.#store.write({ op: 'accept', runs });
    } catch (error) {
      this.#pending -= runs.length - leased;
      throw error;
    } finally {
      this.#leasing -= leased;
    }
    const accepted = runs.map((run) => ({ run: this.#accepted(run), deduplicated: false }));
    this.#leaseMore();
    return accepted;
  }

  /** Nobody waits and there is room: then accepting and leasing are one commit. */
  #mayLeaseAtOnce(): boolean {
    return this.#execute !== undefined && !this.#draining && this.#pending === 0 && this.#room() > 0;
  }

  #room(): number {
    return this.#config.concurrency - this.#live.size - this.#leasing;
  }

  #accepted(run: NewRun): Run {
    const row: Row = {
      id: run.id,
      state: run.state,
      task: run.task,
      client: run.client,
      created_at: run.at,
      started_at: run.leased ? run.at : null,
    };
    const events = openingEvents(row);
    for (const event of events) this.#emit(event);
    const last = events.at(-1) as RunEvent;
    if (run.leased) this.#begin({ ...run, attempt: 1, fence: 1 }, last.snapshot);
    return { snapshot: last.snapshot, client: run.client };
  }

  // ---- Leasing and executing

  #leaseMore(): void {
    const max = Math.min(this.#room(), this.#pending);
    if (max <= 0 || this.#leaseAsked || this.#draining || !this.#execute || this.#trouble !== null) return;
    this.#leaseAsked = true;
    this.#leasing += max;
    this.#store
      .write({ op: 'lease', max, at: this.#now() })
      .then(
        (rows) => {
          this.#pending -= rows.length;
          for (const row of rows) this.#leased(row);
          return rows.length > 0;
        },
        (error: Error) => {
          this.#parts.log('warn', `No run could be leased: ${error.message}`);
          return false;
        },
      )
      .then((more) => {
        this.#leasing -= max;
        this.#leaseAsked = false;
        // Nobody there after all (a start that waits for its commit says so itself): asking again would be spinning.
        if (more) this.#leaseMore();
        this.#checkIdle();
      });
  }

  #leased(row: Row): void {
    const snapshot = rowSnapshot(row);
    const client = row.client as string | null;
    const event: RunEvent = { kind: 'update', snapshot, client };
    this.#emit(event);
    const { task_id: id, state, task, attempt } = snapshot;
    const input = row.input as string | null;
    const lease = { n: row.n as number, fence: row.fence as number, id, state, task, client, input, attempt };
    const run = this.#begin(lease, snapshot);
    // The first lease is implied by the run's row; a later one is an event to be stored like any other.
    if (attempt > 1) {
      run.unflushed.push(event);
      this.#unwritten.add(run);
    }
  }

  #begin(lease: ConstructorParameters<typeof LiveRun>[1], snapshot: Run['snapshot']): LiveRun {
    const run = new LiveRun(this.#host, lease, snapshot);
    this.#live.set(run.id, run);
    if (this.#begun.push(run) === 1) {
      setImmediate(() => {
        const begun = this.#begun;
        this.#begun = [];
        for (const each of begun) {
          if (this.#draining) this.#finish(each, { kind: 'interrupted' });
          else this.#attempt(each);
        }
      });
    }
    return run;
  }

  #attempt(run: LiveRun): void {
    const execute = this.#execute as Execute;
    const stopTimer = this.#parts.clock.after(silentStartMs, () => this.#show(run, run.beginProcessing()));
    execute(run, run).then((outcome) => {
      stopTimer();
      // Handed back meanwhile: the attempt was given up, and its end is nobody's business any more.
      if (!run.closed) this.#finish(run, outcome);
    });
  }

  #finish(run: LiveRun, outcome: Outcome): void {
    const { update, events } = run.end(this.#heeded(run, outcome));
    this.#unwritten.delete(run);
    const back = !isTerminal((events.at(-1) as RunEvent).snapshot.status);
    const write = back
      ? this.#store.write({ op: 'release', run: update, death: false })
      : this.#store.write({ op: 'finish', run: update });
    write
      .then(
        (held) => {
          if (held) {
            if (back) this.#pending++;
            for (const event of events) this.#emit(event);
          } else this.#parts.log('warn', 'A stale result was refused', { run: run.id, attempt: run.attempt });
        },
        (error: Error) =>
          this.#parts.log('error', `The end of a run could not be stored: ${error.message}`, { run: run.id }),
      )
      .finally(() => {
        this.#live.delete(run.id);
        this.#leaseMore();
        this.#checkIdle();
      });
  }

  /** A cancel that was accepted outlives a shutdown: such a run is not handed back. */
  #heeded(run: LiveRun, outcome: Outcome): Outcome {
    return outcome.kind === 'interrupted' && run.cancelRequested ? { kind: 'cancelled' } : outcome;
  }

  /** A run that was leased when the process died. */
  async #recover(row: Row): Promise<void> {
    const outcome = this.#afterDeath(row);
    const snapshot = rowSnapshot(row);
    const { task_id: id, state, task, attempt } = snapshot;
    const input = row.input as string | null;
    const lease = {
      n: row.n as number,
      fence: row.fence as number,
      id,
      state,
      task,
      client: null,
      input,
      attempt,
    };
    const run = new LiveRun(this.#host, lease, snapshot);
    // Numbers up to the reserved one may have been shown before the crash.
    run.snapshot = { ...snapshot, seq: Math.max((row.reserved as number | null) ?? 0, run.reserved) };
    const { update } = run.end(outcome);
    if (outcome.kind === 'interrupted') {
      await this.#store.write({ op: 'release', run: update, death: true });
      this.#pending++;
    } else await this.#store.write({ op: 'finish', run: update });
  }

  #afterDeath(row: Row): Outcome {
    const deaths = (row.deaths as number) + 1;
    if (row.cancel === 1) return { kind: 'cancelled' };
    const stop = this.#parts.onCrash(row.state as string, row.task as string) === 'fail';
    if (!stop && deaths < mostDeaths) return { kind: 'interrupted' };
    const message = stop
      ? 'The server process died while the task was at work, and the task is declared with onCrash: fail.'
      : `The server process died ${deaths} times while the task was at work; it is not tried again.`;
    const error: RunError = { name: 'ProcessDiedError', message };
    return { kind: 'failed', error };
  }

  // ---- What attempts say

  #now(): number {
    return this.#parts.clock.now();
  }

  readonly #host: LiveRunHost = {
    now: () => this.#now(),
    nextTick: () => this.#nextTick(),
    spoke: (run) => {
      this.#spoken.push(run);
      this.#nextTick();
    },
  };

  #nextTick(): Promise<void> {
    this.#tick ??= new Promise((resolve) => {
      setImmediate(() => {
        this.#tick = undefined;
        const spoken = this.#spoken;
        this.#spoken = [];
        for (const run of spoken) this.#show(run, run.closed ? [] : run.number());
        resolve();
      });
    });
    return this.#tick;
  }

  #show(run: LiveRun, events: readonly RunEvent[]): void {
    if (run.closed) return;
    const before = run.statusOnDisk;
    for (const event of events) this.#emit(event);
    if (events.length === 0 && !run.starved) return;
    this.#unwritten.add(run);
    const statusChanged = run.snapshot.status !== before;
    const lowOnNumbers = run.snapshot.seq + leaseHeadroom(run) >= run.reserved;
    if (statusChanged || lowOnNumbers) this.#writeRun(run);
  }

  #writeProgress(): void {
    for (const run of this.#unwritten) this.#writeRun(run);
  }

  /** One write of a run is on its way at a time; what it says meanwhile goes with the next. */
  #writeRun(run: LiveRun): void {
    if (run.writing || run.closed) return;
    run.writing = true;
    this.#unwritten.delete(run);
    const { update, reserved, outgrown } = run.takeUpdate();
    this.#store.write({ op: 'progress', run: update, reserved, outgrown }).then(
      (kept) => {
        run.writing = false;
        run.flushed(reserved, kept === true ? undefined : kept);
        if (!run.closed && run.hasUnnumbered) this.#show(run, run.number());
      },
      () => {
        // Progress is best effort for a store that cannot take it: it is offered again with the next round.
        run.writing = false;
        run.flushFailed();
        if (!run.closed) this.#unwritten.add(run);
      },
    );
  }

  // ---- Reading

  async read(id: string): Promise<Run | undefined> {
    const live = this.#live.get(id);
    if (live) return { snapshot: live.snapshot, client: live.client };
    const row = await this.#store.read({ op: 'read', id });
    return row && this.#asRun(row);
  }

  async list(query: ListQuery): Promise<Run[]> {
    const rows = await this.#store.read({ op: 'list', ...query });
    return rows.map((row) => this.#asRun(row));
  }

  /** What is in memory is newer than what is on disk. */
  #asRun(row: Row): Run {
    const live = this.#live.get(row.id as string);
    return { snapshot: live?.snapshot ?? rowSnapshot(row), client: row.client as string | null };
  }

  async history(id: string, since: number): Promise<History | undefined> {
    const stored = await this.#store.read({ op: 'history', id, since });
    if (!stored) return undefined;
    const { row, bodies, more } = stored;
    const known = [openingEvents(row), ...bodies.map((body) => decodeChunk(body, row))];
    if (!more) {
      if (row.tail !== null) known.push(decodeChunk(row.tail as string, row));
      known.push(this.#live.get(id)?.recent() ?? [], closingEvents(row));
    }
    const events: RunEvent[] = [];
    let last = since;
    for (const event of known.flat()) {
      if (event.snapshot.seq <= last) continue;
      last = event.snapshot.seq;
      events.push(event);
    }
    const page = events.slice(0, historyPage);
    return { run: this.#asRun(row), events: page, more: more || page.length < events.length };
  }

  // ---- Cancelling

  async cancel(id: string): Promise<Cancellation | undefined> {
    if (this.#trouble !== null) throw new EngineUnavailableError(this.#trouble);
    const answer = await this.#store.write({ op: 'cancel', id, at: this.#now() });
    if (!answer) return undefined;
    const { row, cancelled } = answer;
    if (cancelled) {
      this.#pending--;
      for (const event of closingEvents(row)) this.#emit(event);
      return { kind: 'accepted', run: this.#asRun(row) };
    }
    const run = this.#asRun(row);
    if (isTerminal(run.snapshot.status)) return { kind: 'already-ended', run };
    const live = this.#live.get(id);
    if (live) {
      live.cancelRequested = true;
      live.abort(new AbortReason('cancel'));
    }
    return { kind: 'accepted', run };
  }

  // ---- The engine's own life

  counts(): Counts {
    return { pending: this.#pending, running: this.#live.size + this.#leasing };
  }

  trouble(): string | null {
    return this.#trouble;
  }

  #setTrouble(reason: string | null): void {
    this.#trouble = reason;
    if (reason === null) {
      this.#parts.log('info', 'The store takes runs again');
      this.#leaseMore();
    } else this.#parts.log('error', `Starts are refused: ${reason}`);
  }

  async drain(graceMs: number): Promise<void> {
    this.#draining = true;
    if (await this.#settled(graceMs)) return;
    for (const run of this.#live.values()) run.abort(new AbortReason('shutdown'));
    await this.#settled(abortPatienceMs);
  }

  /** Whether no run is leased any more, waiting for it up to `patienceMs`. */
  async #settled(patienceMs: number): Promise<boolean> {
    if (this.#live.size + this.#leasing === 0) return true;
    if (patienceMs > 0) {
      await new Promise<void>((resolve) => {
        const giveUp = this.#parts.clock.after(patienceMs, resolve);
        this.#idle = () => {
          giveUp();
          resolve();
        };
      });
      this.#idle = undefined;
    }
    return this.#live.size + this.#leasing === 0;
  }

  #checkIdle(): void {
    if (this.#live.size + this.#leasing === 0) this.#idle?.();
  }

  async close(): Promise<void> {
    await this.drain(0);
    // Deaf to its signal: handed back without its consent, and whatever it still says or returns is not heard.
    for (const run of this.#live.values()) if (!run.closed) this.#finish(run, { kind: 'interrupted' });
    this.#stopProgress?.();
    await this.#store.close();
  }
}

/** How close to the last reserved number the next reservation is asked for. */
function leaseHeadroom(run: LiveRun): number {
  return run.reserveSize >> 1;
}
