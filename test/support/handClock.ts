/**
 * A clock that stands still until a test moves it.
 */
import type { Clock } from '../../src/clock.ts';

interface Timer {
  due: number;
  periodMs: number | null;
  callback: () => void;
}

export class HandClock implements Clock {
  #now: number;
  readonly #timers = new Set<Timer>();

  constructor(now = Date.UTC(2026, 10, 23)) {
    this.#now = now;
  }

  /** How many timers are set. */
  get timers(): number {
    return this.#timers.size;
  }

  now(): number {
    return this.#now;
  }

  elapsed(): number {
    return this.#now;
  }

  after(delayMs: number, callback: () => void): () => void {
    return this.#set({ due: this.#now + delayMs, periodMs: null, callback });
  }

  every(periodMs: number, callback: () => void): () => void {
    return this.#set({ due: this.#now + periodMs, periodMs, callback });
  }

  /** Moves on, and calls back whatever is due on the way, in that order. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const [next] = [...this.#timers].filter(({ due }) => due <= end).sort((a, b) => a.due - b.due);
      if (!next) break;
      this.#now = next.due;
      if (next.periodMs === null) this.#timers.delete(next);
      else next.due += next.periodMs;
      next.callback();
    }
    this.#now = end;
  }

  #set(timer: Timer): () => void {
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }
}
