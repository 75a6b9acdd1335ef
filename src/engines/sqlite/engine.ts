/**
 * The embedded engine: runs on one machine, durable, with nothing else installed. The store thread has the database; this
 * side has the runs that are leased, and never waits for the disk.
 */
import { customAlphabet } from 'nanoid';
import type { Clock } from '../../clock.ts';
import type { Config } from '../../config.ts';
import {
  type Acceptance,
  type Cancellation,
  type Counts,
  DrainedError,
  type Engine,
  type EngineLog,
  type Execute,
  type History,
  KeyConflictError,
  type ListQuery,
  type Match,
  type Mode,
  type ScheduleState,
  type Scope,
  type ScopeMode,
  type StartRequest,
} from '../../engine.ts';
import type { Policies } from '../../policy.ts';
import { isTerminal, type Run, type RunEvent, type Standing } from '../../run.ts';
import { ServedTasks } from '../../servedTasks.ts';
import { idAlphabet } from '../../token.ts';
import { CancelOrders } from './cancelOrders.ts';
import type { DriverName, Row } from './driver.ts';
import { Estimates } from './estimates.ts';
import { closingEvents, openingEvents } from './history.ts';
import { Leaser } from './leaser.ts';
import { Modes } from './modes.ts';
import { Progress } from './progress.ts';
import type { Accepted, NewRun, RunWish, StoreSettings, WriteAnswers } from './protocol.ts';
import { Recovery } from './recovery.ts';
import { RunReader } from './runReader.ts';
import { RunTimes } from './runTimes.ts';
import { Scheduler } from './scheduler.ts';
import { StoreClient, type StoreListener, type StoreThread, unavailable } from './storeClient.ts';
import { isUnlimited } from './taskLimits.ts';
import { SqliteTokenStore } from './tokenStore.ts';
import type { Ahead } from './waitingRuns.ts';

/** 131 random bits: an id is the only key to a direct run. */
const makeRunId = customAlphabet(idAlphabet, 22);

/** How many waiting runs are cancelled in one commit. */
const cancelledAtOnce = 1000;

export interface SqliteEngineParts {
  clock: Clock;
  log: EngineLog;
  policies: Policies;
  driver?: DriverName;
  /** Default: a worker thread. */
  startStore?: (settings: StoreSettings) => StoreThread;
}

type SqliteEngineConfig = Pick<Config, 'data' | 'concurrency' | 'threads' | 'keepMs' | 'keepRuns'>;

export class SqliteEngine implements Engine {
  readonly tokens: SqliteTokenStore;
  readonly #config: SqliteEngineConfig;
  readonly #parts: SqliteEngineParts;
  readonly #store: StoreClient;
  readonly #progress: Progress;
  readonly #leaser: Leaser;
  readonly #recovery: Recovery;
  readonly #estimates: Estimates;
  readonly #reader: RunReader;
  readonly #scheduler: Scheduler;
  readonly #orders: CancelOrders;
  readonly #modes: Modes;
  #emit: (event: RunEvent) => void = () => {};
  #lastN = 0;
  #trouble: string | null = null;
  #onTrouble: () => void = () => {};
  /** Runs whose process died have been taken back. Streams wait for it, so that what they tell has no hole in its numbers. */
  #recovered: Promise<unknown> = Promise.resolve();

  constructor(config: SqliteEngineConfig, parts: SqliteEngineParts) {
    this.#config = config;
    this.#parts = parts;
    const { data: folder, keepMs, keepRuns, threads } = config;
    const limits = parts.policies
      .all()
      .filter(({ policy }) => !isUnlimited(policy))
      .map(({ state, task, policy }) => ({
        state,
        task,
        concurrency: policy.concurrency,
        concurrencyPerClient: policy.concurrencyPerClient,
        concurrencyPerKey: policy.concurrencyPerKey,
        rateLimit: policy.rateLimit,
        isolate: policy.isolate,
      }));
    const served = parts.policies.all().map(({ state, task }) => ({ state, task }));
    this.#modes = new Modes(parts.log, new ServedTasks(served));
    const settings = {
      folder,
      keepMs,
      keepRuns,
      limits,
      threads,
      served,
      ...(parts.driver && { driver: parts.driver }),
    };
    const listener: StoreListener = {
      tokens: (tokens) => this.tokens.replace(tokens),
      modes: (modes) => this.#setModes(modes),
      orders: (orders) => void this.#orders.receive(orders),
      trouble: (reason) => this.#setTrouble(reason),
      died: (error) => this.#setTrouble(`the store stopped: ${error.message}; restart the server`),
    };
    this.#store = new StoreClient(settings, listener, parts.startStore);
    this.tokens = new SqliteTokenStore(this.#store);
    const emit = (event: RunEvent) => this.#emit(event);
    this.#progress = new Progress(parts.clock, this.#store, emit);
    const times = new RunTimes();
    this.#leaser = new Leaser({
      ...parts,
      store: this.#store,
      progress: this.#progress,
      times,
      concurrency: config.concurrency,
      emit,
      trouble: () => this.#trouble,
    });
    this.#recovery = new Recovery({
      ...parts,
      store: this.#store,
      progress: this.#progress,
      emit,
      released: (row) => this.#leaser.released(row),
    });
    this.#scheduler = new Scheduler({
      ...parts,
      store: this.#store,
      occur: (key, occurrence, request) => this.#occur(key, occurrence, request),
    });
    this.#orders = new CancelOrders({
      ...parts,
      store: this.#store,
      atOnce: cancelledAtOnce,
      cancelled: (batch) => this.#cancelled(batch),
    });
    this.#estimates = new Estimates(parts, config, this.#leaser.live, times);
    this.#reader = new RunReader(parts.clock, this.#store, this.#leaser.live, this.#estimates);
  }

  onEvent(listener: (event: RunEvent) => void): void {
    this.#emit = listener;
  }

  async open(): Promise<void> {
    const ready = await this.#store.open(this.#parts.clock.now());
    this.#lastN = ready.lastN;
    this.#leaser.open(ready.pending);
    this.#recovery.open(ready.interrupted);
    this.#setModes(ready.modes);
    this.tokens.replace(ready.tokens);
    const opened = this.#scheduler.open();
    // First what an admin has ordered, while it shows what was at work when the process died; and before anything is leased.
    this.#recovered = this.#orders.receive(ready.orders).then(() => this.#recovery.run());
    // A full disk takes these later. Reads, and the reason for refusing starts, are not to wait for that.
    await Promise.race([Promise.all([this.#recovered, opened]), this.#inTrouble()]);
    this.#progress.start();
  }

  #inTrouble(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#trouble !== null) resolve();
      else this.#onTrouble = resolve;
    });
  }

  start(execute: Execute): void {
    this.#leaser.start(execute);
    this.#scheduler.start();
  }

  // ---- Accepting

  async accept(requests: readonly StartRequest[]): Promise<Acceptance[]> {
    if (this.#trouble !== null) throw unavailable(this.#trouble);
    const drained = requests.find(({ state, task }) => this.#modes.isDrained(state, task));
    // Whoever sends a start again because its answer got lost is to find its run.
    const mayBeKnown = requests.some(({ unique, idempotency }) => unique || idempotency);
    const acceptances =
      drained && !mayBeKnown
        ? 'drained'
        : await this.#accept(requests, (runs) => this.#store.write({ op: 'accept', runs }));
    if (acceptances === 'conflict')
      throw new KeyConflictError('A key was used before, with another fingerprint');
    if (acceptances !== 'drained') return acceptances;
    const { state, task } = drained as StartRequest;
    throw new DrainedError(
      `The task ${task} of the state ${state} is being drained: it takes no starts. Try again later.`,
    );
  }

  #accept<Refusal extends string>(
    requests: readonly StartRequest[],
    commit: (runs: NewRun[]) => Promise<Exclude<Accepted, string> | Refusal>,
  ): Promise<Acceptance[] | Refusal> {
    const at = this.#parts.clock.now();
    const runs = requests.map((request) => this.#newRun(request, at));
    const leased = runs.filter((run) => run.leased).length;
    // All in the very callback of the commit: what the same commit made of these runs after that, a lease or a cancel, is heard
    // next, and their room is taken before anybody else looks for some.
    return commit(runs).then(
      (accepted) => {
        this.#leaser.unreserve(leased);
        return typeof accepted === 'string' ? accepted : this.#acceptances(runs, accepted);
      },
      (error) => {
        this.#leaser.unreserve(leased);
        throw error;
      },
    );
  }

  #acceptances(runs: readonly NewRun[], accepted: Exclude<Accepted, string>): Acceptance[] {
    const waiting = accepted.waiting[Symbol.iterator]();
    return runs.map((run, place) => {
      const known = accepted.known.get(place);
      if (known) return { run: this.#reader.asRun(known), deduplicated: true };
      if (accepted.held.has(place)) run.leased = false;
      const ahead = run.leased ? undefined : (waiting.next().value as Ahead | null | undefined);
      return { run: this.#accepted(run, ahead), deduplicated: false };
    });
  }

  /** The run of a schedule's occurrence: its id, or undefined where it has had one, or is to have none. */
  async #occur(key: string, occurrence: number, request: StartRequest): Promise<string | undefined> {
    const { state, task } = request;
    if (this.#modes.isDrained(state, task)) {
      await this.#store.write({ op: 'occur', key, occurrence, run: null });
      this.#parts.log('info', 'An occurrence of a schedule was left out: its task is being drained', {
        state,
        task,
      });
      return undefined;
    }
    const acceptances = await this.#accept([request], ([run]) =>
      this.#store.write({ op: 'occur', key, occurrence, run: run as NewRun }),
    );
    return typeof acceptances === 'string' ? undefined : acceptances[0]?.run.snapshot.task_id;
  }

  #newRun(request: StartRequest, at: number): NewRun {
    const { state, task, client, input } = request;
    const policy = this.#parts.policies.of(state, task);
    const runAt = request.runAt !== undefined && request.runAt > at ? request.runAt : null;
    const limited = !isUnlimited(policy);
    const isDrained = this.#modes.isDrained(state, task);
    const mayBeLeased = runAt === null && !isDrained && !this.#modes.isPaused(state, task);
    const run: NewRun = {
      n: ++this.#lastN,
      id: makeRunId(),
      state,
      task,
      client,
      input,
      leased: mayBeLeased && this.#leaser.reserve(),
      at,
    };
    if (limited) run.limited = true;
    if (isDrained) run.drained = true;
    const priority = request.priority ?? policy.priority;
    const { key = null, timeoutMs = null, retryOf = null, unique, idempotency } = request;
    const expiresAt = policy.expiresInMs === null ? null : (runAt ?? at) + policy.expiresInMs;
    const isOrdinary =
      priority === 0 && key === null && timeoutMs === null && retryOf === null && !unique && !idempotency;
    if (isOrdinary && runAt === null && ((run.leased && !limited) || expiresAt === null)) return run;
    // As JSON, since libsql cuts text at a NUL: two keys must not become one.
    const keyText = key === null ? null : JSON.stringify(key);
    const wish: RunWish = { priority, key: keyText, runAt, expiresAt, timeoutMs, retryOf };
    if (unique) wish.unique = { ...unique, key: JSON.stringify(unique.key) };
    if (idempotency) wish.idempotency = idempotency;
    run.wish = wish;
    return run;
  }

  /** `ahead`: what goes before it, where it waits; undefined where nobody asks. */
  #accepted(run: NewRun, ahead: Ahead | null | undefined): Run {
    const { wish } = run;
    const row: Row = {
      id: run.id,
      state: run.state,
      task: run.task,
      client: run.client,
      created_at: run.at,
      started_at: run.leased ? run.at : null,
    };
    if (wish) Object.assign(row, { run_at: wish.runAt, due_at: wish.runAt, retry_of: wish.retryOf });
    const events = openingEvents(row);
    for (const event of events) this.#emit(event);
    const { snapshot } = events.at(-1) as RunEvent;
    if (run.leased) this.#leaser.acceptedAndLeased(run, snapshot);
    else {
      this.#leaser.added(1, wish?.runAt ?? null);
      if (wish && wish.expiresAt !== null) this.#leaser.wakeBy(wish.expiresAt);
    }
    if (ahead === undefined) return { snapshot, client: run.client };
    return {
      snapshot: { ...snapshot, ...this.#estimates.standing({ ...row, key: wish?.key ?? null }, ahead) },
      client: run.client,
    };
  }

  // ---- Reading

  read(id: string): Promise<Run | undefined> {
    return this.#reader.read(id);
  }

  async input(id: string): Promise<{ input: string | null } | undefined> {
    const input = await this.#store.read({ op: 'input', id });
    return input === undefined ? undefined : { input };
  }

  standings(ids: readonly string[]): Promise<Map<string, Standing>> {
    return this.#reader.standings(ids);
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
    if (cancelled) this.#ended([row]);
    else this.#cancelLeased(id);
    const run = this.#reader.asRun({ row });
    return { kind: !cancelled && isTerminal(run.snapshot.status) ? 'already-ended' : 'accepted', run };
  }

  async cancelAll(match: Match): Promise<number> {
    if (this.#trouble !== null) throw unavailable(this.#trouble);
    let count = 0;
    const asked = new Set<string>();
    for (let more = true; more; ) {
      const at = this.#parts.clock.now();
      const batch = await this.#store.write({ op: 'cancelAll', match, limit: cancelledAtOnce, at });
      this.#cancelled(batch);
      for (const id of batch.leased) asked.add(id);
      count += batch.ended.length;
      more = batch.more;
    }
    return count + asked.size;
  }

  #cancelled({ ended, leased }: WriteAnswers['cancelAll']): void {
    this.#ended(ended);
    for (const id of leased) this.#cancelLeased(id);
  }

  /** After that was stored. */
  #cancelLeased(id: string): void {
    this.#recovery.cancel(id);
    this.#leaser.cancel(id);
  }

  /** Runs that waited have ended. */
  #ended(rows: readonly Row[]): void {
    this.#leaser.removed(rows.length);
    for (const row of rows) for (const event of closingEvents(row)) this.#emit(event);
  }

  // ---- What an admin decides

  async setMode(scope: Scope, mode: Mode): Promise<void> {
    if (this.#trouble !== null) throw unavailable(this.#trouble);
    this.#setModes(await this.#store.write({ op: 'setMode', scope, mode }));
  }

  #setModes(modes: readonly ScopeMode[]): void {
    if (this.#modes.replace(modes)) this.#leaser.mayHaveOpened();
  }

  modes(): readonly ScopeMode[] {
    return this.#modes.all;
  }

  async schedules(): Promise<ScheduleState[]> {
    return this.#scheduler.states();
  }

  // ---- The engine's own life

  counts(): Counts {
    return { pending: this.#leaser.pending, running: this.#leaser.running };
  }

  trouble(): string | null {
    return this.#trouble;
  }

  #setTrouble(reason: string | null): void {
    this.#trouble = reason;
    if (reason === null) {
      this.#parts.log('info', 'The store takes runs again');
      // Before a lease.
      void this.#orders.carryOut();
      this.#leaser.mayHaveOpened();
    } else {
      this.#parts.log('error', `Starts are refused: ${reason}`, { data: this.#config.data });
      this.#onTrouble();
    }
  }

  drain(graceMs: number): Promise<void> {
    this.#scheduler.stop();
    this.#orders.stop();
    return this.#leaser.drain(graceMs);
  }

  async close(): Promise<void> {
    await this.drain(0);
    this.#leaser.giveUp();
    this.#progress.stop();
    await this.#store.close();
  }
}
