/**
 * How long runs of a higher priority have been going before others, which then go all the same. Only what begins passes anybody
 * over: while all that there is room for is at work, nobody is passed over, however long that takes.
 */

/** How long the first of a line may be passed over by runs of a higher priority. */
export const passedOverMs = 10_000;

export class Passing {
  /** Since when nothing but higher ones has begun; undefined: the latest was no higher one. */
  #since: number | undefined;
  /** How many higher ones have begun, ever. */
  count = 0;

  /** A higher one has begun. */
  passed(at: number): void {
    // A clock that was set back must not make the wait longer.
    this.#since = Math.min(this.#since ?? at, at);
    this.count++;
  }

  /** One has begun that is not higher. */
  served(): void {
    this.#since = undefined;
  }

  isLong(at: number): boolean {
    return this.#since !== undefined && this.#since <= at - passedOverMs;
  }
}
