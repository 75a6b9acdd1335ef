/**
 * Where a run stands that waits, and when it will about begin and end: from what goes before it, from the limits that hold it
 * back, and from how long its task took lately.
 */
import type { Clock } from '../../clock.ts';
import type { Config } from '../../config.ts';
import type { Policies } from '../../policy.ts';
import type { Standing } from '../../run.ts';
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
    const { state, task, client, key } = row;
    const policy = this.#policies.of(state as string, task as string);
    const now = this.#clock.now();
    const elapsed = this.#clock.elapsed();
    const left = (holds: (run: LiveRun) => boolean) =>
      [...this.#live.values()].filter(holds).map((run) => this.#leftMs(run, elapsed));
    const ofTask = (run: LiveRun) => run.state === state && run.task === task;
    const overallMs = this.#times.overallMeanMs() ?? meanMs;
    const mixedMs =
      ahead.all === 0 ? meanMs : (ahead.task * meanMs + (ahead.all - ahead.task) * overallMs) / ahead.all;

    // Each limit by itself would let it begin in so long; all of them hold.
    const waits = [
      waitMs(
        ahead.all,
        this.#config.concurrency,
        left(() => true),
        mixedMs,
      ),
      ahead.rateOpensAt - now,
    ];
    if (policy.concurrency !== null) waits.push(waitMs(ahead.task, policy.concurrency, left(ofTask), meanMs));
    if (policy.concurrencyPerClient !== null) {
      const ofClient = left((run) => ofTask(run) && run.client === client);
      waits.push(waitMs(ahead.client, policy.concurrencyPerClient, ofClient, meanMs));
    }
    if (policy.concurrencyPerKey !== null && key !== null) {
      const ofKey = left((run) => ofTask(run) && run.key === key);
      waits.push(waitMs(ahead.key, policy.concurrencyPerKey, ofKey, meanMs));
    }
    if (policy.isolate) {
      const isolated = left((run) => this.#policies.of(run.state, run.task).isolate);
      waits.push(waitMs(ahead.task, this.#config.threads, isolated, meanMs));
    }
    return now + Math.max(...waits);
  }

  /** How long a run that is at work will go on; one that has been so for longer than usual may end at any time. */
  #leftMs(run: LiveRun, elapsed: number): number {
    const meanMs = this.#times.meanMs(run.state, run.task) ?? this.#times.overallMeanMs() ?? 0;
    return Math.max(0, meanMs - (elapsed - run.begunAt));
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

/** How long a run waits with `ahead` before it, where `slots` are at work at once and those that are have `left` to go. */
function waitMs(ahead: number, slots: number, left: number[], meanMs: number): number {
  const busy = left.sort((a, b) => a - b);
  const idle = Math.max(0, slots - busy.length);
  const place = ahead % slots;
  const first = place < idle ? 0 : (busy[place - idle] ?? 0);
  return first + Math.floor(ahead / slots) * meanMs;
}
