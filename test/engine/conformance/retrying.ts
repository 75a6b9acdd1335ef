/** How a failed attempt is followed by another, and what is not one. */
import { describe, expect, test } from 'vitest';
import type { Execute } from '../../../src/engine.ts';
import { defaultRetries, type Retries } from '../../../src/policy.ts';
import { type Outcome, TaskStatus } from '../../../src/run.ts';
import { DrivenClock } from '../../fixtures/drivenClock.ts';
import { Bench, type EngineFactory, expectSoundHistory, Gate, untilAborted } from '../harness.ts';

const { PENDING, STARTING, PROCESSING, COMPLETED, ERROR, CANCELLED } = TaskStatus;

const everySecond: Retries = { ...defaultRetries, attempts: 3, backoff: 'fixed', jitter: 'none' };

const failure = (message: string, retry?: Extract<Outcome, { kind: 'failed' }>['retry']): Outcome => ({
  kind: 'failed',
  error: { name: 'Error', message },
  ...(retry !== undefined && { retry }),
});

/** Fails with the number of its attempt, except where it is told otherwise. */
function failing(outcomes: Record<number, Outcome> = {}): Execute {
  return async ({ attempt }) => outcomes[attempt] ?? failure(`failure ${attempt}`);
}

const iso = (time: number) => new Date(time).toISOString();

export function retrying(factory: EngineFactory): void {
  describe('retrying', () => {
    test('tries again after the wait, until there are no attempts left', async () => {
      const clock = new DrivenClock();
      const bench = await Bench.open(factory.home(), failing(), { clock, policy: { retries: everySecond } });
      const from = clock.now();
      const { task_id: id } = (await bench.start('ok')).snapshot;
      await bench.settle();
      await bench.pass(999);
      expect(await bench.read(id)).toMatchObject({ status: PENDING, attempt: 1 });
      await bench.pass(1);
      expect(await bench.read(id)).toMatchObject({ status: PENDING, attempt: 2 });
      await bench.pass(1000);
      expect(await bench.end(id)).toMatchObject({
        status: ERROR,
        attempt: 3,
        error: { message: 'failure 3' },
      });
      const told = bench
        .told(id)
        .map(({ status, attempt, error, starts_at }) => [status, attempt, error?.message, starts_at]);
      expect(told).toEqual([
        [PENDING, 0, undefined, undefined],
        [STARTING, 1, undefined, undefined],
        [PENDING, 1, 'failure 1', iso(from + 1000)],
        [STARTING, 2, undefined, undefined],
        [PENDING, 2, 'failure 2', iso(from + 2000)],
        [STARTING, 3, undefined, undefined],
        [ERROR, 3, 'failure 3', undefined],
      ]);
      const history = await bench.history(id);
      expect(history.map(({ snapshot }) => snapshot)).toEqual(bench.told(id));
      expectSoundHistory(history);
    });

    test('says of a run that waits for its next attempt why the last one failed, and when it is due', async () => {
      const clock = new DrivenClock();
      const bench = await Bench.open(factory.home(), failing(), { clock, policy: { retries: everySecond } });
      const { task_id: id } = (await bench.start('ok')).snapshot;
      await bench.settle();
      const due = iso(clock.now() + 1000);
      const waits = {
        status: PENDING,
        attempt: 1,
        error: { name: 'Error', message: 'failure 1' },
        position: null,
        starts_at: due,
        ends_at: null,
      };
      expect(await bench.read(id)).toMatchObject(waits);
      expect(await bench.standing(id)).toEqual({ position: null, starts_at: due, ends_at: null });
      expect((await bench.engine.history(id, 0))?.run.snapshot).toMatchObject({
        status: PENDING,
        starts_at: due,
      });
    });

    test('begins the next attempt anew', async () => {
      const gate = new Gate();
      const clock = new DrivenClock();
      const bench = await Bench.open(factory.home(), gate.execute, {
        clock,
        policy: { retries: everySecond },
      });
      const { task_id: id } = (await bench.start('ok')).snapshot;
      await gate.leasedCount(1);
      gate.contexts.get(id)?.update({ progress: 70, message: 'nearly', result: { half: true } });
      await bench.status(id, PROCESSING);
      gate.end(id, failure('first'));
      await bench.settle();
      await bench.pass(1000);
      await gate.leasedCount(2);
      expect(await bench.read(id)).toMatchObject({
        status: STARTING,
        attempt: 2,
        progress: 0,
        message: null,
        result: null,
        error: null,
      });
      gate.end(id);
      expect(await bench.end(id)).toMatchObject({ status: COMPLETED, attempt: 2, error: null });
    });

    test('doubles an exponential wait up to its most', async () => {
      const clock = new DrivenClock();
      const retries: Retries = {
        attempts: 6,
        backoff: 'exponential',
        delayMs: 1000,
        maxDelayMs: 5000,
        jitter: 'none',
      };
      const bench = await Bench.open(factory.home(), failing(), { clock, policy: { retries } });
      const { task_id: id } = (await bench.start('ok')).snapshot;
      await bench.settle();
      await bench.pass(20_000);
      await bench.end(id);
      const waits = bench
        .told(id)
        .filter(({ starts_at }) => starts_at)
        .map(({ starts_at, timestamp }) => Date.parse(starts_at as string) - Date.parse(timestamp));
      expect(waits).toEqual([1000, 2000, 4000, 5000, 5000]);
    });

    test('takes what the attempt says of the next one for its wait, but for no further attempt', async () => {
      const clock = new DrivenClock();
      const execute = failing({
        1: failure('busy', { afterMs: 20_000 }),
        3: failure('busy', { afterMs: 1 }),
      });
      const bench = await Bench.open(factory.home(), execute, { clock, policy: { retries: everySecond } });
      const { task_id: id } = (await bench.start('ok')).snapshot;
      await bench.settle();
      await bench.pass(19_999);
      expect(await bench.read(id)).toMatchObject({ status: PENDING, attempt: 1 });
      await bench.pass(1);
      expect(await bench.read(id)).toMatchObject({ status: PENDING, attempt: 2 });
      await bench.pass(1000);
      expect(await bench.end(id)).toMatchObject({ status: ERROR, attempt: 3 });
    });

    test('ends a run at once that is not to be tried again', async () => {
      const execute = failing({ 1: failure('hopeless', 'never') });
      const bench = await Bench.open(factory.home(), execute, { policy: { retries: everySecond } });
      const { task_id: id } = (await bench.start('ok')).snapshot;
      expect(await bench.end(id)).toMatchObject({
        status: ERROR,
        attempt: 1,
        error: { message: 'hopeless' },
      });
    });

    test('tries again at once where there is no wait, and loses hold of none', async () => {
      const retries: Retries = { ...everySecond, attempts: 3, delayMs: 0 };
      const attempts = new Map<string, number>();
      const bench = await Bench.open(
        factory.home(),
        (run, attempt) => {
          attempts.set(run.id, run.attempt);
          return run.attempt < 3 ? Promise.resolve(failure('again')) : untilAborted(attempt);
        },
        { policy: { retries } },
      );
      const runs = await bench.startAll(Array.from({ length: 300 }, () => bench.request('ok')));
      await expect
        .poll(() => [...attempts.values()].filter((attempt) => attempt === 3).length, { timeout: 10_000 })
        .toBe(100);
      expect(bench.engine.counts()).toEqual({ pending: 200, running: 100 });
      // Each is found by its cancel.
      expect(await bench.engine.cancelAll({})).toBe(300);
      for (const { snapshot } of runs) {
        expect(await bench.end(snapshot.task_id)).toMatchObject({ status: CANCELLED });
      }
      await bench.settle();
      expect(bench.engine.counts()).toEqual({ pending: 0, running: 0 });
    });

    test('does not try again what was cancelled while it ran', async () => {
      const gate = new Gate();
      const bench = await Bench.open(factory.home(), gate.execute, { policy: { retries: everySecond } });
      const { task_id: id } = (await bench.start('ok')).snapshot;
      await gate.leasedCount(1);
      await bench.engine.cancel(id);
      gate.end(id, failure('something else'));
      expect(await bench.end(id)).toMatchObject({
        status: ERROR,
        attempt: 1,
        error: { message: 'something else' },
      });
    });

    test('ends a run at once that is cancelled while it waits for its next attempt', async () => {
      const clock = new DrivenClock();
      const bench = await Bench.open(factory.home(), failing(), { clock, policy: { retries: everySecond } });
      const { task_id: id } = (await bench.start('ok')).snapshot;
      await bench.settle();
      expect(await bench.engine.cancel(id)).toMatchObject({
        kind: 'accepted',
        run: { snapshot: { status: CANCELLED, attempt: 1, error: null } },
      });
      await bench.pass(10_000);
      expect(await bench.end(id)).toMatchObject({ status: CANCELLED, attempt: 1 });
      expect(bench.engine.counts()).toEqual({ pending: 0, running: 0 });
      expectSoundHistory(await bench.history(id));
    });

    test('ends a run that is cancelled in the moment in which its attempt fails', async () => {
      const clock = new DrivenClock();
      const gate = new Gate();
      const bench = await Bench.open(factory.home(), gate.execute, {
        clock,
        policy: { retries: everySecond },
      });
      const runs = await bench.startAll(Array.from({ length: 20 }, () => bench.request('ok')));
      const ids = runs.map(({ snapshot }) => snapshot.task_id);
      await gate.leasedCount(20);
      const answers = await Promise.all(
        ids.map(async (id, place) => {
          gate.end(id, failure('now'));
          for (let turn = 0; turn < place % 5; turn++) await Promise.resolve();
          return bench.engine.cancel(id);
        }),
      );
      await bench.settle();
      await bench.pass(5000);
      expect(gate.leased).toHaveLength(20);
      for (const [place, id] of ids.entries()) {
        const { status } = await bench.end(id);
        expect([CANCELLED, ERROR]).toContain(status);
        expect(answers[place]?.kind).toBe('accepted');
      }
    });

    test('remembers the wait, the reason and the failures through a crash', async () => {
      const clock = new DrivenClock();
      const home = factory.home();
      const settings = { clock, policy: { retries: everySecond } };
      const bench = await Bench.open(home, failing(), settings);
      const { task_id: id } = (await bench.start('ok')).snapshot;
      await bench.settle();
      const before = await bench.read(id);
      expect(before).toMatchObject({ status: PENDING, attempt: 1, error: { message: 'failure 1' } });
      const next = home.crash();
      const after = await Bench.open(next, failing(), settings);
      await after.settle();
      expect(await after.read(id)).toEqual(before);
      expect((await after.history(id)).map(({ snapshot }) => snapshot)).toEqual(bench.told(id));
      await after.pass(1000);
      expect(await after.read(id)).toMatchObject({ status: PENDING, attempt: 2 });
      const last = await Bench.open(next.crash(), failing(), settings);
      await last.pass(1000);
      expect(await last.end(id)).toMatchObject({ status: ERROR, attempt: 3 });
      expectSoundHistory(await last.history(id));
    });

    test('counts neither deaths of the process nor hand-backs of a stop as failures', async () => {
      const clock = new DrivenClock();
      let home = factory.home();
      const settings = { clock, policy: { retries: { ...everySecond, attempts: 2 } } };
      const hang: Execute = (_run, attempt) => untilAborted(attempt);
      const first = await Bench.open(home, hang, settings);
      const { task_id: id } = (await first.start('ok')).snapshot;
      await first.settle();
      home = home.crash();
      const second = await Bench.open(home, hang, settings);
      await second.settle();
      expect(await second.read(id)).toMatchObject({ status: STARTING, attempt: 2 });
      await second.close();
      const third = await Bench.open(
        home,
        failing({ 3: failure('one'), 4: { kind: 'completed', result: 4 } }),
        settings,
      );
      await third.settle();
      expect(await third.read(id)).toMatchObject({ status: PENDING, attempt: 3, error: { message: 'one' } });
      await third.pass(1000);
      expect(await third.end(id)).toMatchObject({ status: COMPLETED, attempt: 4, result: 4 });
      expectSoundHistory(await third.history(id));
    });

    test('counts a thread that died as a death, three of which end the run', async () => {
      const died: Execute = async ({ attempt }) => ({
        kind: 'died',
        error: { name: 'ThreadDiedError', message: `It died in attempt ${attempt}.` },
      });
      const bench = await Bench.open(factory.home(), died);
      const { task_id: id } = (await bench.start('ok')).snapshot;
      expect(await bench.end(id)).toMatchObject({
        status: ERROR,
        attempt: 3,
        error: {
          name: 'ThreadDiedError',
          message: expect.stringMatching(/^It died in attempt 3\. .*3 times/),
        },
      });
      const waits = bench.told(id).filter(({ status, attempt }) => status === PENDING && attempt > 0);
      expect(waits.map(({ error }) => error?.message)).toEqual([
        'It died in attempt 1.',
        'It died in attempt 2.',
      ]);
      expectSoundHistory(await bench.history(id));
    });

    test('adds up deaths of threads and of the process', async () => {
      let home = factory.home();
      const dying: Execute = ({ attempt }, context) =>
        attempt === 1
          ? Promise.resolve({ kind: 'died', error: { name: 'ThreadDiedError', message: 'It died.' } })
          : untilAborted(context);
      const first = await Bench.open(home, dying);
      const { task_id: id } = (await first.start('ok')).snapshot;
      await first.event(({ snapshot }) => snapshot.attempt === 2);
      home = home.crash();
      const second = await Bench.open(home, dying);
      await second.event(({ snapshot }) => snapshot.attempt === 3);
      const third = await Bench.open(home.crash(), dying);
      expect(await third.read(id)).toMatchObject({
        status: ERROR,
        attempt: 3,
        error: { name: 'ProcessDiedError' },
      });
    });

    test('ends a run with the first death of its thread where the author wants that', async () => {
      const died: Execute = async () => ({ kind: 'died', error: { name: 'E', message: 'It died.' } });
      const bench = await Bench.open(factory.home(), died, {
        policy: { onCrash: 'fail', retries: everySecond },
      });
      const { task_id: id } = (await bench.start('ok')).snapshot;
      expect(await bench.end(id)).toMatchObject({ status: ERROR, attempt: 1, error: { name: 'E' } });
    });

    test('cancels a run whose thread dies after a cancel', async () => {
      const gate = new Gate();
      const bench = await Bench.open(factory.home(), gate.execute);
      const { task_id: id } = (await bench.start('ok')).snapshot;
      await gate.leasedCount(1);
      await bench.engine.cancel(id);
      gate.end(id, { kind: 'died', error: { name: 'E', message: 'It was killed.' } });
      expect(await bench.end(id)).toMatchObject({ status: CANCELLED, attempt: 1 });
    });

    test('has retry_of on every event of a run that does another one again, also after a crash', async () => {
      const clock = new DrivenClock();
      const home = factory.home();
      const retryOf = 'a'.repeat(22);
      const settings = { clock, policy: { retries: { ...everySecond, attempts: 2 } } };
      const talking: Execute = async (_run, attempt) => {
        attempt.log('a line', undefined);
        attempt.update({ progress: 10 });
        return failure('again');
      };
      const bench = await Bench.open(home, talking, settings);
      const { task_id: id } = (await bench.start('ok', { retryOf })).snapshot;
      await bench.settle();
      const after = await Bench.open(home.crash(), talking, settings);
      await after.pass(1000);
      await after.end(id);
      const all = [...(await after.history(id)), ...bench.events, ...after.events];
      expect(all.length).toBeGreaterThan(12);
      expect(new Set(all.map(({ snapshot }) => snapshot.retry_of))).toEqual(new Set([retryOf]));
      expect((await after.read(id)).retry_of).toBe(retryOf);
      expectSoundHistory(await after.history(id));
    });
  });
}
