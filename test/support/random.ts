/**
 * Chance that can be had again: every random test prints its seed, and `SPYGLASS_TEST_SEED` sets it.
 */

export class Random {
  readonly seed: number;
  #state: number;

  constructor(seed: number) {
    this.seed = seed;
    this.#state = seed | 0;
  }

  /** From 0 to 1, 1 excluded (mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from `from` to `to`, both included. */
  whole(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from + 1));
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(choices: readonly T[]): T {
    return choices[Math.floor(this.next() * choices.length)] as T;
  }

  bytes(length: number): Buffer {
    const bytes = Buffer.alloc(length);
    for (let at = 0; at < length; at++) bytes[at] = this.whole(0, 255);
    return bytes;
  }
}

/** A generator for one test, whose seed is printed so that a failure can be had again. */
export function seededRandom(what: string): Random {
  const given = process.env.SPYGLASS_TEST_SEED;
  if (given !== undefined && !/^\d{1,10}$/.test(given)) {
    throw new Error(`SPYGLASS_TEST_SEED is ${JSON.stringify(given)}; give a whole number of up to 10 digits`);
  }
  const seed = given === undefined ? Date.now() % 1_000_000_000 : Number(given);
  console.info(`${what}: SPYGLASS_TEST_SEED=${seed}`);
  return new Random(seed);
}
