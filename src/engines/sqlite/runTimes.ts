/**
 * How long the attempts of each task took lately.
 */
import { fullName } from './taskName.ts';

const samples = 20;
/** Of fewer nothing is concluded. */
const leastSamples = 5;

export class RunTimes {
  readonly #byTask = new Map<string, number[]>();
  readonly #all: number[] = [];

  note(state: string, task: string, tookMs: number): void {
    const key = fullName(state, task);
    let times = this.#byTask.get(key);
    if (!times) {
      times = [];
      this.#byTask.set(key, times);
    }
    keep(times, tookMs);
    keep(this.#all, tookMs);
  }

  /** null: it has not run often enough to say. */
  meanMs(state: string, task: string): number | null {
    return mean(this.#byTask.get(fullName(state, task)) ?? []);
  }

  /** Of all tasks alike. */
  overallMeanMs(): number | null {
    return mean(this.#all);
  }
}

function keep(times: number[], tookMs: number): void {
  times.push(tookMs);
  if (times.length > samples) times.shift();
}

function mean(times: readonly number[]): number | null {
  if (times.length < leastSamples) return null;
  return times.reduce((sum, time) => sum + time, 0) / times.length;
}
