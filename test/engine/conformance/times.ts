/** What is to begin at a time, and what is not to begin after one. */
import { describe, expect, test } from 'vitest';
import type { Execute } from '../../../src/engine.ts';
import { defaultRetries } from '../../../src/policy.ts';
import { TaskStatus } from '../../../src/run.ts';
import { DrivenClock } from '../../fixtures/drivenClock.ts';
import { Bench, type EngineFactory, expectSoundHistory, Gate, modes } from '../harness.ts';

const { PENDING, STARTING, COMPLETED, ERROR, CANCELLED } = TaskStatus;

const hourMs = 3_600_000;
const iso = (time: number) => new Date(time).toISOString();

export function times(factory: EngineFactory): void {
  describe('delays', () => {
    test('begins a run when its time has come, and not before', async () => {
      const clock = new DrivenClock();
      const bench = await Bench.open(factory.home(), modes, { clock });
      const runAt = clock.now() + 10_000;
      const { snapshot } = await bench.start('ok', { runAt });
      const { task_id: id } = snapshot;
      const waits = { status: PENDING, attempt: 0, position: null, starts_at: iso(runAt), ends_at: null };
      expect(snapshot).toMatchObject(waits);
      await bench.settle();
      expect(await bench.read(id)).toEqual(snapshot);
      expect(bench.told(id)).toMatchObject([{ seq: 1, status: PENDING, starts_at: iso(runAt) }]);
      await bench.pass(9999);
      expect(await bench.read(id)).toMatchObject(waits);
      await bench.pass(1);
      expect(await bench.end(id)).toMatchObject({ status: COMPLETED, attempt: 1, seq: 3 });
      expect((await bench.history(id)).map(({ snapshot }) => snapshot)).toEqual(bench.told(id));
    });

    test('begins a run at once whose time has passed', async () => {
      const clock = new DrivenClock();
      const bench = await Bench.open(factory.home(), modes, { clock });
      for (const runAt of [0, clock.now() - 1, clock.now()]) {
        const { snapshot } = await bench.start('ok', { runAt });
        expect(snapshot).toMatchObject({ status: STARTING, seq: 2 });
        expect(snapshot).not.toHaveProperty('starts_at');
      }
    });

    test('remembers the time through a crash, and begins then what came due meanwhile', async () => {
      const clock = new DrivenClock();
      const home = factory.home();
      const bench = await Bench.open(home, modes, { clock });
      const soon = (await bench.start('ok', { runAt: clock.now() + 1000 })).snapshot;
      const late = (await bench.start('ok', { runAt: clock.now() + hourMs })).snapshot;
      const next = home.crash();
      clock.wallTime += 60_000;
      const after = await Bench.open(next, modes, { clock });
      expect(await after.end(soon.task_id)).toMatchObject({ status: COMPLETED });
      expect(await after.read(late.task_id)).toEqual(late);
      await after.setClock(hourMs);
      expect(await after.end(late.task_id)).toMatchObject({ status: COMPLETED });
    });

    test('begins what has come due while there was no room, as soon as there is', async () => {
      const clock = new DrivenClock();
      const gate = new Gate();
      const bench = await Bench.open(factory.home(), gate.execute, { clock, concurrency: 1 });
      const busy = (await bench.start('ok')).snapshot.task_id;
      const runAt = clock.now() + 5000;
      const delayed = (await bench.start('ok', { runAt })).snapshot.task_id;
      await bench.pass(6000);
      expect(await bench.read(delayed)).toMatchObject({ status: PENDING, position: 1 });
      gate.end(busy);
      await gate.leasedCount(2);
      gate.end(delayed);
      await bench.end(delayed);
    });

    test('begins all of many that come due at once, however few may run at once', async () => {
      const clock = new DrivenClock();
      const bench = await Bench.open(factory.home(), modes, { clock, concurrency: 7 });
      const runAt = clock.now() + 5000;
      const runs = await bench.startAll(Array.from({ length: 3000 }, () => bench.request('ok', { runAt })));
      await bench.pass(4999);
      expect(bench.events).toHaveLength(3000);
      await bench.pass(1);
      for (let seconds = 0; bench.engine.counts().pending > 0 && seconds < 100; seconds++) {
        await bench.settle();
        await bench.pass(10);
      }
      for (const { snapshot } of runs) await bench.end(snapshot.task_id);
      const began = bench.events.filter(({ snapshot }) => snapshot.status === STARTING);
      expect(began).toHaveLength(3000);
      expect(began.every(({ snapshot }) => Date.parse(snapshot.timestamp) >= runAt)).toBe(true);
      await bench.settle();
      expect(bench.engine.counts()).toEqual({ pending: 0, running: 0 });
    });

    test('lets starts through while many are delayed', async () => {
      const clock = new DrivenClock();
      const bench = await Bench.open(factory.home(), modes, { clock });
      const runAt = clock.now() + hourMs;
      await bench.startAll(Array.from({ length: 5000 }, () => bench.request('ok', { runAt })));
      await bench.settle();
      expect((await bench.start('ok')).snapshot).toMatchObject({ status: STARTING, seq: 2 });
      expect(bench.engine.counts().pending).toBe(5000);
    });
  });

  describe('expiry', () => {
    test('ends a run that has not begun in time, while there is no room for it', async () => {
      const clock = new DrivenClock();
      const gate = new Gate();
      const bench = await Bench.open(factory.home(), gate.execute, {
        clock,
        concurrency: 1,
        policies: { brief: { expiresInMs: 10_000 } },
      });
      const busy = (await bench.start('ok')).snapshot.task_id;
      const brief = (await bench.start('brief')).snapshot.task_id;
      await bench.settle();
      await bench.pass(9999);
      expect(await bench.read(brief)).toMatchObject({ status: PENDING });
      await bench.pass(1);
      expect(await bench.end(brief)).toMatchObject({
        status: ERROR,
        attempt: 0,
        error: { name: 'ExpiredError', message: expect.stringContaining('10000 ms') },
      });
      expect(bench.engine.counts()).toEqual({ pending: 0, running: 1 });
      gate.end(busy);
      await bench.settle();
      expect(gate.leased).toHaveLength(1);
      expect(await bench.read(brief)).toMatchObject({ status: ERROR });
      expectSoundHistory(await bench.history(brief));
    });

    test('counts from when a delayed run is due', async () => {
      const clock = new DrivenClock();
      const bench = await Bench.open(factory.home(), null, { clock, policy: { expiresInMs: 5000 } });
      const { task_id: id } = (await bench.start('ok', { runAt: clock.now() + 5000 })).snapshot;
      clock.wallTime += 9000;
      bench.engine.start(modes);
      await bench.pass(500);
      expect(await bench.end(id)).toMatchObject({ status: COMPLETED });
    });

    test('never begins a run late: not after a crash, not after a pause', async () => {
      const clock = new DrivenClock();
      const home = factory.home();
      const policy = { expiresInMs: 5000 };
      const bench = await Bench.open(home, null, { clock, policy });
      const { task_id: id } = (await bench.start('ok')).snapshot;
      const next = home.crash();
      clock.wallTime += 5000;
      const after = await Bench.open(next, modes, { clock, policy });
      expect(await after.end(id)).toMatchObject({ status: ERROR, attempt: 0 });
      await after.engine.setMode({ state: 'lab' }, 'pause');
      const paused = (await after.start('ok')).snapshot.task_id;
      await after.pass(6000);
      expect(await after.end(paused)).toMatchObject({ status: ERROR, attempt: 0 });
    });

    test('does not end a run that has begun: not while it runs, not between its attempts, not after a crash', async () => {
      const clock = new DrivenClock();
      const home = factory.home();
      const retries = { ...defaultRetries, attempts: 2, delayMs: 60_000, maxDelayMs: 60_000 };
      const policy = { expiresInMs: 5000, retries: { ...retries, jitter: 'none' as const } };
      const gate = new Gate();
      const bench = await Bench.open(home, gate.execute, { clock, policy });
      const leased = (await bench.start('ok', { priority: 1 })).snapshot.task_id;
      const limited = (await bench.start('ok')).snapshot.task_id;
      await gate.leasedCount(2);
      await bench.pass(20_000);
      gate.end(leased, { kind: 'failed', error: { name: 'Error', message: 'once' } });
      await bench.settle();
      await bench.pass(20_000);
      expect(await bench.read(leased)).toMatchObject({ status: PENDING, attempt: 1 });
      const after = await Bench.open(home.crash(), modes, { clock, policy });
      expect(await after.end(limited)).toMatchObject({ status: COMPLETED, attempt: 2 });
      await after.setClock(60_000);
      expect(await after.end(leased)).toMatchObject({ status: COMPLETED, attempt: 2 });
    });

    test('begins none of many that expire at once, and those in time', async () => {
      const clock = new DrivenClock();
      const execute: Execute = async () => ({ kind: 'completed', result: null });
      const bench = await Bench.open(factory.home(), null, {
        clock,
        concurrency: 50,
        policies: { brief: { expiresInMs: 5000 } },
      });
      const brief = await bench.startAll(Array.from({ length: 2500 }, () => bench.request('brief')));
      const patient = await bench.startAll(Array.from({ length: 100 }, () => bench.request('ok')));
      clock.wallTime += 5000;
      bench.engine.start(execute);
      for (let seconds = 0; bench.engine.counts().pending > 0 && seconds < 50; seconds++)
        await bench.pass(1000);
      for (const { snapshot } of brief) {
        expect(await bench.end(snapshot.task_id)).toMatchObject({ status: ERROR, attempt: 0 });
      }
      for (const { snapshot } of patient) {
        expect(await bench.end(snapshot.task_id)).toMatchObject({ status: COMPLETED });
      }
      await bench.settle();
      expect(bench.engine.counts()).toEqual({ pending: 0, running: 0 });
    });

    test('ends a delayed run by a cancel, and never again by its time', async () => {
      const clock = new DrivenClock();
      const bench = await Bench.open(factory.home(), modes, { clock, policy: { expiresInMs: 1000 } });
      const { task_id: id } = (await bench.start('ok', { runAt: clock.now() + 1000 })).snapshot;
      expect(await bench.engine.cancel(id)).toMatchObject({ run: { snapshot: { status: CANCELLED } } });
      await bench.setClock(10_000);
      expect(await bench.read(id)).toMatchObject({ status: CANCELLED, seq: 2 });
      expect(bench.engine.counts()).toEqual({ pending: 0, running: 0 });
    });
  });
}
