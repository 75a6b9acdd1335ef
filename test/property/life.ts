/**
 * Does to an engine, and to the model, what a sequence of steps says, and compares the two after each.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import {
  type AbortCause,
  type AttemptContext,
  DrainedError,
  type Execute,
  KeyConflictError,
  type StartRequest,
} from '../../src/engine.ts';
import { openDatabase } from '../../src/engines/sqlite/driver.ts';
import { SqliteEngine } from '../../src/engines/sqlite/engine.ts';
import type { WriteOperation } from '../../src/engines/sqlite/protocol.ts';
import { isTerminal, type Outcome, type RunEvent, type Snapshot, TaskStatus } from '../../src/run.ts';
import { DrivenClock } from '../fixtures/drivenClock.ts';
import { concurrency, policies, state, threads } from './lab.ts';
import { Difference, type Ending, Model, type ModelRun, type Wish } from './model.ts';
import { copyClosedStore, SameThreadStore } from './sameThreadStore.ts';
import type { Action, Step } from './steps.ts';

/** After so many turns of the event loop in which nothing comes or goes, nothing will. */
const quietTurns = 3;
/** What has not happened after so many never will. */
const mostTurns = 20_000;

/** An attempt that goes on until the sequence ends it. */
interface Attempt {
  readonly number: number;
  readonly context: AttemptContext;
  end(outcome: Outcome): void;
  aborted: AbortCause | undefined;
}

/** Resolves when the engine has answered as it should. */
type Answered = Promise<void>;

let lives = 0;

export class Life {
  readonly #root: string;
  readonly #model: Model;
  #clock = new DrivenClock();
  #store: SameThreadStore | undefined;
  #engine: SqliteEngine | undefined;
  #folder: string;
  /** By the id of the run. */
  readonly #attempts = new Map<string, Attempt>();
  readonly #byId = new Map<string, ModelRun>();
  readonly #byLabel = new Map<string, ModelRun>();
  /** All that was told, over all processes, by the id of the run. */
  readonly #told = new Map<string, RunEvent[]>();
  /** What was told, and not compared yet. */
  #news: RunEvent[] = [];
  /** Runs whose attempt has ended, and of which nothing was told yet. */
  readonly #ending = new Set<string>();
  /** Runs that were leased in the commit that accepted them. */
  readonly #atOnce = new Set<string>();
  /** Runs whose next number need not follow the last that was told. */
  readonly #gaps = new Set<ModelRun>();
  #heedsShutdown = true;
  readonly #life = ++lives;
  #folders = 0;
  #labels = 0;
  /** What dead processes wanted to write about their runs. */
  readonly #late: WriteOperation[] = [];

  /** `closed`: a store that has just been made; a copy of it is where this begins. `root`: for folders that come and go. */
  constructor(root: string, closed: string) {
    this.#root = root;
    this.#model = new Model(this.#clock.wallTime);
    this.#folder = this.#nextFolder();
    copyClosedStore(closed, this.#folder);
  }

  async run(steps: readonly Step[]): Promise<void> {
    await this.#open();
    await this.#start();
    for (const step of steps) await this.#step(step);
    await this.#toTheEnd();
    await this.#compareHistories();
    await this.#close();
  }

  /** Leaves nothing behind, whatever has happened. */
  dispose(): void {
    this.#store?.die();
    for (let folder = 1; folder <= this.#folders; folder++) {
      rmSync(this.#folderOf(folder), { recursive: true, force: true });
    }
  }

  /** Of this life alone: what one that has gone wrong still writes is in nobody's way. */
  #folderOf(folder: number): string {
    return join(this.#root, `${this.#life}-${folder}`);
  }

  #nextFolder(): string {
    return this.#folderOf(++this.#folders);
  }

  // ---- Processes

  async #open(): Promise<void> {
    const parts = { clock: this.#clock, log: () => {}, policies };
    const engine = new SqliteEngine(
      { data: this.#folder, concurrency, threads, keepMs: 1e12, keepRuns: 1e9 },
      {
        ...parts,
        startStore: (settings) => {
          this.#store = new SameThreadStore(settings);
          return this.#store;
        },
      },
    );
    this.#engine = engine;
    engine.onEvent((event) => {
      // What a dead process still has in mind is nobody's business.
      if (this.#engine !== engine || this.#storeNow.dead) return;
      this.#news.push(event);
      if (event.snapshot.status === TaskStatus.PENDING || isTerminal(event.snapshot.status))
        this.#ending.delete(event.snapshot.task_id);
    });
    await engine.open();
  }

  async #start(): Promise<void> {
    this.#attempts.clear();
    this.#ending.clear();
    this.#heedsShutdown = true;
    this.#model.opened();
    this.#engineNow.start(this.#execute);
    await this.#settle();
    if (this.#late.length === 0) return;
    this.#storeNow.writeLate(this.#late);
    await this.#settle();
  }

  get #engineNow(): SqliteEngine {
    return this.#engine as SqliteEngine;
  }

  get #storeNow(): SameThreadStore {
    return this.#store as SameThreadStore;
  }

  readonly #execute: Execute = (run, context) => {
    const known = this.#byLabel.get(JSON.parse(run.input ?? '""') as string);
    if (!known || (known.id !== '' && known.id !== run.id) || known.wish.task !== run.task)
      throw new Difference(`An attempt was handed what nobody has started: ${JSON.stringify(run)}`);
    return new Promise((resolve) => {
      const attempt: Attempt = { number: run.attempt, context, end: resolve, aborted: undefined };
      context.onAbort(({ because }) => {
        attempt.aborted = because;
        if (because === 'shutdown' && this.#heedsShutdown) resolve({ kind: 'interrupted' });
      });
      this.#attempts.set(run.id, attempt);
    });
  };

  /** Deaf attempts are waited for until their time is over. */
  async #close(): Promise<void> {
    let closed = false;
    const closing = this.#engineNow.close().then(() => {
      closed = true;
    });
    await this.#turnsUntil(() => closed || this.#isQuiet(), 'the engine to close');
    if (!closed) await this.#pass(1000);
    await this.#turnsUntil(() => closed, 'the engine to close');
    await closing;
  }

  // ---- Steps

  async #step(step: Step): Promise<void> {
    switch (step.step) {
      case 'turn':
        return this.#settle(this.#do(step.actions));
      case 'pass':
        await this.#pass(step.ms);
        return this.#settle();
      case 'setClock':
        this.#clock.wallTime += step.byMs;
        this.#model.setClock(this.#clock.wallTime);
        await this.#pass(1000);
        return this.#settle();
      case 'stop':
        return this.#stop(step.actions, step.isDeaf);
      case 'crash':
        return this.#crash(step.actions, step.committed);
    }
  }

  async #pass(ms: number): Promise<void> {
    await this.#clock.goOn(ms);
    this.#model.pass(this.#clock.wallTime);
  }

  async #stop(actions: readonly Action[], isDeaf: boolean): Promise<void> {
    const answered = this.#do(actions);
    this.#heedsShutdown = !isDeaf;
    const closing = this.#close();
    this.#model.stop(isDeaf);
    await closing;
    await Promise.all(answered);
    this.#compareNews();
    await this.#open();
    await this.#compareStored();
    await this.#start();
  }

  async #crash(actions: readonly Action[], committed: boolean): Promise<void> {
    const model = this.#model;
    const store = this.#storeNow;
    const next = this.#nextFolder();
    store.dieAtNextCommit(committed, next);
    if (committed) this.#do(actions.map(findable)).map((answered) => answered.catch(() => {}));
    else this.#doInVain(actions);
    await this.#turnsUntil(() => store.dead || this.#isQuiet(), 'the process to die');
    store.die();
    this.#news = [];
    for (const run of committed ? model.runs : model.atWork()) this.#gaps.add(run);
    this.#late.push(...store.lost.filter(({ op }) => ['finish', 'release', 'progress'].includes(op)));

    this.#folder = next;
    const { wallTime } = this.#clock;
    this.#clock = new DrivenClock();
    this.#clock.wallTime = wallTime;
    await this.#open();
    await this.#findUnanswered();
    await this.#findBegun();
    model.crash();
    await this.#compareStored();
    await this.#start();
  }

  /** What was accepted, and the answer lost. */
  async #findUnanswered(): Promise<void> {
    const database = openDatabase(join(this.#folder, 'spyglass.db'));
    const rows = database.prepare('SELECT id, input FROM runs').all();
    database.close();
    for (const { id, input } of rows) {
      if (this.#byId.has(id as string)) continue;
      const run = this.#byLabel.get(JSON.parse(input as string) as string);
      if (run?.id !== '') throw new Difference(`Nobody has started ${id}`);
      const stored = await this.#engineNow.read(id as string);
      if (stored) this.#identify(run, stored.snapshot);
    }
  }

  /** What was leased by the last commit, and nobody told. */
  async #findBegun(): Promise<void> {
    for (const run of this.#model.waiting()) {
      const snapshot = (await this.#engineNow.read(run.id))?.snapshot;
      if (snapshot?.attempt === run.attempt + 1) this.#model.begins(run, this.#model.now, true);
    }
  }

  #identify(run: ModelRun, { task_id: id, status }: Snapshot): void {
    if (this.#byId.has(id)) throw new Difference(`${run.label} has the id of ${this.#byId.get(id)?.label}`);
    this.#model.identify(run, id, status === TaskStatus.PENDING);
    this.#byId.set(id, run);
    this.#told.set(id, []);
  }

  // ---- Actions

  /** First what is asked of the engine, one cancel of all last; then the ends of attempts, of which it hears a moment later. */
  #do(actions: readonly Action[]): Answered[] {
    const asked = actions.filter((action) => action.do !== 'end');
    const single = asked.filter((action) => action.do !== 'cancelAll');
    // Whether what is accepted in the same turn waits or has begun by then, the model cannot foretell.
    const isNews = single.some(({ do: what }) => what === 'start' || what === 'again');
    const all = asked
      .filter((action) => action.do === 'cancelAll')
      .slice(0, 1)
      .map((action) => (isNews ? { ...action, match: withoutActive(action.match) } : action));
    const answered = [...single, ...all].map((action) => this.#ask(action));
    for (const action of actions) {
      if (action.do !== 'end') continue;
      const run = pick(this.#underWay(), action.which);
      if (!run) continue;
      const ending = this.#possible(run, action.ending);
      this.#endAttempt(run, ending);
      this.#ending.add(run.id);
      this.#model.ends(run, ending);
    }
    return answered;
  }

  /** The same, when nothing of it will be committed. */
  #doInVain(actions: readonly Action[]): void {
    const ended = new Set<ModelRun>();
    for (const action of actions) {
      if (action.do === 'start') this.#engineNow.accept(this.#requests(action.wishes)).catch(() => {});
      else if (action.do === 'cancel') this.#engineNow.cancel(pick(this.#known(), action.which)?.id ?? '');
      else if (action.do === 'setMode') this.#engineNow.setMode(scopeOf(action.task), action.mode);
      else if (action.do === 'end') {
        const run = pick(
          this.#underWay().filter((each) => !ended.has(each)),
          action.which,
        );
        if (!run) continue;
        ended.add(run);
        this.#endAttempt(run, this.#possible(run, action.ending));
      }
    }
  }

  async #ask(action: Exclude<Action, { do: 'end' }>): Answered {
    const engine = this.#engineNow;
    const model = this.#model;
    switch (action.do) {
      case 'start':
        return this.#askStart(action.wishes);
      case 'again': {
        const before = pick(
          model.runs.filter(({ phase, id }) => phase === 'ended' && id !== ''),
          action.which,
        );
        if (!before) return;
        const { task, client } = before.wish;
        return this.#askStart([{ task, client }], before);
      }
      case 'cancel': {
        const run = pick(this.#known(), action.which);
        if (!run) return;
        const answer = engine.cancel(run.id);
        const foretold = model.cancel(run);
        same(`cancel of ${run.label}`, (await answer)?.kind, foretold);
        return;
      }
      case 'cancelAll': {
        const answer = engine.cancelAll({ state, ...action.match });
        const foretold = model.cancelAll(action.match);
        return same('cancelAll', await answer, foretold);
      }
      case 'setMode': {
        const scope = scopeOf(action.task);
        const answer = engine.setMode(scope, action.mode);
        model.setMode(scope, action.mode);
        return answer;
      }
      case 'say': {
        const { context } = this.#attempts.get(pick(this.#underWay(), action.which)?.id ?? '') ?? {};
        context?.update({ progress: action.lines });
        for (let line = 0; line < action.lines; line++) context?.log(`line ${line}`, undefined);
      }
    }
  }

  async #askStart(wishes: readonly Wish[], again?: ModelRun): Answered {
    const requests = this.#requests(wishes, again);
    const answer = this.#engineNow.accept(requests).catch((error: Error) => {
      if (error instanceof DrainedError) return 'drained' as const;
      if (error instanceof KeyConflictError) return 'conflict' as const;
      throw error;
    });
    const started = wishes.map((wish, place) => ({
      label: JSON.parse(requests[place]?.input ?? '') as string,
      wish,
      retryOf: again,
    }));
    const foretold = this.#model.start(started);
    if (typeof foretold !== 'string') {
      for (const { run, deduplicated } of foretold) if (!deduplicated) this.#byLabel.set(run.label, run);
    }
    const accepted = await answer;
    if (typeof foretold === 'string' || typeof accepted === 'string')
      return same('accept', typeof accepted === 'string' ? accepted : 'accepted', foretold);
    for (const [place, { run, deduplicated }] of foretold.entries()) {
      const { run: got, deduplicated: wasKnown } = accepted[place] as (typeof accepted)[number];
      same(`deduplicated, of ${started[place]?.label}`, wasKnown, deduplicated);
      if (!deduplicated) {
        this.#identify(run, got.snapshot);
        if (got.snapshot.status !== TaskStatus.PENDING) this.#atOnce.add(run.id);
        same(`retry_of of ${run.label}`, got.snapshot.retry_of, run.retryOf?.id);
      }
      same(`the id of ${run.label}`, got.snapshot.task_id, run.id);
    }
  }

  #requests(wishes: readonly Wish[], again?: ModelRun): StartRequest[] {
    return wishes.map(({ delayMs, ...wish }) => ({
      state,
      ...wish,
      input: JSON.stringify(`r${++this.#labels}`),
      ...(delayMs !== undefined && { runAt: this.#clock.wallTime + delayMs }),
      ...(again && { retryOf: again.id }),
    }));
  }

  #known(): ModelRun[] {
    return this.#model.runs.filter(({ id }) => id !== '');
  }

  #underWay(): ModelRun[] {
    return this.#model.atWork().filter(({ id }) => this.#attempts.has(id));
  }

  #possible(run: ModelRun, ending: Ending): Ending {
    if (ending.kind === 'cancelled' && this.#attempts.get(run.id)?.aborted !== 'cancel')
      return { kind: 'completed' };
    return ending;
  }

  #endAttempt(run: ModelRun, ending: Ending): void {
    const error = { name: ending.kind === 'died' ? 'ThreadDied' : 'Failed', message: 'as told' };
    const outcome = { result: run.label, error, ...ending } as Outcome;
    this.#attempts.get(run.id)?.end(outcome);
  }

  // ---- Comparing

  /** Waits until all that was asked for has happened, and compares. */
  async #settle(answered: Answered[] = []): Promise<void> {
    let all = answered.length === 0;
    const answers = Promise.all(answered).then(() => {
      all = true;
    });
    answers.catch(() => {
      all = true;
    });
    await this.#turnsUntil(() => all && this.#ending.size === 0, 'an answer');
    await answers;
    await this.#turnsUntil(() => this.#isQuiet(), 'silence');
    this.#compareNews();
    this.#model.settled();
    const model = this.#model;
    const overdue = model.overdue();
    if (overdue) throw new Difference(overdue);
    const counts = { pending: model.waiting().length, running: model.atWork().length };
    same('counts', this.#engineNow.counts(), counts);
    const modes = this.#engineNow.modes().map(({ scope, mode }) => [scope.task ?? '', mode]);
    same('modes', modes.sort(), model.modes());
    for (const run of model.atWork()) {
      const attempt = this.#attempts.get(run.id);
      same(`the attempt of ${run.label}`, attempt?.number, run.attempt);
      same(
        `what the attempt of ${run.label} was told`,
        attempt?.aborted,
        run.cancelAsked ? 'cancel' : undefined,
      );
    }
  }

  #quiet = 0;
  #isQuiet(): boolean {
    this.#quiet = this.#storeNow.isIdle ? this.#quiet + 1 : 0;
    return this.#quiet > quietTurns;
  }

  async #turnsUntil(done: () => boolean, what: string): Promise<void> {
    this.#quiet = 0;
    for (let turn = 0; !done(); turn++) {
      if (turn > mostTurns) throw new Difference(`We wait in vain for ${what}`);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  #compareNews(): void {
    for (const event of this.#news.splice(0)) this.#compareEvent(event);
  }

  #compareEvent(event: RunEvent): void {
    const { snapshot } = event;
    const run = this.#byId.get(snapshot.task_id);
    if (!run) throw new Difference(`Nobody has started what this tells of: ${JSON.stringify(event)}`);
    const told = this.#told.get(run.id) as RunEvent[];
    const last = told.at(-1)?.snapshot.seq ?? 0;
    const follows = this.#gaps.delete(run) ? snapshot.seq > last : snapshot.seq === last + 1;
    if (!follows) throw new Difference(`${run.label} was told seq ${snapshot.seq} after ${last}`);
    const end = told.at(-1)?.snapshot.status;
    if (end && isTerminal(end)) throw new Difference(`${run.label} was told ${snapshot.status} after ${end}`);
    told.push(event);
    same(`whose ${run.label} is`, event.client, run.wish.client);

    const at = Date.parse(snapshot.timestamp);
    if (snapshot.status === TaskStatus.STARTING) {
      this.#model.begins(run, at, this.#atOnce.delete(run.id));
      same(`the attempt that has begun of ${run.label}`, snapshot.attempt, run.attempt);
    } else if (snapshot.status === TaskStatus.PROCESSING) {
      same(`the attempt that speaks of ${run.label}`, snapshot.attempt, run.attempt);
    } else {
      if (snapshot.error?.name === 'ExpiredError') this.#model.expires(run, at);
      // A run whose cancel is heard of as it is handed back ends at once, or is seen to wait before.
      const mayBeLeftOut = run.cancelAsked && run.toTell[0] === TaskStatus.PENDING;
      if (mayBeLeftOut && run.toTell[1] === snapshot.status) run.toTell.shift();
      const isFound = run.endedByCrash && run.toTell.length === 0;
      same(`where ${run.label} stands`, snapshot.status, isFound ? run.status : run.toTell.shift());
      if (run.toTell.length === 0) this.#compareSnapshot(run, snapshot);
    }
  }

  #compareSnapshot(run: ModelRun, snapshot: Snapshot): void {
    const what = (field: string) => `${field} of ${run.label}`;
    if (run.phase === 'at work') {
      if (snapshot.status !== TaskStatus.STARTING && snapshot.status !== TaskStatus.PROCESSING)
        throw new Difference(`${run.label} is at work, and shown as ${snapshot.status}`);
    } else same(what('status'), snapshot.status, run.status);
    same(what('attempt'), snapshot.attempt, run.attempt);
    same(what('error'), snapshot.error?.name ?? null, run.error);
    same(what('retry_of'), snapshot.retry_of, run.retryOf?.id);
    if (run.status === TaskStatus.COMPLETED) same(what('result'), snapshot.result, run.label);
    if (run.phase === 'waiting' && run.dueAt !== null && run.dueAt > this.#clock.wallTime)
      same(what('starts_at'), Date.parse(snapshot.starts_at ?? ''), run.dueAt);
  }

  /** What another process finds in the store. */
  async #compareStored(): Promise<void> {
    for (const run of this.#model.runs) {
      const snapshot = (await this.#engineNow.read(run.id))?.snapshot;
      if (!snapshot) throw new Difference(`${run.label} was accepted, and is not there`);
      this.#compareSnapshot(run, snapshot);
      const shown = this.#told.get(run.id)?.at(-1)?.snapshot;
      if (!shown) continue;
      if (isTerminal(shown.status)) same(`the end of ${run.label}`, snapshot, shown);
      else if (
        snapshot.seq < shown.seq ||
        (this.#gaps.has(run) && snapshot.seq === shown.seq && run.phase === 'ended')
      )
        throw new Difference(`${run.label} is at seq ${snapshot.seq}, after ${shown.seq} was told`);
    }
  }

  /** Whatever was accepted ends. */
  async #toTheEnd(): Promise<void> {
    const model = this.#model;
    const modes = model.modes().map(([task]): Action => ({ do: 'setMode', task: task as '', mode: 'run' }));
    await this.#settle(this.#do(modes));
    for (let round = 0; model.waiting().length + model.atWork().length > 0; round++) {
      if (round > 100) throw new Difference('There is no end to it');
      if (model.atWork().length > 0) {
        const ends = model
          .atWork()
          .map((): Action => ({ do: 'end', which: 0, ending: { kind: 'completed' } }));
        await this.#settle(this.#do(ends));
        continue;
      }
      const next = Math.min(...model.waiting().map(({ dueAt }) => dueAt ?? model.now));
      if (next > model.now + 5000) await this.#step({ step: 'setClock', byMs: next - model.now });
      else await this.#step({ step: 'pass', ms: Math.max(next - model.now, 1000) });
    }
  }

  /** What is told later is what was told then: each number has one meaning, and one end comes last. */
  async #compareHistories(): Promise<void> {
    for (const run of this.#model.runs) {
      const history = await this.#engineNow.history(run.id, 0);
      const events = history?.events ?? [];
      const seqs = events.map(({ snapshot }) => snapshot.seq);
      const told = this.#told.get(run.id) ?? [];
      const bySeq = new Map(told.map((event) => [event.snapshot.seq, event]));
      if (seqs[0] !== 1 || seqs.some((seq, place) => place > 0 && seq <= (seqs[place - 1] as number)))
        throw new Difference(`The history of ${run.label} goes ${seqs}`);
      same(`the end in the history of ${run.label}`, events.at(-1)?.snapshot, history?.run.snapshot);
      const ends = events.filter(({ snapshot }) => isTerminal(snapshot.status)).length;
      same(`how often ${run.label} has ended`, ends, 1);
      for (const event of events) {
        const before = bySeq.get(event.snapshot.seq);
        if (before) same(`event ${event.snapshot.seq} of ${run.label}`, event, before);
      }
    }
  }
}

/** One of them, undefined where there are none. */
function pick<T>(choices: readonly T[], which: number): T | undefined {
  return choices[which % choices.length];
}

function scopeOf(task: string): { state: string; task?: string } {
  return task === '' ? { state } : { state, task };
}

/** Of a start whose answer will be lost: one of direct access that has ended could not be found again. */
function findable(action: Action): Action {
  if (action.do !== 'start') return action;
  return { ...action, wishes: action.wishes.map((wish) => ({ ...wish, client: wish.client ?? 'a' })) };
}

function same(what: string, engine: unknown, model: unknown): void {
  if (isDeepStrictEqual(engine, model)) return;
  throw new Difference(
    `${what}: the engine says ${JSON.stringify(engine)}, the model ${JSON.stringify(model)}`,
  );
}

function withoutActive<Match extends { active?: unknown }>({
  active: _active,
  ...match
}: Match): Omit<Match, 'active'> {
  return match;
}
