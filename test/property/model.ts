/**
 * What becomes of runs, as a specification: small, in memory, and ignorant of how the engine does it.
 *
 * ```
 *              ┌──────────────── handed back: it failed, its process died, the server stopped
 *              ▼                       │
 *   start → waiting → (its turn) → at work → ended: Completed, Error, Cancelled
 *              └──── cancelled, or not begun in time ──▲
 * ```
 *
 * What is decided by what is asked for is foretold: answers, ends, waits. Which of the waiting runs goes next is not: what the engine
 * says has begun must be allowed (`begins`), and nothing that is allowed may be left waiting (`overdue`).
 */
import { idempotencyMs, type Mode, type Scope } from '../../src/engine.ts';
import { TaskStatus } from '../../src/run.ts';
import { concurrency, policyOf, type TaskName, taskNames, threads } from './lab.ts';

const { PENDING, COMPLETED, ERROR, CANCELLED } = TaskStatus;

export type Client = 'a' | 'b' | null;

/** A start, as far as it matters here. Times are relative to the start. */
export interface Wish {
  task: TaskName;
  client: Client;
  delayMs?: number;
  priority?: number;
  /** For `concurrencyPerKey`. */
  key?: string;
  unique?: { key: string; forMs: number | null };
  idempotency?: { key: string; fingerprint: string };
}

/** How an attempt ends. */
export type Ending =
  | { kind: 'completed' | 'cancelled' | 'died' | 'interrupted' }
  | { kind: 'failed'; retry?: 'never' | { afterMs: number } };

export interface ModelRun {
  readonly wish: Wish;
  /** What it was started with: tells which run of the engine's it is. */
  readonly label: string;
  /** Its place in the order of acceptance. */
  readonly n: number;
  readonly retryOf: ModelRun | undefined;
  id: string;
  phase: 'waiting' | 'at work' | 'ended';
  /** While it waits for a time; null: for its turn. */
  dueAt: number | null;
  /** It is to begin before this time, or never. */
  readonly expiresAt: number | null;
  /** How often it has begun. */
  attempt: number;
  failures: number;
  deaths: number;
  /** A cancel was accepted; its attempt, if there is one, has been told. */
  cancelAsked: boolean;
  cancelHeard: boolean;
  status: TaskStatus;
  /** Why its last attempt failed, or why it ended. */
  error: string | null;
  /** The changes of status that are still to be told. */
  toTell: TaskStatus[];
  /** The next process found its end, and may have told it. */
  endedByCrash: boolean;
}

/** A broken rule. */
export class Difference extends Error {
  override readonly name = 'Difference';
}

/** A line that has had somebody waiting for so long may go before a higher priority, and out of its client's turn. */
const passedOverMs = 10_000;

/** After so many deaths a run ends. */
const mostDeaths = 3;

export class Model {
  now: number;
  readonly runs: ModelRun[] = [];
  #modes = new Map<string, Mode>();
  /** A mode binds once it has been answered. */
  #modesInForce = new Map<string, Mode>();
  readonly #keys = new Map<string, { run: ModelRun; until: number | null; fingerprint: string | null }>();
  /** When attempts of tasks with a rate began: between two times, where the clock was set back since. */
  readonly #begun = new Map<TaskName, { at: number; latest: number }[]>();
  /** Since when somebody waits for a task, as a client, with a priority. */
  #lines = new Map<string, number>();
  #stopping = false;
  /** After the clock was set, time is looked at a second late. */
  #lateMs = 0;

  constructor(now: number) {
    this.now = now;
  }

  waiting(): ModelRun[] {
    return this.runs.filter(({ phase }) => phase === 'waiting');
  }

  atWork(): ModelRun[] {
    return this.runs.filter(({ phase }) => phase === 'at work');
  }

  // ---- What is asked for

  /** All of them are accepted, each as a new run or as the one that its key made before; or none. */
  start(
    wishes: readonly { label: string; wish: Wish; retryOf?: ModelRun | undefined }[],
  ): { run: ModelRun; deduplicated: boolean }[] | 'drained' | 'conflict' {
    const fingerprints = new Map<string, string>();
    for (const { wish } of wishes) {
      if (!wish.idempotency) continue;
      const name = keyName('idempotency', wish, wish.idempotency.key);
      const before = fingerprints.get(name) ?? this.#held(name)?.fingerprint ?? wish.idempotency.fingerprint;
      if (before !== wish.idempotency.fingerprint) return 'conflict';
      fingerprints.set(name, wish.idempotency.fingerprint);
    }
    const isRefused = ({ wish, retryOf }: { wish: Wish; retryOf?: ModelRun | undefined }) =>
      this.#isIn('drain', wish.task, this.#modesInForce) && !this.#isKnown(wish, retryOf);
    if (wishes.some(isRefused)) return 'drained';
    return wishes.map(({ label, wish, retryOf }) => {
      const { idempotency, unique } = wish;
      const [ofCaller, ofAuthor] = keyNames(wish);
      const repeated = this.#held(ofCaller)?.run;
      const holder = this.#held(ofAuthor)?.run;
      const known = repeated ?? (holder === retryOf ? undefined : holder);
      const run = known ?? this.#accept(label, wish, retryOf);
      // Whatever run a start was answered with, its repeat is answered with the same.
      if (idempotency && !repeated) {
        const { fingerprint } = idempotency;
        this.#keys.set(ofCaller, { run, until: this.now + idempotencyMs, fingerprint });
      }
      if (unique && !known) {
        const until = unique.forMs === null ? null : this.now + (wish.delayMs ?? 0) + unique.forMs;
        this.#keys.set(ofAuthor, { run, until, fingerprint: null });
      }
      return { run, deduplicated: known !== undefined };
    });
  }

  #isKnown(wish: Wish, retryOf: ModelRun | undefined): boolean {
    const [ofCaller, ofAuthor] = keyNames(wish);
    const holder = this.#held(ofAuthor)?.run;
    return this.#held(ofCaller) !== undefined || (holder !== undefined && holder !== retryOf);
  }

  /** A key holds for its time; without one, as long as its run is active. */
  #held(name: string): { run: ModelRun; fingerprint: string | null } | undefined {
    const key = this.#keys.get(name);
    if (!key) return undefined;
    const holds = key.until === null ? key.run.phase !== 'ended' : key.until > this.now;
    return holds ? key : undefined;
  }

  #accept(label: string, wish: Wish, retryOf: ModelRun | undefined): ModelRun {
    const { delayMs = 0 } = wish;
    const { expiresInMs } = policyOf(wish.task);
    const run: ModelRun = {
      wish,
      label,
      n: this.runs.length,
      retryOf,
      id: '',
      phase: 'waiting',
      dueAt: delayMs > 0 ? this.now + delayMs : null,
      expiresAt: expiresInMs === null ? null : this.now + delayMs + expiresInMs,
      attempt: 0,
      failures: 0,
      deaths: 0,
      cancelAsked: false,
      cancelHeard: false,
      status: PENDING,
      error: null,
      toTell: [PENDING],
      endedByCrash: false,
    };
    this.runs.push(run);
    this.#noteLines();
    return run;
  }

  cancel(run: ModelRun): 'accepted' | 'already-ended' {
    if (run.phase === 'ended') return 'already-ended';
    run.cancelAsked = true;
    // Whether one that is accepted in this turn has begun with it will be known from its answer.
    if (run.phase === 'waiting' && run.id !== '') this.#end(run, CANCELLED);
    return 'accepted';
  }

  /** The answer to its start: it has an id, and waits or has begun. */
  identify(run: ModelRun, id: string, waits: boolean): void {
    run.id = id;
    if (run.cancelAsked && waits) this.#end(run, CANCELLED);
  }

  /** How many were accepted. */
  cancelAll(match: { task?: TaskName; client?: Client; active?: 'pending' | 'running' }): number {
    const matching = this.runs.filter(
      ({ phase, wish }) =>
        phase !== 'ended' &&
        (match.task === undefined || wish.task === match.task) &&
        (match.client === undefined || wish.client === match.client) &&
        (match.active === undefined || match.active === (phase === 'waiting' ? 'pending' : 'running')),
    );
    for (const run of matching) this.cancel(run);
    return matching.length;
  }

  setMode({ task = '' }: Scope, mode: Mode): void {
    if (mode === 'run') this.#modes.delete(task);
    else this.#modes.set(task, mode);
  }

  /** Tasks, '' for the whole state, that are not simply run. */
  modes(): [string, Mode][] {
    return [...this.#modes].sort();
  }

  #isIn(mode: Mode, task: TaskName, modes = this.#modes): boolean {
    return modes.get(task) === mode || modes.get('') === mode;
  }

  // ---- How attempts end

  ends(run: ModelRun, ending: Ending): void {
    if (ending.kind === 'completed') this.#end(run, COMPLETED);
    else if (ending.kind === 'failed') this.#fails(run, ending.retry);
    else if (ending.kind === 'cancelled' || run.cancelHeard) this.#end(run, CANCELLED);
    else if (ending.kind === 'interrupted') this.#handBack(run, null);
    else if (this.#survives(run)) this.#handBack(run, null, 'ThreadDied');
    else this.#end(run, ERROR, 'ThreadDied');
  }

  #fails(run: ModelRun, retry: 'never' | { afterMs: number } | undefined): void {
    const { retries } = policyOf(run.wish.task);
    run.failures++;
    if (run.failures >= retries.attempts || retry === 'never' || run.cancelHeard) {
      this.#end(run, ERROR, 'Failed');
      return;
    }
    const factor = retries.backoff === 'fixed' ? 1 : 2 ** (run.failures - 1);
    const ownMs = Math.min(retries.delayMs * factor, retries.maxDelayMs);
    this.#handBack(run, this.now + (retry?.afterMs ?? ownMs), 'Failed');
  }

  /** Another death: whether it is tried again. Failures and hand-backs are no deaths, and deaths no failures. */
  #survives(run: ModelRun): boolean {
    run.deaths++;
    return policyOf(run.wish.task).onCrash === 'retry' && run.deaths < mostDeaths;
  }

  /** It waits again; unless a cancel was accepted that its attempt has not heard of. */
  #handBack(run: ModelRun, dueAt: number | null, error: string | null = null): void {
    Object.assign(run, { phase: 'waiting', dueAt, error, status: PENDING });
    run.toTell.push(PENDING);
    if (run.cancelAsked) this.#end(run, CANCELLED);
    this.#noteLines();
  }

  #end(run: ModelRun, status: TaskStatus, error: string | null = null): void {
    Object.assign(run, { phase: 'ended', dueAt: null, status, error });
    run.toTell.push(status);
    this.#noteLines();
  }

  // ---- The life of the process

  /** What was asked for has been answered, and what followed from it has happened. */
  settled(): void {
    this.#modesInForce = new Map(this.#modes);
    this.#hear();
    // By now it was seen that the clock was set back, where somebody waits and there is room for one more.
    if (this.atWork().length >= concurrency) return;
    for (const { wish, dueAt } of this.waiting()) {
      if ((dueAt !== null && dueAt > this.now) || this.#isIn('pause', wish.task)) continue;
      for (const begun of this.#begun.get(wish.task) ?? []) begun.latest = Math.min(begun.latest, this.now);
    }
  }

  #hear(): void {
    for (const run of this.atWork()) run.cancelHeard = run.cancelAsked;
  }

  /** Attempts are handed back, and so is whatever begins from now on; the deaf ones after all that is under way has been answered. */
  stop(isDeaf: boolean): void {
    if (isDeaf) this.#hear();
    for (const run of this.atWork()) this.ends(run, { kind: 'interrupted' });
    this.#stopping = true;
  }

  /** The process dies, and nobody hears what there was to tell. */
  crash(): void {
    const active = this.runs.filter(({ phase }) => phase !== 'ended');
    for (const run of this.runs) {
      if (run.cancelAsked && run.phase !== 'ended') this.#end(run, CANCELLED);
    }
    for (const run of this.atWork()) {
      if (this.#survives(run)) this.#handBack(run, null);
      else this.#end(run, ERROR, 'ProcessDiedError');
    }
    for (const run of this.runs) run.toTell = [];
    for (const run of active) run.endedByCrash = run.phase === 'ended';
  }

  /** Another process takes over. */
  opened(): void {
    this.#stopping = false;
    this.#lines.clear();
    this.#noteLines();
    this.settled();
  }

  // ---- Time

  /** Time passes, or the clock is set; whose time has come before waits for its turn, wherever the clock then is. */
  setClock(time: number): void {
    for (const run of this.waiting()) if (run.dueAt !== null && run.dueAt <= this.now) run.dueAt = null;
    // A task is not held up until the clock is where it was: no longer than if all had begun when that is seen.
    for (const [task, all] of this.#begun) {
      const spanMs = policyOf(task).rateLimit?.perMs ?? 0;
      for (const begun of all) {
        // What was out of the span before the clock was set may be forgotten, or counted as begun now.
        if (begun.at <= this.now - spanMs) begun.at = Number.NEGATIVE_INFINITY;
        else if (begun.at > time) begun.at = time;
        else continue;
        begun.latest = Number.POSITIVE_INFINITY;
      }
    }
    this.#lateMs = 1000;
    this.now = time;
  }

  pass(time: number): void {
    this.now = time;
    this.#noteLines();
  }

  #noteLines(): void {
    const before = this.#lines;
    this.#lines = new Map();
    for (const run of this.waiting()) {
      if (run.dueAt !== null && run.dueAt > this.now) continue;
      const since = before.get(lineName(run)) ?? run.dueAt ?? this.now;
      this.#lines.set(lineName(run), Math.min(since, this.#lines.get(lineName(run)) ?? since));
    }
  }

  // ---- Whose turn it is

  /** The engine says that a run has begun. `atOnce`: in the commit that accepted it, so that it passed nobody over. */
  begins(run: ModelRun, at: number, atOnce: boolean): void {
    const why = this.#whyNot(run, at);
    if (why) throw new Difference(`${run.label} has begun, though ${why}`);
    if (!atOnce) {
      const before = this.#goesBefore(run, at);
      if (before) throw new Difference(`${run.label} has begun before ${before.label}`);
    }
    this.noteBegun(run, at);
    if (this.#stopping) this.ends(run, { kind: 'interrupted' });
  }

  noteBegun(run: ModelRun, at: number): void {
    const { task } = run.wish;
    if (policyOf(task).rateLimit)
      this.#begun.set(task, [...(this.#begun.get(task) ?? []), { at, latest: at }]);
    Object.assign(run, { phase: 'at work', dueAt: null, attempt: run.attempt + 1, error: null });
    this.#noteLines();
  }

  /** What forbids that a run begins at a time; undefined: nothing. */
  #whyNot(run: ModelRun, at: number, begun: 'at' | 'latest' = 'at'): string | undefined {
    const others = this.atWork();
    if (others.length >= concurrency) return 'as many are at work as may be';
    return this.#hindrance(run, at, others, begun);
  }

  /** The same, where there is room for one more; `others` are at work. */
  #hindrance(
    run: ModelRun,
    at: number,
    others: readonly ModelRun[],
    begun: 'at' | 'latest',
  ): string | undefined {
    const { task, client, key } = run.wish;
    const policy = policyOf(task);
    const ofTask = others.filter(({ wish }) => wish.task === task);
    const isolated = others.filter(({ wish }) => policyOf(wish.task).isolate);
    if (run.phase !== 'waiting') return `it is ${run.phase}`;
    if (run.dueAt !== null && run.dueAt > at) return `it is due ${run.dueAt - at} ms later`;
    if (this.#expired(run, at)) return 'its time to begin is over';
    // A mode that is set in the same turn may be in force by then, or not yet.
    const modes = [this.#modes, this.#modesInForce].map((each) => this.#isIn('pause', task, each));
    if (begun === 'latest' ? modes.some(Boolean) : modes.every(Boolean)) return 'it is paused';
    if (policy.isolate && isolated.length >= threads) return 'each thread is taken';
    if (ofTask.length >= (policy.concurrency ?? Number.POSITIVE_INFINITY)) return 'its task has no room';
    const { concurrencyPerClient, concurrencyPerKey, rateLimit } = policy;
    if (concurrencyPerClient !== null) {
      const ofClient = ofTask.filter(({ wish }) => wish.client === client);
      if (ofClient.length >= concurrencyPerClient) return 'its client has no room';
    }
    if (concurrencyPerKey !== null && key !== undefined) {
      const ofKey = ofTask.filter(({ wish }) => wish.key === key);
      if (ofKey.length >= concurrencyPerKey) return 'its key has no room';
    }
    if (rateLimit !== null) {
      const all = this.#begun.get(task) ?? [];
      const lately = all.filter((each) => each[begun] > at - rateLimit.perMs);
      if (lately.length >= rateLimit.max) return 'its rate is used up';
    }
    return undefined;
  }

  #expired({ attempt, expiresAt }: ModelRun, at: number): boolean {
    return attempt === 0 && expiresAt !== null && expiresAt <= at;
  }

  /** Somebody who should have had the turn that `run` took. */
  #goesBefore(run: ModelRun, at: number): ModelRun | undefined {
    // Only what everybody knows counts: an end that was not told may not have been committed yet.
    const atWork = this.runs.filter(
      ({ phase, attempt, toTell }) => phase === 'at work' || (attempt > 0 && toTell.length > 0),
    );
    const waiting = this.waiting().filter((other) => other !== run && other.toTell.length === 0);
    const ready = waiting.filter((other) => this.#hindrance(other, at, atWork, 'latest') === undefined);
    const older = ready.find((other) => lineName(other) === lineName(run) && lane(other) === lane(run));
    if (older && older.n < run.n) return older;
    // It was passed over for too long, or may have been for all that a clock which was set can tell.
    const waitedMs = at - (this.#lines.get(lineName(run)) ?? at);
    if (waitedMs >= passedOverMs || this.#lateMs > 0) return undefined;
    const higher = ready.find((other) => priority(other) > priority(run));
    if (higher) return higher;
    // Which client's turn it is among equals is for the conformance suite.
    return undefined;
  }

  /** The engine says that a run was not begun in time. */
  expires(run: ModelRun, at: number): void {
    if (run.phase !== 'waiting' || !this.#expired(run, at))
      throw new Difference(
        `${run.label} has expired, though it is ${run.phase} and may begin until ${run.expiresAt}`,
      );
    this.#end(run, ERROR, 'ExpiredError');
  }

  /** What should have happened by now. */
  overdue(): string | undefined {
    const at = this.now - this.#lateMs;
    for (const run of this.runs) {
      if (run.toTell.length > 0) return `${run.label} has not been told to be ${run.toTell.join(', ')}`;
      if (run.phase !== 'waiting') continue;
      if (this.#expired(run, at)) return `${run.label} should have expired at ${run.expiresAt}`;
      if (this.#whyNot(run, at, 'latest') === undefined) return `${run.label} may begin, and does not`;
    }
    return undefined;
  }
}

function priority({ wish }: ModelRun): number {
  return wish.priority ?? policyOf(wish.task).priority;
}

function lineName(run: ModelRun): string {
  return `${run.wish.task} ${run.wish.client} ${priority(run)}`;
}

/** Within a line keys take turns, where there is a limit for each. */
function lane({ wish }: ModelRun): string | null {
  return policyOf(wish.task).concurrencyPerKey === null ? null : (wish.key ?? null);
}

/** Of the caller and of the author; empty where it has none. */
function keyNames(wish: Wish): [ofCaller: string, ofAuthor: string] {
  const { idempotency, unique } = wish;
  return [
    idempotency ? keyName('idempotency', wish, idempotency.key) : '',
    unique ? keyName('unique', wish, unique.key) : '',
  ];
}

function keyName(kind: string, { task, client }: Wish, key: string): string {
  return `${kind} ${task} ${client} ${key}`;
}

/** What the model's tasks are called, and the whole state. */
export const scopes: readonly ('' | TaskName)[] = ['', ...taskNames];
