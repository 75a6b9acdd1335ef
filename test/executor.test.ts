import { describe, expect, test } from 'vitest';
import { systemClock } from '../src/clock.ts';
import { AbortReason, type RunPatch } from '../src/engine.ts';
import { createExecute } from '../src/executor.ts';
import { Isolation } from '../src/isolation.ts';
import { Registry } from '../src/registry.ts';
import type { Outcome } from '../src/run.ts';
import { defineState, defineTask, type TaskContext } from '../src/task.ts';
import { FatalError, RetryError } from '../src/taskError.ts';
import type { TaskOptions } from '../src/taskOptions.ts';
import { leased, recordedAttempt } from './fixtures/attempt.ts';
import { DrivenClock } from './fixtures/drivenClock.ts';

/** An executor of the one task `work`, and what it has to tell. */
function executor(work: (task: TaskContext) => unknown, options: TaskOptions = {}, clock = systemClock) {
  const registry = new Registry();
  registry.add(defineState('lab', { work: defineTask(options, work) }));
  const givenUp: string[] = [];
  const failures: string[] = [];
  const execute = createExecute(registry, {
    clock,
    isolation: new Isolation({ threads: 1, folder: null, clock, onStray: () => {}, onBlind: () => {} }),
    tokenLabel: () => 'label',
    onFailure: (_run, error) => void failures.push(error.name),
    onGivenUp: (_run, reason) => void givenUp.push(reason.message),
  });
  return { execute, givenUp, failures };
}

/** One attempt of `work`, with what it told its engine. */
async function attempt(
  work: (task: TaskContext) => unknown,
  abort?: { after: Promise<unknown>; because: 'cancel' | 'shutdown' },
): Promise<{ outcome: Outcome; patches: RunPatch[]; lines: unknown[] }> {
  const { execute } = executor(work);
  const context = recordedAttempt();
  abort?.after.then(() => context.abort(new AbortReason(abort.because)));
  return { outcome: await execute(leased('work'), context), patches: context.patches, lines: context.lines };
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

  test('refuses fields of a line that are no object, and takes a text that is no string', async () => {
    const refusals: string[] = [];
    const { lines } = await attempt(async (task) => {
      for (const wrong of ['text', '', 7, 0, false, [1, 2], new Date(0), () => 1, Symbol('s'), 1n]) {
        await task
          .log('a line', wrong as never)
          .catch((error: Error) => refusals.push(`${error.name}: ${error.message}`));
      }
      await task.log(7 as never, null as never);
      await task.log('kept', { n: 1 });
    });
    const named = ['"text"', '""', '7', '0', 'false', 'the array [1,2]', String(new Date(0)), 'a function'];
    expect(refusals).toEqual(
      [...named, 'Symbol(s)', '1'].map(
        (found) =>
          `TypeError: log(text, fields) takes an object of fields, such as { line: 2 }, not ${found}.`,
      ),
    );
    expect(lines).toEqual([
      ['7', undefined],
      ['kept', { n: 1 }],
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

describe('what a method throws about the next attempt', () => {
  test('goes with the failure', async () => {
    const wishes = [];
    for (const thrown of [new FatalError('no use'), new RetryError(1500), new Error('plain')]) {
      const { outcome } = await attempt(() => {
        throw thrown;
      });
      wishes.push(outcome.kind === 'failed' ? outcome.retry : outcome);
    }
    expect(wishes).toEqual(['never', { afterMs: 1500 }, undefined]);
  });
});

describe('time limits', () => {
  /** Ends only by its signal. */
  const heeding = (task: TaskContext) =>
    new Promise((_, reject) => {
      task.signal.addEventListener('abort', () => reject(task.signal.reason));
    });
  const deaf = () => new Promise(() => {});
  const timedOut = (message: RegExp): Outcome => ({
    kind: 'failed',
    error: { name: 'TimeoutError', message: expect.stringMatching(message) },
  });

  /** An attempt of `work` that is under way. */
  function under(
    options: TaskOptions,
    work: (task: TaskContext) => unknown,
    timeoutMs: number | null = null,
  ) {
    const clock = new DrivenClock();
    const { execute, ...told } = executor(work, options, clock);
    const context = recordedAttempt();
    let outcome: Outcome | undefined;
    execute(leased('work', { timeoutMs }), context).then((ended) => {
      outcome = ended;
    });
    return { clock, context, ...told, outcome: () => outcome };
  }

  test('are none, and no timer, for a task that has none', async () => {
    const { clock, context, outcome } = under({}, heeding);
    expect(clock.timers).toBe(0);
    await clock.pass(10 * 365 * 86_400_000);
    expect(outcome()).toBeUndefined();
    context.abort(new AbortReason('cancel'));
    await clock.pass(0);
    expect(outcome()).toEqual({ kind: 'cancelled' });
  });

  test('abort the signal, and the method that throws its reason has failed by it', async () => {
    const { clock, outcome, failures } = under({ timeoutMs: 1000 }, heeding);
    await clock.pass(999);
    expect(outcome()).toBeUndefined();
    await clock.pass(1);
    expect(outcome()).toEqual(timedOut(/longer than its time limit of 1000 ms/));
    expect(failures).toEqual(['TimeoutError']);
    expect(clock.timers).toBe(0);
  });

  test('are the lesser of what the author gives and the caller wants', async () => {
    for (const [author, caller, limit] of [
      [1000, 400, 400],
      [400, 1000, 400],
      [undefined, 400, 400],
    ] as const) {
      const { clock, outcome } = under(author ? { timeoutMs: author } : {}, heeding, caller);
      await clock.pass(limit - 1);
      expect(outcome()).toBeUndefined();
      await clock.pass(1);
      expect(outcome()).toEqual(timedOut(new RegExp(`limit of ${limit} ms`)));
    }
  });

  test('let a method that returns all the same complete, and one that throws otherwise fail by that', async () => {
    const returning = under({ timeoutMs: 10 }, (task) => heeding(task).catch(() => 'saved what there was'));
    await returning.clock.pass(10);
    expect(returning.outcome()).toEqual({ kind: 'completed', result: 'saved what there was' });
    const failing = under({ timeoutMs: 10 }, (task) =>
      heeding(task).catch(() => {
        throw new RangeError('while cleaning up');
      }),
    );
    await failing.clock.pass(10);
    expect(failing.outcome()).toMatchObject({ kind: 'failed', error: { name: 'RangeError' } });
  });

  test('give up a method that does not end, tell of it, and hear it no more', async () => {
    const spoken: Promise<void>[] = [];
    let speak = () => {};
    const { clock, context, outcome, givenUp } = under({ timeoutMs: 1000 }, (task) => {
      speak = () => {
        spoken.push(task.update({ progress: 50 }), task.log('still here'));
      };
      return deaf();
    });
    await clock.pass(1000);
    speak();
    await clock.pass(4999);
    expect([outcome(), givenUp, context.words]).toEqual([undefined, [], [{ progress: 50 }, 'still here']]);
    await clock.pass(1);
    expect(outcome()).toEqual(timedOut(/limit of 1000 ms/));
    expect(givenUp).toEqual([expect.stringContaining('longer than its time limit of 1000 ms')]);
    speak();
    await Promise.all(spoken);
    expect(context.words).toHaveLength(2);
    expect(clock.timers).toBe(0);
  });

  test('end a run that was cancelled and does not end as cancelled', async () => {
    const { clock, context, outcome } = under({ timeoutMs: 1000 }, deaf);
    context.abort(new AbortReason('cancel'));
    await clock.pass(6000);
    expect(outcome()).toEqual({ kind: 'cancelled' });
  });

  test('end an attempt that says nothing for as long as its heartbeat, and none that goes on saying', async () => {
    let task: TaskContext | undefined;
    const { clock, outcome } = under({ heartbeatMs: 1000 }, (context) => {
      task = context;
      return heeding(context);
    });
    for (const say of ['update', 'log', 'update', 'log'] as const) {
      await clock.pass(999);
      if (say === 'log') task?.log('here');
      else task?.update({});
    }
    await clock.pass(999);
    expect(outcome()).toBeUndefined();
    await clock.pass(1);
    expect(outcome()).toEqual(timedOut(/said nothing, by update or log, for 1000 ms/));
  });

  test('hear first what a blocked loop had no time to hear', async () => {
    let task: TaskContext | undefined;
    const { clock, outcome } = under({ heartbeatMs: 1000 }, (context) => {
      task = context;
      return heeding(context);
    });
    const passed = clock.pass(1000);
    // The heartbeat is due, and its word comes in the same turn of the loop, behind it.
    task?.update({ progress: 1 });
    await passed;
    expect(outcome()).toBeUndefined();
  });

  test('neither end nor spare an attempt when wall time jumps', async () => {
    for (const jump of [-3_600_000, 3_600_000]) {
      const { clock, outcome } = under({ timeoutMs: 1000, heartbeatMs: 900 }, heeding);
      clock.wallTime += jump;
      await clock.pass(899);
      expect(outcome()).toBeUndefined();
      await clock.pass(1);
      expect(outcome()).toEqual(timedOut(/for 900 ms/));
    }
  });

  test('may be longer than a timer of Node takes', async () => {
    const { execute } = executor(heeding, { timeoutMs: 2 ** 31, heartbeatMs: 2 ** 33 });
    const context = recordedAttempt();
    const ended = execute(leased('work'), context);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(context.signal.aborted).toBe(false);
    context.abort(new AbortReason('shutdown'));
    expect(await ended).toEqual({ kind: 'interrupted' });
  });
});
