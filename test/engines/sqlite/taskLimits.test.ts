import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isUnlimited, noLimits, TaskLimits } from '../../../src/engines/sqlite/taskLimits.ts';

const rated = (max: number, perMs: number) => new TaskLimits({ ...noLimits, rateLimit: { max, perMs } });

describe('attempts at once', () => {
  test('are counted in all, for each client and for each key', () => {
    const limits = new TaskLimits({
      ...noLimits,
      concurrency: 3,
      concurrencyPerClient: 2,
      concurrencyPerKey: 1,
    });
    limits.began('a', 'k', 0);
    expect(limits.mayBegin(0)).toBe(true);
    expect(limits.mayBeginFor('a')).toBe(true);
    expect(limits.mayBeginWith('k')).toBe(false);
    expect(limits.mayBeginWith('other')).toBe(true);
    expect(limits.mayBeginWith(null)).toBe(true);
    limits.began('a', null, 0);
    expect(limits.mayBeginFor('a')).toBe(false);
    expect(limits.mayBeginFor(null)).toBe(true);
    limits.began(null, null, 0);
    expect(limits.mayBegin(0)).toBe(false);
    limits.ended('a', 'k');
    expect(limits.mayBegin(0)).toBe(true);
    expect(limits.mayBeginFor('a')).toBe(true);
    expect(limits.mayBeginWith('k')).toBe(true);
  });

  test('are as before when a commit came to nothing', () => {
    const limits = new TaskLimits({
      ...noLimits,
      concurrency: 1,
      concurrencyPerClient: 1,
      concurrencyPerKey: 1,
      rateLimit: { max: 1, perMs: 1000 },
    });
    limits.began('a', 'k', 0);
    limits.didNotBegin('a', 'k');
    expect([limits.mayBegin(0), limits.mayBeginFor('a'), limits.mayBeginWith('k')]).toEqual([
      true,
      true,
      true,
    ]);
    limits.began('a', 'k', 0);
    limits.ended('a', 'k');
    limits.didNotEnd('a', 'k');
    expect([limits.mayBegin(5000), limits.mayBeginFor('a'), limits.mayBeginWith('k')]).toEqual([
      false,
      false,
      false,
    ]);
  });

  test('are not counted where nothing is limited', () => {
    expect(isUnlimited(noLimits)).toBe(true);
    for (const limit of [
      { concurrency: 1 },
      { concurrencyPerClient: 1 },
      { concurrencyPerKey: 1 },
      { rateLimit: { max: 1, perMs: 1 } },
      { isolate: true },
    ]) {
      expect(isUnlimited({ ...noLimits, ...limit })).toBe(false);
    }
  });
});

describe('a rate', () => {
  test('is exceeded in no span, and used as soon as it allows, whenever attempts want to begin', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 50 }),
        fc.array(fc.integer({ min: 0, max: 30 }), { maxLength: 200 }),
        (max, perMs, waits) => {
          const limits = rated(max, perMs);
          const begun: number[] = [];
          let at = 1000;
          for (const wait of waits) {
            at += wait;
            const within = begun.filter((moment) => moment > at - perMs).length;
            expect(limits.mayBegin(at)).toBe(within < max);
            const opens = limits.rateOpensAt(at);
            expect(begun.filter((moment) => moment > opens - perMs).length).toBeLessThan(max);
            expect(opens === at || begun.includes(opens - perMs)).toBe(true);
            if (within < max) {
              limits.began(null, null, at);
              begun.push(at);
            }
          }
        },
      ),
    );
  });

  test('tells when those behind may begin', () => {
    const limits = rated(2, 1000);
    limits.began(null, null, 0);
    limits.began(null, null, 300);
    const opens = [0, 1, 2, 3, 4].map((ahead) => limits.rateOpensAt(400, ahead));
    expect(opens).toEqual([1000, 1300, 2000, 2300, 3000]);
    expect(rated(3, 1000).rateOpensAt(400, 2)).toBe(400);
    expect(rated(3, 1000).rateOpensAt(400, 3)).toBe(1400);
  });

  test('goes on from what was begun before a restart', () => {
    const limits = rated(2, 1000);
    limits.restore([0, 500, 800]);
    expect(limits.mayBegin(1499)).toBe(false);
    expect(limits.mayBegin(1500)).toBe(true);
  });

  test('counts what was begun “later” than now as begun now, when the clock was set back', () => {
    const limits = rated(1, 1000);
    limits.began(null, null, 3_600_000);
    expect(limits.mayBegin(500)).toBe(false);
    expect(limits.mayBegin(1499)).toBe(false);
    expect(limits.mayBegin(1500)).toBe(true);
  });

  test('is not opened early by somebody who only asks when it will be', () => {
    const limits = rated(1, 1000);
    limits.began(null, null, 100);
    // A read can be of a moment before the latest beginning.
    limits.rateOpensAt(90);
    expect(limits.mayBegin(1099)).toBe(false);
  });
});
