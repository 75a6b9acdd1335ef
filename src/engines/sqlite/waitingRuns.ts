/**
 * Which of the waiting runs goes next. Higher priorities first; within one, the clients take turns, and each client's oldest
 * goes first. A line that is passed over by higher ones for long goes next all the same (`passing.ts`).
 *
 * It is memory only, eight bytes a run: what it holds can be read from the table of runs. A change that a commit carries is
 * taken back when the commit comes to nothing.
 */

import type { Mode, Scope, ScopeMode } from '../../engine.ts';
import { highestPriority } from '../../policy.ts';
import type { BoundedMatch } from './cancelOrder.ts';
import { Tally } from './tally.ts';
import { type Limits, noLimits } from './taskLimits.ts';
import { fullName } from './taskName.ts';
import { Turns } from './turns.ts';
import { type Candidate, WaitingTask } from './waitingTask.ts';

/** What a run is waiting for, and as what. */
export interface Place {
  state: string;
  task: string;
  client: string | null;
  key: string | null;
  priority: number;
}

/** How many runs go before one: of its client and key for its task, of its client, of its task, of all tasks. */
export interface Ahead {
  key: number;
  client: number;
  task: number;
  all: number;
  /** When the task's rate lets it begin. */
  rateOpensAt: number;
  paused: boolean;
}

/** A leased run of a task with limits: what it takes of them. */
interface Held {
  task: WaitingTask;
  client: string | null;
  key: string | null;
}

export class WaitingRuns {
  readonly #threads: number;
  #threadsTaken = 0;
  readonly #turns = new Turns();
  readonly #tasks = new Map<string, WaitingTask>();
  readonly #held = new Map<number, Held>();
  readonly #modes = new Map<string, Mode>();
  /** Takes back what was done since the last commit, the latest first. */
  #undo: (() => void)[] = [];
  size = 0;
  /** What was counted since anything changed: of all tasks together, and of each by itself. */
  #tally: Tally | undefined;
  readonly #tallies = new Map<WaitingTask, Tally>();

  constructor(limits: readonly Limits[], threads: number) {
    this.#threads = threads;
    for (const each of limits) {
      this.#tasks.set(fullName(each.state, each.task), new WaitingTask(each, this.#turns));
    }
  }

  // ---- One commit

  committed(): void {
    if (this.#undo.length > 0) this.#undo = [];
  }

  rolledBack(): void {
    for (const undo of this.#undo.reverse()) undo();
    this.#undo = [];
  }

  // ---- What waits

  add(n: number, place: Place, at: number): void {
    this.#add(n, place, at);
    this.#undo.push(() => this.#remove(n, place));
  }

  /** Fills it when the store is opened. */
  load(ns: readonly number[], place: Place, at: number): void {
    for (const n of ns) this.#add(n, place, at);
  }

  remove(n: number, place: Place, at: number): void {
    if (this.#remove(n, place)) this.#undo.push(() => this.#add(n, place, at));
  }

  #add(n: number, { state, task: name, client, key, priority }: Place, at: number): void {
    const task = this.#task(state, name);
    this.#changed();
    this.#turns.came(client);
    task.add(n, client, task.limits.limits.concurrencyPerKey === null ? null : key, priority, at);
    this.size++;
  }

  #remove(n: number, { state, task: name, client, key, priority }: Place): boolean {
    const task = this.#task(state, name);
    if (!task.remove(n, client, task.limits.limits.concurrencyPerKey === null ? null : key, priority))
      return false;
    this.#changed();
    this.#turns.left(client);
    this.size--;
    return true;
  }

  /** Some of those that match, up to `limit`. */
  matching({ state, task: name, client, upTo }: BoundedMatch, limit: number): number[] {
    const matching: number[] = [];
    for (const task of this.#tasks.values()) {
      if (state !== undefined && task.state !== state) continue;
      if (name !== undefined && task.name !== name) continue;
      matching.push(...task.some(client, limit - matching.length, upTo));
      if (matching.length === limit) break;
    }
    return matching;
  }

  // ---- Whose turn it is

  /** The number of the run whose turn it is; it no longer waits, and counts as at work. undefined: none may begin. */
  take(at: number): number | undefined {
    if (this.size === 0) return undefined;
    const next = this.#next(at);
    if (!next) return undefined;
    const candidate = this.#longPassedOver(next.line.priority, at) ?? next;
    // What goes because it was passed over serves nobody else that was.
    if (candidate === next) this.#passOver(next, at);
    const { task, line, n, key } = candidate;
    const place = { state: task.state, task: task.name, client: line.client, key, priority: line.priority };
    this.#changed();
    task.take(candidate, at);
    this.size--;
    this.#turns.left(line.client);
    this.#turns.took(line.client);
    this.#undo.push(() => this.#add(n, place, at));
    this.#begin(n, { task, client: line.client, key }, at);
    return n;
  }

  #next(at: number): Candidate | undefined {
    for (let priority = highestPriority; priority >= 0; priority--) {
      let best: Candidate | undefined;
      for (const task of this.#tasks.values()) {
        if (task.size(priority) === 0 || !this.#mayBegin(task, at)) continue;
        const next = task.next(priority);
        if (next && (!best || next.turn < best.turn || (next.turn === best.turn && next.n < best.n)))
          best = next;
      }
      if (best) return best;
    }
    return undefined;
  }

  #longPassedOver(priority: number, at: number): Candidate | undefined {
    if (priority === 0) return undefined;
    for (const task of this.#tasks.values()) {
      if (task.isEmpty || !this.#mayBegin(task, at)) continue;
      const candidate = task.longPassedOver(priority, at);
      if (candidate) return candidate;
    }
    return undefined;
  }

  /** Takes note of whom `next` passes over: only those whose task has room. */
  #passOver({ task: ofNext, line }: Candidate, at: number): void {
    for (const task of this.#tasks.values()) {
      if (!task.isEmpty && this.#mayBegin(task, at)) task.passedBy(line.priority, at);
    }
    ofNext.passedByOwn(line, at);
  }

  #mayBegin(task: WaitingTask, at: number): boolean {
    if (task.paused || !task.limits.mayBegin(at)) return false;
    return !task.limits.limits.isolate || this.#threadsTaken < this.#threads;
  }

  // ---- What is at work

  /** Whether anything may wait though there is room for it: then no start begins unasked. */
  get isAnythingPaused(): boolean {
    return this.#modes.size > 0;
  }

  isPaused({ state, task }: Pick<Place, 'state' | 'task'>): boolean {
    return this.#modes.size > 0 && this.#isPaused(fullName(state, task));
  }

  /**
   * Lets a run begin that has not waited, where the limits of its task have room, and nobody else has been waiting for that: room that
   * was made in this very commit belongs to them.
   */
  begin(n: number, { state, task: name, client, key: given }: Place, at: number): boolean {
    const task = this.#task(state, name);
    const key = task.limits.limits.concurrencyPerKey === null ? null : given;
    const hasRoom = task.limits.mayBeginFor(client) && task.limits.mayBeginWith(key);
    if (!task.isEmpty || !hasRoom || !this.#mayBegin(task, at)) return false;
    if (task.limits.limits.isolate && this.#waitsForThread()) return false;
    this.#begin(n, { task, client, key }, at);
    return true;
  }

  #waitsForThread(): boolean {
    for (const task of this.#tasks.values()) {
      if (task.limits.limits.isolate && !task.paused && !task.isEmpty) return true;
    }
    return false;
  }

  /** It takes of its task's limits. */
  #begin(n: number, held: Held, at: number): void {
    const { limits } = held.task;
    if (held.task.isUnlimited) return;
    this.#held.set(n, held);
    limits.began(held.client, held.key, at);
    if (limits.limits.isolate) this.#threadsTaken++;
    this.#undo.push(() => {
      this.#held.delete(n);
      limits.didNotBegin(held.client, held.key);
      if (limits.limits.isolate) this.#threadsTaken--;
    });
  }

  /** A leased run has ended, or waits again. */
  ended(n: number): void {
    const held = this.#held.get(n);
    if (!held) return;
    const { limits } = held.task;
    this.#held.delete(n);
    limits.ended(held.client, held.key);
    if (limits.limits.isolate) this.#threadsTaken--;
    this.#undo.push(() => {
      this.#held.set(n, held);
      limits.didNotEnd(held.client, held.key);
      if (limits.limits.isolate) this.#threadsTaken++;
    });
  }

  /** The span in which a task's beginnings are counted; undefined when they are not. */
  rateSpanMs(state: string, task: string): number | undefined {
    return this.#tasks.get(fullName(state, task))?.limits.limits.rateLimit?.perMs;
  }

  /** When attempts of a task began before the store was opened, oldest first. */
  restoreBegun(state: string, task: string, begun: readonly number[]): void {
    this.#task(state, task).limits.restore(begun);
  }

  /** When the next run may begin that only its task's rate holds back; undefined when there is none. */
  rateOpensAt(at: number): number | undefined {
    let next: number | undefined;
    for (const task of this.#tasks.values()) {
      if (task.limits.limits.rateLimit === null || task.isEmpty || task.paused) continue;
      const opens = task.limits.rateOpensAt(at);
      if (opens > at && (next === undefined || opens < next)) next = opens;
    }
    return next;
  }

  // ---- What an admin says

  setMode({ state, task = '' }: Scope, mode: Mode): void {
    const key = fullName(state, task);
    const before = this.#modes.get(key) ?? 'run';
    this.#applyMode(key, mode);
    this.#undo.push(() => this.#applyMode(key, before));
  }

  /** What is on disk, whoever has written it. */
  replaceModes(modes: readonly ScopeMode[]): void {
    this.#changed();
    this.#modes.clear();
    for (const { scope, mode } of modes) this.#modes.set(fullName(scope.state, scope.task ?? ''), mode);
    for (const [key, task] of this.#tasks) task.paused = this.#isPaused(key);
  }

  #applyMode(key: string, mode: Mode): void {
    this.#changed();
    if (mode === 'run') this.#modes.delete(key);
    else this.#modes.set(key, mode);
    for (const [each, task] of this.#tasks) task.paused = this.#isPaused(each);
  }

  #isPaused(key: string): boolean {
    const stateKey = key.slice(0, key.indexOf('/') + 1);
    return this.#modes.get(key) === 'pause' || this.#modes.get(stateKey) === 'pause';
  }

  // ---- How long it will take

  ahead(n: number, { state, task: name, client, key, priority }: Place, at: number): Ahead {
    const task = this.#task(state, name);
    const lane = task.limits.limits.concurrencyPerKey === null ? null : key;
    let higherOfKey = 0;
    let higherOfClient = 0;
    for (let higher = highestPriority; higher > priority; higher--) {
      const line = task.line(client, higher);
      higherOfKey += line?.sizeOf(lane) ?? 0;
      higherOfClient += line?.size ?? 0;
    }
    const line = task.line(client, priority);
    const own = line?.before(n, lane) ?? 0;
    const ofLine = Math.max(own, line?.beforeTurn(own) ?? 0);
    const ofTask = this.#tallyOf(task).before(priority, client, ofLine);
    const ofThoseThatMove = this.#tallyOfAll().before(priority, client, ofLine);
    return {
      key: higherOfKey + own,
      client: higherOfClient + ofLine,
      task: ofTask,
      all: task.paused ? ofTask + ofThoseThatMove : ofThoseThatMove,
      rateOpensAt: task.limits.rateOpensAt(at, ofTask),
      paused: task.paused,
    };
  }

  #tallyOf(task: WaitingTask): Tally {
    let tally = this.#tallies.get(task);
    if (!tally) {
      tally = new Tally([task], this.#turns);
      this.#tallies.set(task, tally);
    }
    return tally;
  }

  /** Of all tasks that are not paused. */
  #tallyOfAll(): Tally {
    this.#tally ??= new Tally(
      [...this.#tasks.values()].filter((task) => !task.paused),
      this.#turns,
    );
    return this.#tally;
  }

  /** Something waits, or moves, that did not, or does so no longer: whoever asks is counted for anew. */
  #changed(): void {
    if (this.#tally) this.#tally = undefined;
    if (this.#tallies.size > 0) this.#tallies.clear();
  }

  #task(state: string, name: string): WaitingTask {
    const key = fullName(state, name);
    let task = this.#tasks.get(key);
    if (!task) {
      // One that the server no longer has: its runs are told so when their turn comes.
      task = new WaitingTask({ state, task: name, ...noLimits }, this.#turns);
      task.paused = this.#isPaused(key);
      this.#tasks.set(key, task);
    }
    return task;
  }
}
