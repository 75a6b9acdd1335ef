import { describe, expect, test } from 'vitest';
import { Estimates } from '../../../src/engines/sqlite/estimates.ts';
import type { LiveRun } from '../../../src/engines/sqlite/liveRun.ts';
import { RunTimes } from '../../../src/engines/sqlite/runTimes.ts';
import type { Ahead } from '../../../src/engines/sqlite/waitingRuns.ts';
import { defaultPolicy, type TaskPolicy } from '../../../src/policy.ts';
import { DrivenClock } from '../../fixtures/drivenClock.ts';

describe('run times', () => {
  test('are a mean of five or more, and of no more than the latest twenty', () => {
    const times = new RunTimes();
    for (let run = 0; run < 4; run++) times.note('s', 't', 100);
    expect(times.meanMs('s', 't')).toBeNull();
    times.note('s', 't', 200);
    expect(times.meanMs('s', 't')).toBe(120);
    for (let run = 0; run < 20; run++) times.note('s', 't', 50);
    expect(times.meanMs('s', 't')).toBe(50);
    expect(times.meanMs('s', 'other')).toBeNull();
  });

  test('of all tasks are known together', () => {
    const times = new RunTimes();
    for (const [task, ms] of [
      ['a', 10],
      ['a', 20],
      ['b', 30],
      ['b', 40],
    ] as const) {
      times.note('s', task, ms);
    }
    expect(times.overallMeanMs()).toBeNull();
    times.note('s', 'c', 50);
    expect(times.overallMeanMs()).toBe(30);
  });
});

describe('estimates', () => {
  const clock = new DrivenClock();
  const row = { state: 's', task: 't', client: 'c', key: 'k' };

  /** Runs at work, by how long they have been. */
  function estimates(
    policy: Partial<TaskPolicy>,
    atWork: number[],
    concurrency = 1,
    meanMs: number | null = 1000,
  ): Estimates {
    const times = new RunTimes();
    if (meanMs !== null) for (let run = 0; run < 5; run++) times.note('s', 't', meanMs);
    const live = new Map(
      atWork.map((ms, place) => [
        String(place),
        { ...row, begunAt: clock.elapsed() - ms } as unknown as LiveRun,
      ]),
    );
    const policies = { of: () => ({ ...defaultPolicy, ...policy }), all: () => [], keysOf: () => ({}) };
    return new Estimates({ clock, policies }, { concurrency, threads: 2 }, live, times);
  }

  const ahead = (given: Partial<Ahead> = {}): Ahead => ({
    key: 0,
    client: 0,
    task: 0,
    all: 0,
    rateOpensAt: clock.now(),
    paused: false,
    ...given,
  });

  const startsIn = (from: Estimates, given: Ahead) => {
    const { starts_at } = from.standing(row, given);
    return starts_at === null ? null : Date.parse(starts_at) - clock.now();
  };

  test('wait for what is at work, and then for all that goes before', () => {
    expect(startsIn(estimates({}, [400]), ahead())).toBe(600);
    expect(startsIn(estimates({}, [400]), ahead({ task: 3, all: 3 }))).toBe(3600);
    expect(startsIn(estimates({}, [100, 400, 700], 3), ahead({ task: 4, all: 4 }))).toBe(300 + 1000 + 300);
    expect(startsIn(estimates({}, [400], 3), ahead({ task: 1, all: 1 }))).toBe(0);
    // One that takes longer than usual may end at any time.
    expect(startsIn(estimates({}, [5000]), ahead())).toBe(0);
  });

  test('go by the strictest limit', () => {
    expect(startsIn(estimates({ concurrency: 1 }, [400], 100), ahead({ task: 2, all: 2 }))).toBe(2600);
    expect(
      startsIn(estimates({ concurrencyPerClient: 1 }, [400], 100), ahead({ client: 1, task: 9, all: 9 })),
    ).toBe(1600);
    expect(
      startsIn(estimates({ concurrencyPerKey: 1 }, [400], 100), ahead({ key: 1, task: 9, all: 9 })),
    ).toBe(1600);
    expect(startsIn(estimates({ isolate: true }, [400, 600], 100), ahead({ task: 2, all: 2 }))).toBe(1400);
    const opens = ahead({ rateOpensAt: clock.now() + 7000 });
    expect(startsIn(estimates({ concurrency: 1 }, [400], 100), opens)).toBe(7000);
  });

  test('look at what is at work once for all that is asked in one turn, and anew in the next', async () => {
    let looks = 0;
    class Live extends Map<string, LiveRun> {
      override values(): MapIterator<LiveRun> {
        looks++;
        return super.values();
      }
    }
    const times = new RunTimes();
    for (let run = 0; run < 5; run++) times.note('s', 't', 1000);
    const atWork = (ms: number) => ({ ...row, begunAt: clock.elapsed() - ms }) as unknown as LiveRun;
    const live = new Live(Array.from({ length: 10_000 }, (_, place) => [String(place), atWork(place / 100)]));
    const policies = {
      of: () => ({ ...defaultPolicy, concurrency: 10_000 }),
      all: () => [],
      keysOf: () => ({}),
    };
    const config = { concurrency: 10_000, threads: 2 };
    const many = new Estimates({ clock, policies }, config, live, times);
    for (let before = 0; before < 1000; before++) {
      // The longest at work ends first.
      expect(startsIn(many, ahead({ task: before, all: before }))).toBe(Math.round(900 + (before + 1) / 100));
    }
    expect(looks).toBe(1);
    await new Promise((resolve) => setImmediate(resolve));
    live.clear();
    expect(startsIn(many, ahead())).toBe(0);
    expect(looks).toBe(2);
  });

  test('say nothing where nothing is known, or it is paused', () => {
    const unknown = estimates({}, [400], 1, null);
    expect(unknown.standing(row, ahead({ key: 4 }))).toEqual({
      position: 5,
      starts_at: null,
      ends_at: null,
    });
    expect(estimates({}, [400]).standing(row, ahead({ paused: true }))).toMatchObject({
      position: 1,
      starts_at: null,
      ends_at: null,
    });
  });

  test('tell of one that waits for a time when it is due, and when it will have ended', () => {
    const due = clock.now() + 5000;
    const waits = { ...row, due_at: due };
    const iso = (time: number) => new Date(time).toISOString();
    expect(estimates({}, []).standing(waits, null)).toEqual({
      position: null,
      starts_at: iso(due),
      ends_at: iso(due + 1000),
    });
    expect(estimates({}, [], 1, null).standing(waits, null)).toEqual({
      position: null,
      starts_at: iso(due),
      ends_at: null,
    });
  });
});
