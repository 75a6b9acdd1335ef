/** What a clock does to runs that is set to another time. */
import { describe, expect, test } from 'vitest';
import { defaultRetries } from '../../../src/policy.ts';
import { TaskStatus } from '../../../src/run.ts';
import { DrivenClock } from '../../fixtures/drivenClock.ts';
import { Bench, type EngineFactory, expectSoundHistory, Gate, modes } from '../harness.ts';

const { PENDING, STARTING, PROCESSING, COMPLETED, ERROR } = TaskStatus;

const hourMs = 3_600_000;

export function clockJumps(factory: EngineFactory): void {
  describe('a clock that is set', () => {
    for (const [jump, byMs] of [
      ['forward', hourMs],
      ['back', -hourMs],
    ] as const) {
      test(`${jump} by an hour takes no run from its attempt`, async () => {
        const clock = new DrivenClock();
        const gate = new Gate();
        const policy = { expiresInMs: 1000, rateLimit: { max: 5, perMs: 1000 } };
        const bench = await Bench.open(factory.home(), gate.execute, {
          clock,
          policies: { limited: policy },
        });
        const ids: string[] = [];
        for (const task of ['ok', 'limited']) ids.push((await bench.start(task)).snapshot.task_id);
        await gate.leasedCount(2);
        await bench.setClock(byMs);
        await bench.pass(2000);
        for (const id of ids) {
          gate.contexts.get(id)?.update({ progress: 50 });
          expect(await bench.status(id, PROCESSING)).toMatchObject({ attempt: 1 });
          expect(gate.contexts.get(id)?.signal.aborted).toBe(false);
        }
        expect(gate.leased).toHaveLength(2);
        for (const id of ids) {
          gate.end(id);
          expect(await bench.end(id)).toMatchObject({ status: COMPLETED, attempt: 1 });
          expectSoundHistory(await bench.history(id));
        }
      });

      test(`${jump} by an hour leaves new starts as they are`, async () => {
        const clock = new DrivenClock();
        const bench = await Bench.open(factory.home(), modes, { clock });
        await bench.start('ok', { runAt: clock.now() + 60_000 });
        await bench.setClock(byMs);
        const { snapshot } = await bench.start('ok');
        expect(snapshot).toMatchObject({ status: STARTING, seq: 2 });
        await bench.end(snapshot.task_id);
      });
    }

    test('back by an hour begins nothing before the time it was told, and nothing is stuck', async () => {
      const clock = new DrivenClock();
      const retries = { ...defaultRetries, attempts: 2, jitter: 'none' as const, delayMs: 10_000 };
      const bench = await Bench.open(
        factory.home(),
        async ({ task, attempt }) =>
          task === 'flaky' && attempt === 1
            ? { kind: 'failed', error: { name: 'Error', message: 'once' } }
            : { kind: 'completed', result: null },
        { clock, policy: { retries } },
      );
      const due = clock.now() + 10_000;
      const delayed = (await bench.start('ok', { runAt: due })).snapshot.task_id;
      const flaky = (await bench.start('flaky')).snapshot.task_id;
      await bench.settle();
      await bench.setClock(-hourMs);
      await bench.setClock(hourMs - 9000);
      for (const id of [delayed, flaky]) expect(await bench.read(id)).toMatchObject({ status: PENDING });
      await bench.pass(16_000);
      for (const id of [delayed, flaky]) {
        expect(await bench.end(id)).toMatchObject({ status: COMPLETED });
        const began = bench
          .told(id)
          .filter(({ status }) => status === STARTING)
          .at(-1);
        expect(Date.parse(began?.timestamp as string)).toBeGreaterThanOrEqual(due);
      }
    });

    test('forward by an hour begins what is then due, within a second', async () => {
      const clock = new DrivenClock();
      const bench = await Bench.open(factory.home(), modes, { clock });
      const { task_id: id } = (await bench.start('ok', { runAt: clock.now() + hourMs })).snapshot;
      await bench.settle();
      clock.wallTime += hourMs;
      // The clock tells nobody that it was set.
      await bench.pass(1000);
      expect(await bench.read(id)).toMatchObject({ status: COMPLETED });
    });

    test('back by an hour does not hold a task up that is limited in its rate', async () => {
      const clock = new DrivenClock();
      const home = factory.home();
      const settings = { clock, policies: { ok: { rateLimit: { max: 2, perMs: 5000 } } } };
      const bench = await Bench.open(home, modes, settings);
      const runs = await bench.startAll(Array.from({ length: 8 }, () => bench.request('ok')));
      await bench.settle();
      const ended = () =>
        runs.filter(({ snapshot }) => bench.told(snapshot.task_id).at(-1)?.status === COMPLETED).length;
      expect(ended()).toBe(2);
      clock.wallTime -= hourMs;
      await bench.pass(3000);
      expect(ended()).toBe(2);
      await bench.pass(4000);
      expect(ended()).toBe(4);
      await bench.pass(5000);
      expect(ended()).toBe(6);
      // And not by what is remembered of it either.
      const next = home.crash();
      clock.wallTime -= hourMs;
      const after = await Bench.open(next, modes, settings);
      await after.settle();
      await after.pass(7000);
      await after.pass(5000);
      expect(after.engine.counts()).toEqual({ pending: 0, running: 0 });
    });

    test('back by an hour ends a waiting run when it expires by the clock, and not before', async () => {
      const clock = new DrivenClock();
      const gate = new Gate();
      const bench = await Bench.open(factory.home(), gate.execute, {
        clock,
        concurrency: 1,
        policies: { brief: { expiresInMs: 10_000 } },
      });
      const busy = (await bench.start('ok')).snapshot.task_id;
      const brief = (await bench.start('brief')).snapshot.task_id;
      await bench.setClock(-hourMs);
      expect(await bench.read(brief)).toMatchObject({ status: PENDING });
      await bench.setClock(hourMs + 10_000);
      expect(await bench.end(brief)).toMatchObject({ status: ERROR });
      gate.end(busy);
      await bench.end(busy);
    });

    test('back and forth does not end runs by a crash loop: a start after each finds all as it was', async () => {
      const clock = new DrivenClock();
      let home = factory.home();
      const first = await Bench.open(home, null, { clock });
      const { task_id: id } = (await first.start('ok')).snapshot;
      for (const byMs of [-hourMs, 2 * hourMs, -3 * hourMs]) {
        home = home.crash();
        clock.wallTime += byMs;
        const next = await Bench.open(home, null, { clock });
        expect(await next.read(id)).toMatchObject({ status: PENDING, attempt: 0, seq: 1 });
      }
      const last = await Bench.open(home.crash(), modes, { clock });
      expect(await last.end(id)).toMatchObject({ status: COMPLETED, attempt: 1 });
    });
  });
}
