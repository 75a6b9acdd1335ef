/**
 * The embedded engine: runs on one machine, durable, with nothing else installed. The store thread has the database; this
 * side has the runs that are leased, and never waits for the disk.
 */
import { customAlphabet } from 'nanoid';
import type { Clock } from '../../clock.ts';
import type { Config } from '../../config.ts';
import {
  AbortReason,
  type Acceptance,
  type Cancellation,
  type Counts,
  type Engine,
  type EngineLog,
  type Execute,
  type History,
  type ListQuery,
  type Match,
  type Mode,
  type ScheduleState,
  type Scope,
  type StartRequest,
} from '../../engine.ts';
import type { Policies } from '../../policy.ts';
import {
  isTerminal,
  type Outcome,
  type Run,
  type RunEvent,
  type Snapshot,
  type Standing,
} from '../../run.ts';
import { idAlphabet } from '../../token.ts';
import type { DriverName, Row } from './driver.ts';
import { closingEvents, openingEvents, rowSnapshot } from './history.ts';
import { type Lease, LiveRun } from './liveRun.ts';
import { Progress } from './progress.ts';
import type { NewRun } from './protocol.ts';
import { RunReader } from './runReader.ts';
import { StoreClient, unavailable } from './storeClient.ts';
import { SqliteTokenStore } from './tokenStore.ts';

/** 131 random bits: an id is the only key to a direct run. */
const makeRunId = customAlphabet(idAlphabet, 22);

/** A method that has said nothing for so long counts as at work. */
const silentStartMs = 100;

/** What an aborted attempt gets to come to its end before its run is handed back without it. */
const abortPatienceMs = 1000;

/** When a lease was refused, how soon it is asked for again. */
const leaseRetryMs = 1000;

/** After so many deaths of its process a run ends in `Error`. */
const mostDeaths = 3;

export interface SqliteEngineParts {
  clock: Clock;
  log: EngineLog;
  policies: Policies;
  driver?: DriverName;
}

type SqliteEngineConfig = Pick<Config, 'data' | 'concurrency' | 'threads' | 'keepMs' | 'keepRuns'>;

export class SqliteEngine implements Engine {
  readonly tokens: SqliteTokenStore;
  readonly #config: SqliteEngineConfig;
  readonly #parts: SqliteEngineParts;
  readonly #store: StoreClient;
  readonly #progress: Progress;
  readonly #reader: RunReader;
  #emit: (event: RunEvent) => void = () => {};
  #execute: Execute | undefined;
  #lastN = 0;
  #trouble: string | null = null;
  #onTrouble: () => void = () => {};
  #draining = false;
  /** Runs whose process died have been taken back. Streams wait for it, so that what they tell has no hole in its numbers. */
  #recovered: Promise<unknown> = Promise.resolve();

  /** Leased runs by id. */
  readonly #live = new Map<string, LiveRun>();
  /** Leases asked for and not yet answered: they hold their place among the `concurrency`. */
  #leasing = 0;
  #leaseAsked = false;
  /** Runs that wait on disk. */
  #pending = 0;

  /** Attempts that are not over: an end that waits for its commit holds nobody else up. */
  #atWork = 0;
  /** Leased in this turn: executed in the next, so that the answers to their starts leave first. */
  #begun: LiveRun[] = [];
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
    this.#progress = new Progress(parts.clock, this.#store, (event) => this.#emit(event));
    this.#reader = new RunReader(this.#store, this.#live);
  }

  onEvent(listener: (event: RunEvent) => void): void {
    this.#emit = listener;
  }

  async open(): Promise<void> {
    const ready = await this.#store.open();
    this.#lastN = ready.lastN;
    this.#pending = ready.pending;
    this.tokens.replace(ready.tokens);
    this.#recovered = Promise.all(ready.interrupted.map((row) => this.#recover(row)));
    // A full disk takes these later. Reads, and the reason for refusing starts, are not to wait for that.
    await Promise.race([this.#recovered, this.#inTrouble()]);
    this.#progress.start();
  }

  #inTrouble(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#trouble !== null) resolve();
      else this.#onTrouble = resolve;
    });
  }

  start(execute: Execute): void {
    this.#execute = execute;
    this.#leaseMore();
  }

  // ---- Accepting

  async accept(requests: readonly StartRequest[]): Promise<Acceptance[]> {
    if (this.#trouble !== null) throw unavailable(this.#trouble);
    const at = this.#parts.clock.now();
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
    return this.#config.concurrency - this.#atWork - this.#leasing;
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
    if (run.leased) {
      const { n, id, state, task, client, input } = run;
      this.#begin(
        { n, id, state, task, client, input, attempt: 1, timeoutMs: null, fence: 1 },
        last.snapshot,
      );
    }
    return { snapshot: last.snapshot, client: run.client };
  }

  // ---- Leasing and executing

  #leaseMore(): void {
    const max = Math.min(this.#room(), this.#pending);
    if (max <= 0 || this.#leaseAsked || this.#draining || !this.#execute || this.#trouble !== null) return;
    this.#leaseAsked = true;
    this.#leasing += max;
    this.#store
      .write({ op: 'lease', max, at: this.#parts.clock.now() })
      .then(
        (rows) => {
          this.#pending -= rows.length;
          for (const row of rows) this.#leased(row);
          return rows.length > 0;
        },
        (error: Error) => {
          this.#parts.log('warn', `No run could be leased: ${error.message}`);
          this.#parts.clock.after(leaseRetryMs, () => this.#leaseMore());
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
    const run = this.#begin(leaseOf(row), snapshot);
    // The first lease is implied by the run's row; a later one is an event to be stored like any other.
    if (run.attempt > 1) {
      run.addUnwritten(event);
      this.#progress.writeSoon(run);
    }
  }

  #begin(lease: Lease, snapshot: Snapshot): LiveRun {
    const run = new LiveRun(this.#progress, lease, snapshot);
    this.#live.set(run.id, run);
    this.#atWork++;
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
    const stopTimer = this.#parts.clock.after(silentStartMs, () =>
      this.#progress.show(run, run.beginProcessing()),
    );
    execute(run, run)
      .catch(({ message }: Error): Outcome => ({ kind: 'failed', error: { name: 'Error', message } }))
      .then((outcome) => {
        stopTimer();
        // Handed back meanwhile: the attempt was given up, and its end is nobody's business any more.
        if (!run.closed) this.#finish(run, outcome);
      });
  }

  #finish(run: LiveRun, outcome: Outcome): void {
    const { update, events } = run.end(this.#heeded(run, outcome));
    this.#progress.forget(run);
    this.#atWork--;
    this.#leaseMore();
    const back = !isTerminal((events.at(-1) as RunEvent).snapshot.status);
    const write: Promise<Row | boolean | undefined> = back
      ? this.#store.write({ op: 'release', run: update, death: false })
      : this.#store.write({ op: 'finish', run: update });
    write
      .then(
        (held) => {
          if (held) {
            for (const event of events) this.#emit(event);
            if (held !== true) this.#released(held);
          } else this.#parts.log('warn', 'A stale result was refused', { run: run.id, attempt: run.attempt });
        },
        (error: Error) =>
          this.#parts.log('error', `The end of a run could not be stored: ${error.message}`, { run: run.id }),
      )
      .finally(() => {
        this.#live.delete(run.id);
        if (back) this.#leaseMore();
        this.#checkIdle();
      });
  }

  /** A run that was handed back waits again, or has ended, when a cancel had been accepted meanwhile. */
  #released(row: Row): void {
    const end = closingEvents(row);
    if (end.length === 0) this.#pending++;
    for (const event of end) this.#emit(event);
  }

  /** A cancel that was accepted outlives a shutdown: such a run is not handed back. */
  #heeded(run: LiveRun, outcome: Outcome): Outcome {
    return outcome.kind === 'interrupted' && run.cancelRequested ? { kind: 'cancelled' } : outcome;
  }

  /** A run that was leased when the process died. */
  async #recover(row: Row): Promise<void> {
    const { state, task } = rowSnapshot(row);
    const outcome = afterDeath(row, this.#parts.policies.of(state, task).onCrash);
    const run = new LiveRun(this.#progress, leaseOf(row), rowSnapshot(row));
    run.skipShown((row.reserved as number | null) ?? 0);
    const { update } = run.end(outcome);
    if (outcome.kind === 'interrupted') {
      const released = await this.#store.write({ op: 'release', run: update, death: true });
      if (released) this.#released(released);
      this.#leaseMore();
    } else await this.#store.write({ op: 'finish', run: update });
  }

  // ---- Reading

  read(id: string): Promise<Run | undefined> {
    return this.#reader.read(id);
  }

  async list(query: ListQuery): Promise<Run[]> {
    if (query.active) await this.#recovered;
    return this.#reader.list(query);
  }

  async history(id: string, since: number): Promise<History | undefined> {
    await this.#recovered;
    return this.#reader.history(id, since);
  }

  // ---- Cancelling

  async cancel(id: string): Promise<Cancellation | undefined> {
    if (this.#trouble !== null) throw unavailable(this.#trouble);
    const answer = await this.#store.write({ op: 'cancel', id, at: this.#parts.clock.now() });
    if (!answer) return undefined;
    const { row, cancelled } = answer;
    if (cancelled) {
      this.#pending--;
      for (const event of closingEvents(row)) this.#emit(event);
      return { kind: 'accepted', run: this.#reader.asRun(row) };
    }
    const run = this.#reader.asRun(row);
    if (isTerminal(run.snapshot.status)) return { kind: 'already-ended', run };
    const live = this.#live.get(id);
    if (live) {
      live.cancelRequested = true;
      live.abort(new AbortReason('cancel'));
    }
    return { kind: 'accepted', run };
  }

  input(_id: string): Promise<{ input: string | null } | undefined> {
    throw new Error('to come');
  }
  standings(_ids: readonly string[]): Promise<Map<string, Standing>> {
    throw new Error('to come');
  }
  cancelAll(_match: Match): Promise<number> {
    throw new Error('to come');
  }
  setMode(_scope: Scope, _mode: Mode): Promise<void> {
    throw new Error('to come');
  }
  modes(): readonly { scope: Scope; mode: Mode }[] {
    throw new Error('to come');
  }
  schedules(): Promise<ScheduleState[]> {
    throw new Error('to come');
  }

  // ---- The engine's own life

  counts(): Counts {
    return { pending: this.#pending, running: this.#atWork + this.#leasing };
  }

  trouble(): string | null {
    return this.#trouble;
  }

  #setTrouble(reason: string | null): void {
    this.#trouble = reason;
    if (reason === null) {
      this.#parts.log('info', 'The store takes runs again');
      this.#leaseMore();
    } else {
      this.#parts.log('error', `Starts are refused: ${reason}`, { data: this.#config.data });
      this.#onTrouble();
    }
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
    this.#progress.stop();
    await this.#store.close();
  }
}

function leaseOf(row: Row): Lease {
  return {
    n: row.n as number,
    fence: row.fence as number,
    id: row.id as string,
    state: row.state as string,
    task: row.task as string,
    client: row.client as string | null,
    input: row.input as string | null,
    attempt: row.attempt as number,
    timeoutMs: null,
  };
}

/** What becomes of a run whose process died. */
function afterDeath(row: Row, onCrash: 'retry' | 'fail'): Outcome {
  if (row.cancel === 1) return { kind: 'cancelled' };
  const deaths = (row.deaths as number) + 1;
  if (onCrash === 'retry' && deaths < mostDeaths) return { kind: 'interrupted' };
  const message =
    onCrash === 'fail'
      ? 'The server process died while the task was at work, and the task is declared with onCrash: fail.'
      : `The server process died ${deaths} times while the task was at work; it is not tried again.`;
  return { kind: 'failed', error: { name: 'ProcessDiedError', message } };
}
