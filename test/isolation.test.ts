/** Real threads, which load from `dist/`: it needs `npm run build`. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { systemClock } from '../src/clock.ts';
import { AbortReason } from '../src/engine.ts';
import { createExecute } from '../src/executor.ts';
import { Isolation } from '../src/isolation.ts';
import { loadRegistry, type Registry } from '../src/registry.ts';
import type { Outcome } from '../src/run.ts';
import type { Stray } from '../src/threadLine.ts';
import { leased, recordedAttempt } from './fixtures/attempt.ts';
import { DrivenClock } from './fixtures/drivenClock.ts';

let javaScript: Registry;
let typeScript: Registry;

beforeAll(async () => {
  javaScript = await loadRegistry(resolve(import.meta.dirname, 'reliability/isolated'));
  typeScript = await loadRegistry(resolve(import.meta.dirname, 'fixtures/isolated'));
});

/** An executor with threads of its own. */
function executor({ threads = 2, clock = systemClock, registry = javaScript } = {}) {
  const strays: Stray[] = [];
  const givenUp: string[] = [];
  const isolation = new Isolation({
    threads,
    folder: null,
    clock,
    onStray: (stray) => strays.push(stray),
    onBlind: (reason) => expect.fail(reason),
  });
  onTestFinished(async () => {
    expect(await isolation.close()).toBe(true);
  });
  const execute = createExecute(registry, {
    clock,
    isolation,
    tokenLabel: () => 'label',
    onFailure: () => {},
    onGivenUp: (run) => givenUp.push(run.id),
  });
  /** Begins an attempt. */
  function begin(task: string, input?: unknown, given: Parameters<typeof leased>[1] = {}) {
    const context = recordedAttempt();
    const run = leased(task, { ...given, input: input === undefined ? null : JSON.stringify(input) });
    return { context, outcome: execute(run, context) };
  }
  return { isolation, begin, strays, givenUp };
}

const died = (message: RegExp): Outcome => ({
  kind: 'died',
  error: { name: 'ThreadDiedError', message: expect.stringMatching(message) },
});

describe('an isolated attempt', () => {
  test('runs in a thread, with the same context and its input as the schema makes it', async () => {
    const { begin } = executor();
    const { outcome, context } = begin('whole', { at: '2026-11-23' }, { id: 'x', attempt: 3 });
    expect(await outcome).toEqual({
      kind: 'completed',
      result: { id: 'x', state: 'lab', task: 'whole', attempt: 3, client: 'label', year: 2026 },
    });
    expect(context.words).toEqual([]);
    const { outcome: where } = begin('where');
    expect(await where).toMatchObject({ result: { isMainThread: false, cwd: process.cwd() } });
    const { outcome: misfit } = begin('whole', { at: 'no date' });
    expect(await misfit).toMatchObject({ kind: 'failed', error: { name: 'InputError' } });
  });

  test('may be of a TypeScript file with decorators', async () => {
    const { outcome, context } = executor({ registry: typeScript }).begin(
      'sum',
      { upTo: 100 },
      { state: 'typed' },
    );
    expect(await outcome).toEqual({ kind: 'completed', result: { sum: 5050, isMainThread: false } });
    expect(context.patches).toEqual([{ progress: 50 }]);
  });

  test('takes a thread that is there, and at most as many as there may be', async () => {
    const { begin, isolation } = executor({ threads: 2 });
    const runs = Array.from({ length: 6 }, () => begin('where').outcome);
    const results = (await Promise.all(runs)).map(
      (outcome) => outcome.kind === 'completed' && outcome.result,
    );
    expect(new Set(results.map((result) => (result as { threadId: number }).threadId)).size).toBeLessThan(3);
    expect(isolation.threads).toBeLessThan(3);
  });

  test('fails with what is thrown in its thread, stack and wish for the next attempt included', async () => {
    const { begin } = executor();
    expect(await begin('throws', 'error').outcome).toEqual({
      kind: 'failed',
      error: { name: 'TypeError', message: 'thrown in a thread' },
      stack: expect.stringContaining('isolated/lab.js'),
    });
    expect(await begin('throws', 'fatal').outcome).toMatchObject({
      error: { name: 'FatalError', message: 'no use' },
      retry: 'never',
    });
    expect(await begin('throws', 'retry').outcome).toMatchObject({
      error: { name: 'RetryError', message: 'later' },
      retry: { afterMs: 1234 },
    });
    expect(await begin('throws', 'text').outcome).toMatchObject({ error: { message: /threw "text"/ } });
    expect(await begin('throws', 'result').outcome).toMatchObject({ error: { name: 'ResultError' } });
  });

  test('leaves what nobody caught to the log, with its run', async () => {
    const { begin, strays } = executor();
    const { outcome } = begin('stray', undefined, { id: 'left' });
    expect(await outcome).toEqual({ kind: 'completed', result: 'stray' });
    const run = { id: 'left', state: 'lab', task: 'stray' };
    await expect
      .poll(() => strays)
      .toMatchObject([
        { what: 'rejected', run, error: { message: 'a promise of left' } },
        {
          what: 'thrown',
          run,
          error: { message: 'a timer of left', stack: expect.stringContaining('lab.js') },
        },
      ]);
  });
});

describe('the words of an isolated attempt', () => {
  test('arrive while its loop does not turn', async () => {
    const { outcome, context } = executor().begin('spin', { ms: 1000 });
    await context.spoken;
    expect(context.patches).toEqual([{ progress: 10, message: 'step 1' }]);
    expect(await outcome).toEqual({ kind: 'completed', result: 'spun' });
    expect(context.patches.map(({ progress }) => progress)).toEqual([
      10, 20, 30, 40, 50, 60, 70, 80, 90, 100,
    ]);
  });

  test('are checked as those of any other', async () => {
    const { outcome, context } = executor().begin('mislogs');
    const message = expect.stringContaining('not the array [no,fields].');
    expect(await outcome).toMatchObject({ kind: 'failed', error: { name: 'TypeError', message } });
    expect(context.words).toEqual([]);
  });

  test('arrive in their order, all of them, and before its end', async () => {
    const count = 5000;
    const { outcome, context } = executor().begin('turns', { count });
    expect(await outcome).toEqual({ kind: 'completed', result: 'said' });
    const expected = Array.from({ length: count }, (_, i) => [
      `line ${i + 1}`,
      { message: `after ${i + 1}` },
    ]);
    expect(context.words).toEqual(expected.flat());
  });

  test('flood nobody: 100,000 lines from a loop that never turns take little memory, and none is lost', async () => {
    const { begin } = executor({ threads: 1 });
    await begin('where').outcome;
    let lines = 0;
    let inOrder = true;
    let mostBytes = 0;
    const { outcome, context } = begin('flood', { count: 100_000, size: 2000 });
    const before = process.memoryUsage().rss;
    context.log = async (_text, fields) => {
      inOrder &&= fields?.i === ++lines;
      if (lines % 1000 === 0) mostBytes = Math.max(mostBytes, process.memoryUsage().rss - before);
      // As slow as an engine: the next turn of the loop.
      await new Promise((resolve) => setImmediate(resolve));
    };
    expect(await outcome).toEqual({ kind: 'completed', result: 'said' });
    expect([lines, inOrder]).toEqual([100_000, true]);
    expect(mostBytes, 'of 200 MB that were said').toBeLessThan(100 * 2 ** 20);
  });
});

describe('the thread of an isolated attempt', () => {
  test('that exits ends its own attempt as a death that says so, after its last words', async () => {
    const { begin } = executor();
    const other = begin('spin', { ms: 300 });
    const { outcome, context } = begin('exits', { code: 3 });
    expect(await outcome).toEqual(died(/exit code 3 .* process\.exit\(\)/));
    expect(context.words).toEqual(['one', 'two']);
    expect(await begin('where').outcome).toMatchObject({ kind: 'completed' });
    expect(await other.outcome).toMatchObject({ kind: 'completed' });
  });

  test('that runs out of memory does so, too, and says what to do', async () => {
    const { begin } = executor();
    const other = begin('spin', { ms: 300 });
    const { outcome, context } = begin('hungry');
    expect(await outcome).toEqual(died(/heap of 64 MiB \(memoryMb\): set it higher/));
    expect(context.words).toEqual(['eating']);
    expect(await other.outcome).toMatchObject({ kind: 'completed' });
  });

  test.for(['array', 'push', 'map', 'text'])(
    'that wants far more memory than it may have ends nothing but its attempt: %s',
    async (what) => {
      const { begin } = executor();
      const other = begin('spin', { ms: 300 });
      expect(await begin('hoards', what).outcome).toEqual(died(/heap of 64 MiB \(memoryMb\)/));
      expect(await other.outcome).toMatchObject({ kind: 'completed' });
    },
  );

  test('may make as much garbage as it likes', async () => {
    expect(await executor().begin('wasteful').outcome).toEqual({ kind: 'completed', result: 3 });
  });

  test('may tell its console as much as it likes', async () => {
    expect(await executor().begin('tells').outcome).toEqual({ kind: 'completed', result: 'told' });
  });

  test.for(['growth', 'work', 'exit'])(
    'is not used again when its attempt has left something running in it: %s',
    async (what) => {
      const { begin, isolation } = executor({ threads: 1 });
      const { outcome, context } = begin('leaves', what);
      expect(await outcome).toEqual({ kind: 'completed', result: 'left' });
      expect(context.words).toEqual(['leaving']);
      expect(await begin('spin', { ms: 300 }).outcome).toEqual({ kind: 'completed', result: 'spun' });
      await expect.poll(() => isolation.threads).toBe(1);
    },
  );

  test('is ended when what nobody saw to be left in it grows too large', async () => {
    const { begin, isolation } = executor();
    expect(await begin('leaves', 'growth unseen').outcome).toEqual({ kind: 'completed', result: 'left' });
    await expect.poll(() => isolation.threads, { timeout: 10_000 }).toBe(0);
    expect(await begin('where').outcome).toMatchObject({ kind: 'completed' });
  });

  test('hears of a cancel even though its loop does not turn', async () => {
    const { begin } = executor({ clock: new DrivenClock() });
    for (const task of ['heeding', 'endless']) {
      const { outcome, context } = begin(task);
      await context.spoken;
      context.abort(new AbortReason('cancel'));
      expect(await outcome).toEqual({ kind: 'cancelled' });
    }
  });

  test('is killed when it does not stop within 5 s, and its attempt has then ended as it was told to', async () => {
    const endings = [];
    for (const because of ['cancel', 'shutdown'] as const) {
      const clock = new DrivenClock();
      const { begin, isolation } = executor({ clock });
      const { outcome, context } = begin('forever');
      await context.spoken;
      context.abort(new AbortReason(because));
      await clock.pass(4999);
      expect(isolation.threads).toBe(1);
      await clock.pass(1);
      endings.push(await outcome);
      await expect.poll(() => isolation.threads).toBe(0);
      expect(await begin('where').outcome).toMatchObject({ kind: 'completed' });
    }
    expect(endings).toEqual([{ kind: 'cancelled' }, { kind: 'interrupted' }]);
  });

  test('counts its time from when its method begins, and is killed 5 s after that', async () => {
    const clock = new DrivenClock();
    const { begin, givenUp } = executor({ threads: 1, clock });
    const timedOut = { kind: 'failed', error: { name: 'TimeoutError', message: /limit of 300 ms/ } };
    const first = begin('stubborn');
    const second = begin('brief');
    await first.context.spoken;
    // The second waits for the first's thread, and for no time limit.
    await clock.pass(5299);
    await clock.pass(1);
    expect(await first.outcome).toMatchObject(timedOut);
    await second.context.spoken;
    await clock.pass(299);
    expect(second.context.signal.aborted).toBe(false);
    await clock.pass(1);
    expect(await second.outcome).toMatchObject(timedOut);
    expect(givenUp).toEqual([]);
  });

  test('is not waited for by one who is cancelled while all threads are busy', async () => {
    const { begin } = executor({ threads: 1 });
    const busy = begin('endless');
    await busy.context.spoken;
    const waiting = begin('where');
    waiting.context.abort(new AbortReason('cancel'));
    expect(await waiting.outcome).toEqual({ kind: 'cancelled' });
    busy.context.abort(new AbortReason('cancel'));
    expect(await busy.outcome).toEqual({ kind: 'cancelled' });
    expect(await begin('where').outcome).toMatchObject({ kind: 'completed' });
  });
});

describe('closing', () => {
  test('kills what is at work and lets nobody wait', async () => {
    const { begin, isolation } = executor({ threads: 1 });
    const spinning = begin('forever');
    await spinning.context.spoken;
    const waiting = begin('where');
    expect(await isolation.close()).toBe(true);
    expect(await spinning.outcome).toEqual({ kind: 'interrupted' });
    expect(await waiting.outcome).toEqual({ kind: 'interrupted' });
    expect(await begin('where').outcome).toEqual({ kind: 'interrupted' });
    expect(isolation.threads).toBe(0);
  });

  test('says when a thread is inside of a call that no kill reaches', async () => {
    const { begin, isolation } = executor({ threads: 1 });
    const scratch = mkdtempSync(join(tmpdir(), 'spyglass-test-'));
    onTestFinished(() => rmSync(scratch, { recursive: true }));
    const gate = join(scratch, 'gate');
    const frozen = begin('frozen', { gate, seconds: 4 });
    await expect.poll(() => existsSync(gate)).toBe(true);
    expect(await isolation.close()).toBe(false);
    expect(await frozen.outcome).toEqual({ kind: 'interrupted' });
    await expect.poll(() => isolation.threads, { timeout: 10_000 }).toBe(0);
  });
});
