import { describe, expect, test } from 'vitest';
import { AbortReason, type AttemptContext, type LeasedRun, type RunPatch } from '../src/engine.ts';
import { createExecute } from '../src/executor.ts';
import { Registry } from '../src/registry.ts';
import type { Outcome } from '../src/run.ts';
import { defineState, defineTask, type TaskContext } from '../src/task.ts';

/** One attempt of `work`, with what it told its engine. */
async function attempt(
  work: (task: TaskContext) => unknown,
  abort?: { after: Promise<unknown>; because: 'cancel' | 'shutdown' },
): Promise<{ outcome: Outcome; patches: RunPatch[]; lines: unknown[] }> {
  const registry = new Registry();
  registry.add(defineState('lab', { work: defineTask({}, work) }));
  const execute = createExecute(registry, { tokenLabel: () => 'label', onFailure: () => {} });
  const run: LeasedRun = {
    id: 'r',
    state: 'lab',
    task: 'work',
    client: 'c',
    input: null,
    attempt: 1,
    timeoutMs: null,
  };
  const controller = new AbortController();
  const patches: RunPatch[] = [];
  const lines: unknown[] = [];
  const context: AttemptContext = {
    signal: controller.signal,
    abort: (reason) => controller.abort(reason),
    onAbort: (listener) =>
      controller.signal.addEventListener('abort', () => listener(controller.signal.reason)),
    update: async (patch) => void patches.push(patch),
    log: async (text, fields) => void lines.push([text, fields]),
  };
  abort?.after.then(() => controller.abort(new AbortReason(abort.because)));
  return { outcome: await execute(run, context), patches, lines };
}

const soon = () => new Promise((resolve) => setImmediate(resolve));

describe('an attempt', () => {
  test('completes with what the method returns, as JSON sees it', async () => {
    const date = new Date(0);
    const { outcome } = await attempt(() => ({ date, left: undefined, list: [1, Number.NaN] }));
    expect(outcome).toEqual({ kind: 'completed', result: { date: date.toISOString(), list: [1, null] } });
    expect((await attempt(() => undefined)).outcome).toEqual({ kind: 'completed', result: null });
  });

  test('ends in an error that says so when the result is too large or no JSON', async () => {
    const circle: { self?: unknown } = {};
    circle.self = circle;
    for (const [result, reason] of [
      ['x'.repeat(2 ** 20), /1048578 bytes as JSON; the limit is 1048576/],
      [circle, /cannot be JSON/],
      [10n, /cannot be JSON/],
      [() => 1, /cannot be JSON: it is a function/],
    ] as const) {
      const { outcome } = await attempt(() => result);
      expect(outcome).toMatchObject({ kind: 'failed', error: { message: expect.stringMatching(reason) } });
    }
  });

  test('fails with whatever is thrown, even with what throws when it is looked at', async () => {
    const trap = () => {
      throw new Error('looked at');
    };
    const thrown: unknown[] = [
      'text',
      undefined,
      Object.create(null),
      Object.defineProperty({}, 'message', { get: trap }),
      Object.defineProperty(new Error('x'), 'stack', { get: trap }),
      new Proxy({}, { get: trap, getPrototypeOf: trap }),
    ];
    for (const value of thrown) {
      const { outcome } = await attempt(() => {
        throw value;
      });
      expect(outcome).toMatchObject({ kind: 'failed', error: { name: 'Error' } });
    }
  });

  test('is cancelled only by the reason of its signal, also as the cause of an AbortError', async () => {
    for (const [rethrow, kind] of [
      [(reason: unknown) => reason, 'cancelled'],
      [
        (reason: unknown) => Object.assign(new Error('aborted', { cause: reason }), { name: 'AbortError' }),
        'cancelled',
      ],
      [() => new Error('another'), 'failed'],
    ] as const) {
      const { outcome } = await attempt(
        async (task) => {
          while (!task.signal.aborted) await soon();
          throw rethrow(task.signal.reason);
        },
        { after: soon(), because: 'cancel' },
      );
      expect(outcome.kind).toBe(kind);
    }
  });
});

describe('the context', () => {
  test('clamps progress, and refuses what is none and any status but Processing', async () => {
    const refusals: string[] = [];
    const { patches } = await attempt(async (task) => {
      await task.update({ progress: 150 });
      await task.update({ progress: -1, message: null });
      for (const wrong of [
        { progress: Number.NaN },
        { progress: '5' },
        { status: 'Completed' },
        { result: 10n },
      ]) {
        await task.update(wrong as never).catch((error: Error) => refusals.push(error.message));
      }
    });
    expect(patches).toEqual([{ progress: 100 }, { progress: 0, message: null }]);
    expect(refusals).toEqual([
      expect.stringContaining('not NaN'),
      expect.stringContaining('not "5"'),
      expect.stringContaining('not "Completed"'),
      expect.stringContaining('cannot be JSON'),
    ]);
  });

  test('sleeps for as long as it is told, be it for ever, and wakes when it is aborted', async () => {
    for (const ms of [2 ** 31, Number.POSITIVE_INFINITY]) {
      const { outcome } = await attempt((task) => task.sleep(ms), { after: soon(), because: 'shutdown' });
      expect(outcome).toEqual({ kind: 'interrupted' });
    }
    const before = performance.now();
    await attempt((task) => task.sleep(20));
    expect(performance.now() - before).toBeGreaterThan(15);
  });

  test('cuts text that is too long at a whole character', async () => {
    const { lines } = await attempt((task) => task.log('ü'.repeat(40_000), { n: 1 }));
    const [[text, fields]] = lines as [[string, unknown]];
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(64 * 1024);
    expect(text).toMatch(/^ü+…$/);
    expect(fields).toEqual({ n: 1 });
  });

  test('knows the run and the label of its client', async () => {
    const { outcome } = await attempt(({ id, state, task, attempt: number, client }) => [
      id,
      state,
      task,
      number,
      client,
    ]);
    expect(outcome).toEqual({ kind: 'completed', result: ['r', 'lab', 'work', 1, 'label'] });
  });
});
