import { describe, expect, test } from 'vitest';
import { defaultRetries, type Retries, retryDelayMs } from '../src/policy.ts';

describe('the wait after a failure', () => {
  const retries: Retries = {
    attempts: 10,
    backoff: 'exponential',
    delayMs: 1000,
    maxDelayMs: 60_000,
    jitter: 'none',
  };
  const waits = (given: Retries, random?: number) =>
    [1, 2, 3, 4, 5, 6, 7, 8].map((failures) => retryDelayMs(given, failures, random));

  test('doubles with each failure, up to its most', () => {
    expect(waits(retries)).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
  });

  test('stays the same where it is fixed', () => {
    expect(new Set(waits({ ...retries, backoff: 'fixed' }))).toEqual(new Set([1000]));
  });

  test('is drawn between nothing and what it would be, with full jitter', () => {
    const jittered: Retries = { ...retries, jitter: 'full' };
    expect(new Set(waits(jittered, 0))).toEqual(new Set([0]));
    expect(waits(jittered, 1)).toEqual(waits(retries));
    expect(waits(jittered, 0.5)).toEqual(waits(retries).map((ms) => ms / 2));
    const drawn = Array.from({ length: 2000 }, () => retryDelayMs(jittered, 3));
    expect(Math.min(...drawn)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...drawn)).toBeLessThanOrEqual(4000);
    expect(Math.min(...drawn)).toBeLessThan(400);
    expect(Math.max(...drawn)).toBeGreaterThan(3600);
    expect(drawn.every(Number.isInteger)).toBe(true);
  });

  test('is a number after any number of failures', () => {
    for (const failures of [1, 50, 1024, 1025, 5000, 100_000]) {
      expect(retryDelayMs({ ...retries, delayMs: 0 }, failures)).toBe(0);
      expect(retryDelayMs({ ...retries, delayMs: 1, maxDelayMs: 0 }, failures)).toBe(0);
      expect(retryDelayMs(defaultRetries, failures, 1)).toBeLessThanOrEqual(defaultRetries.maxDelayMs);
    }
  });
});
