/**
 * Something done to each of many connections once in a while, a few at a time: all 10,000 at once would hold up the event loop.
 */
import type { Clock } from '../clock.ts';

/** How often it is looked for those whose turn it is; so many at most. */
const roundMs = 500;
const roundMembers = 500;

export class Rounds<Member> {
  readonly #clock: Clock;
  readonly #periodMs: number;
  readonly #visit: (member: Member) => void;
  /** When each is to be visited next, in that order: a Map keeps the order in which its keys were added. */
  readonly #due = new Map<Member, number>();
  /** How long this has been going on: by its own rounds, since the clock on the wall may be set. */
  #elapsedMs = 0;
  #stop: (() => void) | undefined;

  constructor(clock: Clock, periodMs: number, visit: (member: Member) => void) {
    this.#clock = clock;
    this.#periodMs = periodMs;
    this.#visit = visit;
  }

  /** How many are visited. */
  get size(): number {
    return this.#due.size;
  }

  start(): void {
    this.#stop = this.#clock.every(roundMs, () => this.#round());
  }

  stop(): void {
    this.#stop?.();
  }

  add(member: Member): void {
    this.#due.set(member, this.#elapsedMs + this.#periodMs);
  }

  remove(member: Member): void {
    this.#due.delete(member);
  }

  #round(): void {
    this.#elapsedMs += roundMs;
    let visited = 0;
    for (const [member, due] of this.#due) {
      if (due > this.#elapsedMs || ++visited > roundMembers) return;
      this.#due.delete(member);
      this.#due.set(member, this.#elapsedMs + this.#periodMs);
      this.#visit(member);
    }
  }
}
