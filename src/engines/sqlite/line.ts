/**
 * The runs of one client that wait for one task with one priority: oldest first, or, where the task limits by key, with the
 * keys taking turns.
 */
import { Passing, passedOverMs } from './passing.ts';
import { SortedNumbers } from './sortedNumbers.ts';
import type { TaskLimits } from './taskLimits.ts';

export class Line {
  readonly client: string | null;
  readonly priority: number;
  /** By key, in the order of their turns. */
  readonly #lanes = new Map<string | null, SortedNumbers>();
  size = 0;
  /** Whether its task has it among those whose turn may come. */
  listed = false;
  /** By higher ones of its own client for its own task. */
  readonly passing = new Passing();
  /** Since when its first is the first, and how many had passed it over until then. */
  #firstSince = 0;
  #passedBefore = { level: 0, own: 0 };

  constructor(client: string | null, priority: number) {
    this.client = client;
    this.priority = priority;
  }

  /** Another one is its first now. `level`: what passes over its level. */
  beginsAnew(level: Passing, at: number): void {
    this.#firstSince = at;
    this.#passedBefore = { level: level.count, own: this.passing.count };
  }

  /** Whether its first has been the first for so long that it may have been passed over for long; also from before a clock was set back. */
  isOld(at: number): boolean {
    return this.#firstSince > at || this.#firstSince <= at - passedOverMs;
  }

  /** Whether its first was passed over for long: with its level, or by its own client. */
  isPassedOver(level: Passing, at: number): boolean {
    return (
      (level.isLong(at) && level.count > this.#passedBefore.level) ||
      (this.passing.isLong(at) && this.passing.count > this.#passedBefore.own)
    );
  }

  add(n: number, key: string | null): void {
    let lane = this.#lanes.get(key);
    if (!lane) {
      lane = new SortedNumbers();
      this.#lanes.set(key, lane);
    }
    lane.add(n);
    this.size++;
  }

  remove(n: number, key: string | null): boolean {
    const lane = this.#lanes.get(key);
    if (!lane?.remove(n)) return false;
    if (lane.length === 0) this.#lanes.delete(key);
    this.size--;
    return true;
  }

  /** The run whose turn it is; undefined when each of its keys is taken. */
  next(limits: TaskLimits): { n: number; key: string | null } | undefined {
    for (const [key, lane] of this.#lanes) {
      if (limits.mayBeginWith(key)) return { n: lane.first as number, key };
    }
    return undefined;
  }

  /** Takes that run away; its key goes to the end of the line. */
  take(key: string | null): void {
    const lane = this.#lanes.get(key) as SortedNumbers;
    lane.shift();
    this.size--;
    this.#lanes.delete(key);
    if (lane.length > 0) this.#lanes.set(key, lane);
  }

  /** Some of its runs, up to `limit`. `upTo`: none with a greater number. */
  some(limit: number, upTo?: number): number[] {
    const some: number[] = [];
    for (const lane of this.#lanes.values()) {
      some.push(...lane.some(limit - some.length, upTo));
      if (some.length === limit) break;
    }
    return some;
  }

  /** How many of the same key are before `n`. */
  before(n: number, key: string | null): number {
    return this.#lanes.get(key)?.before(n) ?? 0;
  }

  /** How many there are of a key. */
  sizeOf(key: string | null): number {
    return this.#lanes.get(key)?.length ?? 0;
  }

  /** How many of all keys go before the one that has `turns` of its own key before it, where the keys take turns. */
  beforeTurn(turns: number): number {
    if (this.#lanes.size === 1) return Math.min(this.size, turns);
    if (this.#lanes.size > mostLanesCounted) return Math.min(this.size, this.#lanes.size * turns);
    let before = 0;
    for (const lane of this.#lanes.values()) before += Math.min(lane.length, turns);
    return before;
  }
}

/** Of more lanes than these an estimate is made as if each had as many as it takes. */
const mostLanesCounted = 200;
