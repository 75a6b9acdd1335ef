/**
 * Where a run stands that waits, and when it will about begin and end: from what goes before it, from the limits that hold it
 * back, and from how long its task took lately.
 */
import type { Clock } from '../../clock.ts';
import type { Config } from '../../config.ts';
import type { Policies } from '../../policy.ts';
import type { Standing } from '../../run.ts';
import { AtWork, type Ends } from './atWork.ts';
import type { Row } from './driver.ts';
import type { LiveRun } from './liveRun.ts';
import type { RunTimes } from './runTimes.ts';
import type { Ahead } from './waitingRuns.ts';

export class Estimates {
  readonly #clock: Clock;
  readonly #config: Pick<Config, 'concurrency' | 'threads'>;
  readonly #policies: Policies;
  readonly #live: ReadonlyMap<string, LiveRun>;
  readonly #times: RunTimes;
  #atWork: AtWork | undefined;

  constructor(
    parts: { clock: Clock; policies: Policies },
    config: Pick<Config, 'concurrency' | 'threads'>,
    live: ReadonlyMap<string, LiveRun>,
    times: RunTimes,
  ) {
    this.#clock = parts.clock;
    this.#policies = parts.policies;
    this.#config = config;
    this.#live = live;
    this.#times = times;
  }

  /** `ahead`: what goes before it; null: it waits for a time, and is not in anybody's way. */
  standing(row: Row, ahead: Ahead | null): Standing {
    const meanMs = this.#times.meanMs(row.state as string, row.task as string);
    if (ahead === null) return standing(null, row.due_at as number, meanMs);
    const startsAt = meanMs === null || ahead.paused ? null : this.#startsAt(row, ahead, meanMs);
    return standing(ahead.key + 1, startsAt, meanMs);
  }

  #startsAt(row: Row, ahead: Ahead, meanMs: number): number {
    const state = row.state as string;
    const task = row.task as string;
    const client = row.client as string | null;
    const key = row.key as string | null;
    const { concurrency, concurrencyPerClient, concurrencyPerKey, isolate } = this.#policies.of(state, task);
    const now = this.#clock.now();
    const elapsed = this.#clock.elapsed();
    const atWork = this.#whatIsAtWork();
    const overallMs = this.#times.overallMeanMs() ?? meanMs;
    const mixedMs =
      ahead.all === 0 ? meanMs : (ahead.task * meanMs + (ahead.all - ahead.task) * overallMs) / ahead.all;

    // Each limit by itself would let it begin in so long; all of them hold.
    const wait = (before: number, slots: number, ends: Ends, runMs = meanMs) =>
      waitMs(before, slots, ends, elapsed, runMs);
    const waits = [wait(ahead.all, this.#config.concurrency, atWork.all, mixedMs), ahead.rateOpensAt - now];
    if (concurrency !== null) waits.push(wait(ahead.task, concurrency, atWork.ofTask(state, task)));
    if (concurrencyPerClient !== null) {
      waits.push(wait(ahead.client, concurrencyPerClient, atWork.ofClient(state, task, client)));
    }
    if (concurrencyPerKey !== null && key !== null) {
      waits.push(wait(ahead.key, concurrencyPerKey, atWork.ofKey(state, task, key)));
    }
    if (isolate) waits.push(wait(ahead.task, this.#config.threads, atWork.isolated));
    return now + Math.max(...waits);
  }

  /** The same for all that is asked in one turn of the event loop. */
  #whatIsAtWork(): AtWork {
    if (!this.#atWork) {
      this.#atWork = new AtWork(this.#live.values(), this.#times, this.#policies);
      setImmediate(() => {
        this.#atWork = undefined;
      });
    }
    return this.#atWork;
  }
}

function standing(position: number | null, startsAt: number | null, meanMs: number | null): Standing {
  return {
    position,
    starts_at: startsAt === null ? null : iso(startsAt),
    ends_at: startsAt === null || meanMs === null ? null : iso(startsAt + meanMs),
  };
}

function iso(time: number): string {
  return new Date(Math.round(time)).toISOString();
}

/**
 * How long a run waits with `ahead` before it, where `slots` are at work at once, those that are will end at `ends`, and it is
 * `elapsed` now.
 */
function waitMs(ahead: number, slots: number, ends: Ends, elapsed: number, meanMs: number): number {
  const idle = Math.max(0, slots - ends.length);
  const place = ahead % slots;
  const end = place < idle ? undefined : ends[place - idle];
  const first = end === undefined ? 0 : Math.max(0, end - elapsed);
  return first + Math.floor(ahead / slots) * meanMs;
}
