/**
 * What waits for one task: a line for each client and priority, and the limits that they meet.
 */
import TinyQueue from 'tinyqueue';
import { Line } from './line.ts';
import { Passing } from './passing.ts';
import { isUnlimited, type Limits, TaskLimits } from './taskLimits.ts';
import type { Turns } from './turns.ts';

/** A line among those of its level. It has the turn that its client had then: what has changed since is found out in passing. */
interface Entry {
  readonly line: Line;
  readonly turn: number;
  readonly arrival: number;
}

/** The lines of one priority. */
interface Level {
  /** By client, the one first whose first run has been that for the longest. */
  readonly lines: Map<string | null, Line>;
  /** By higher ones, of whatever task, while this task had room. */
  readonly passing: Passing;
  readonly order: TinyQueue<Entry>;
  size: number;
}

const noLines: ReadonlyMap<string | null, Line> = new Map();

/** Whose turn it is. */
export interface Candidate {
  task: WaitingTask;
  line: Line;
  n: number;
  key: string | null;
  turn: number;
}

export class WaitingTask {
  readonly state: string;
  readonly name: string;
  readonly limits: TaskLimits;
  /** Nothing of it has to be counted. */
  readonly isUnlimited: boolean;
  /** An admin has paused it. */
  paused = false;
  readonly #turns: Turns;
  readonly #levels: (Level | undefined)[] = [];
  /** Lines that were passed over by their own client, which may have been all the room that it has. */
  readonly #passedByOwn = new Set<Line>();
  #arrivals = 0;

  constructor({ state, task, ...limits }: Limits, turns: Turns) {
    this.state = state;
    this.name = task;
    this.limits = new TaskLimits(limits);
    this.isUnlimited = isUnlimited(limits);
    this.#turns = turns;
  }

  get isEmpty(): boolean {
    return this.#levels.every((level) => !level || level.size === 0);
  }

  size(priority: number): number {
    return this.#levels[priority]?.size ?? 0;
  }

  /** By client; some may be empty. */
  lines(priority: number): ReadonlyMap<string | null, Line> {
    return this.#levels[priority]?.lines ?? noLines;
  }

  line(client: string | null, priority: number): Line | undefined {
    return this.#levels[priority]?.lines.get(client);
  }

  /** Its client's turn has to be known. */
  add(n: number, client: string | null, key: string | null, priority: number, at: number): void {
    const level = this.#level(priority);
    let line = level.lines.get(client);
    if (!line) {
      line = new Line(client, priority);
      line.beginsAnew(level.passing, at);
      level.lines.set(client, line);
    } else if (line.size === 0) {
      // As good as new: behind all that have been waiting.
      level.lines.delete(client);
      level.lines.set(client, line);
      line.passing.served();
      line.beginsAnew(level.passing, at);
    }
    line.add(n, key);
    level.size++;
    if (!line.listed) {
      line.listed = true;
      level.order.push(this.#entry(line));
    }
  }

  remove(n: number, client: string | null, key: string | null, priority: number): boolean {
    const level = this.#levels[priority];
    const line = level?.lines.get(client);
    if (!level || !line?.remove(n, key)) return false;
    this.#shrink(level, line);
    return true;
  }

  /** Takes the run of a candidate away; the next of its line is the first now. */
  take({ line, key }: Candidate, at: number): void {
    const level = this.#level(line.priority);
    line.take(key);
    level.lines.delete(line.client);
    level.lines.set(line.client, line);
    line.beginsAnew(level.passing, at);
    line.passing.served();
    this.#passedByOwn.delete(line);
    this.#shrink(level, line);
  }

  #shrink(level: Level, line: Line): void {
    level.size--;
    if (level.size === 0) level.passing.served();
    if (line.size > 0) return;
    this.#passedByOwn.delete(line);
    // One that is listed stays, empty, until its turn: its client may come and go without leaving a trace each time.
    if (!line.listed) level.lines.delete(line.client);
  }

  // ---- Who is passed over

  /** A run of `priority` begins, of whatever task, and any of this task might have instead. */
  passedBy(priority: number, at: number): void {
    for (const [own, level] of this.#levels.entries()) {
      if (!level || level.size === 0) continue;
      if (own < priority) level.passing.passed(at);
      else level.passing.served();
    }
  }

  /**
   * A run of this task begins. Where clients or keys are limited, the client's others have no room while it is at work: that those of
   * other clients begin meanwhile does not mean that they could have.
   */
  passedByOwn({ client, priority }: Line, at: number): void {
    if (this.limits.limits.concurrencyPerClient === null && this.limits.limits.concurrencyPerKey === null)
      return;
    for (const [own, level] of this.#levels.entries()) {
      const line = level?.lines.get(client);
      if (!line) continue;
      if (own < priority) {
        line.passing.passed(at);
        this.#passedByOwn.add(line);
      } else {
        line.passing.served();
        this.#passedByOwn.delete(line);
      }
    }
  }

  /** The first of a line that was passed over for long by such as have `priority`, and may begin. The caller knows that the task has room. */
  longPassedOver(priority: number, at: number): Candidate | undefined {
    for (let own = 0; own < priority; own++) {
      const level = this.#levels[own];
      if (!level || level.size === 0 || !level.passing.isLong(at)) continue;
      for (const line of level.lines.values()) {
        if (!line.isOld(at)) break;
        const candidate = line.isPassedOver(level.passing, at) && this.nextOf(line);
        if (candidate) return candidate;
      }
    }
    for (const line of this.#passedByOwn) {
      if (line.priority >= priority || !line.isOld(at)) continue;
      const candidate = line.isPassedOver(this.#level(line.priority).passing, at) && this.nextOf(line);
      if (candidate) return candidate;
    }
    return undefined;
  }

  // ---- Whose turn it is

  /** The run of a priority whose turn it is, among those whose client and key have room. The caller knows that the task has. */
  next(priority: number): Candidate | undefined {
    const level = this.#levels[priority];
    if (!level || level.size === 0) return undefined;
    const { order } = level;
    const passed: Entry[] = [];
    let found: Candidate | undefined;
    for (let entry = order.peek(); entry && !found; entry = order.peek()) {
      const { line } = entry;
      if (line.size === 0) {
        line.listed = false;
        level.lines.delete(line.client);
        order.pop();
        continue;
      }
      const turn = this.#turns.of(line.client);
      const next = turn === entry.turn ? this.nextOf(line) : undefined;
      if (next) found = { ...next, turn };
      else {
        order.pop();
        // One that had a turn meanwhile belongs further back; one that has no room is met again next time.
        if (turn === entry.turn) passed.push(entry);
        else order.push(this.#entry(line));
      }
    }
    for (const entry of passed) order.push(entry);
    return found;
  }

  /** The run of one line that may begin, whoever's turn it is. */
  nextOf(line: Line): Candidate | undefined {
    if (!this.limits.mayBeginFor(line.client)) return undefined;
    const next = line.next(this.limits);
    return next && { task: this, line, turn: this.#turns.of(line.client), ...next };
  }

  /** Some of its runs, up to `limit`: those of one client, or of all when it is undefined. `upTo`: none with a greater number. */
  some(client: string | null | undefined, limit: number, upTo?: number): number[] {
    const some: number[] = [];
    for (const level of this.#levels) {
      for (const line of level?.lines.values() ?? []) {
        if (client === undefined || line.client === client)
          some.push(...line.some(limit - some.length, upTo));
        if (some.length === limit) return some;
      }
    }
    return some;
  }

  #entry(line: Line): Entry {
    return { line, turn: this.#turns.of(line.client), arrival: ++this.#arrivals };
  }

  #level(priority: number): Level {
    let level = this.#levels[priority];
    if (!level) {
      level = { lines: new Map(), passing: new Passing(), order: new TinyQueue([], byTurn), size: 0 };
      this.#levels[priority] = level;
    }
    return level;
  }
}

function byTurn(a: Entry, b: Entry): number {
  return a.turn - b.turn || a.arrival - b.arrival;
}
