import { describe, expect, it, vi } from 'vitest';
import { longestSpanMs } from '../src/policy.ts';
import { FatalError, RetryError, retryWish } from '../src/taskError.ts';

describe('a FatalError', () => {
  it('wishes for no further attempt, and is an error like any other', () => {
    const cause = new Error('declined');
    const error = new FatalError('The card is not valid', { cause });
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ name: 'FatalError', message: 'The card is not valid', cause });
    expect(error.stack).toMatch(/^FatalError: |^Error: /);
    expect(retryWish(error)).toBe('never');
  });

  it('keeps its wish in a class of the author’s own', () => {
    class Declined extends FatalError {
      override name = 'Declined';
    }
    expect(new Declined('no')).toMatchObject({ name: 'Declined' });
    expect(retryWish(new Declined('no'))).toBe('never');
  });
});

describe('a RetryError', () => {
  it('wishes for the next attempt after its wait', () => {
    const error = new RetryError(5000, 'The bank is busy');
    expect(error).toMatchObject({ name: 'RetryError', message: 'The bank is busy', afterMs: 5000 });
    expect(retryWish(error)).toEqual({ afterMs: 5000 });
  });

  it('says by itself what it asks for', () => {
    expect(new RetryError(250).message).toBe('The task asked to be tried again after 250 ms');
  });

  it.each([0, longestSpanMs])('may wait for %d ms', (afterMs) => {
    expect(retryWish(new RetryError(afterMs))).toEqual({ afterMs });
  });

  it('waits for whole milliseconds, and never less than asked for', () => {
    expect(retryWish(new RetryError(0.1))).toEqual({ afterMs: 1 });
  });

  it.each([
    [-1, '-1'],
    [Number.NaN, 'NaN'],
    [Number.POSITIVE_INFINITY, 'Infinity'],
    [longestSpanMs + 1, String(longestSpanMs + 1)],
    ['5', '"5"'],
    [undefined, 'undefined'],
    [new Date(0), 'a Date'],
    [5n, '5n'],
  ])('is not made of %s', (afterMs, shown) => {
    expect(() => new RetryError(afterMs as number)).toThrow(TypeError);
    expect(() => new RetryError(afterMs as number)).toThrow(
      `new RetryError(afterMs) takes a number of milliseconds from 0 to 315360000000 (ten years), not ${shown}`,
    );
  });
});

describe('what was thrown', () => {
  it('is understood when another copy of the package made it', async () => {
    vi.resetModules();
    const copy = await import('../src/taskError.ts');
    expect(copy.FatalError).not.toBe(FatalError);
    expect(retryWish(new copy.FatalError('no'))).toBe('never');
    expect(retryWish(new copy.RetryError(7))).toEqual({ afterMs: 7 });
  });

  it.each([undefined, null, 'FatalError', 5, {}, new Error('plain'), { name: 'FatalError' }, () => {}])(
    'says nothing of the next attempt when it is %s',
    (thrown) => {
      expect(retryWish(thrown)).toBeUndefined();
    },
  );

  it.each([undefined, null, 'soon', {}, { afterMs: -1 }, { afterMs: 'soon' }])(
    'says nothing when it wishes what this version does not know: %j',
    (said) => {
      expect(retryWish({ [Symbol.for('spyglass-tasks.retry-wish')]: said })).toBeUndefined();
    },
  );

  it('says it only by itself: an error that merely has a FatalError as its cause does not', () => {
    expect(retryWish(new Error('wrapped', { cause: new FatalError('no') }))).toBeUndefined();
  });
});
