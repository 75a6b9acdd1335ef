/** What an admin decides: pauses, drains, and the end of all that match. */
import { describe, expect, test } from 'vitest';
import { DrainedError, KeyConflictError } from '../../../src/engine.ts';
import { defaultRetries } from '../../../src/policy.ts';
import { TaskStatus } from '../../../src/run.ts';
import { DrivenClock } from '../../fixtures/drivenClock.ts';
import { Bench, type EngineFactory, Gate, modes } from '../harness.ts';

const { PENDING, STARTING, COMPLETED, CANCELLED } = TaskStatus;

export function adminModes(factory: EngineFactory): void {
  describe('a pause', () => {
    test('of a task takes its starts, and lets them wait until it is over', async () => {
      const bench = await Bench.open(factory.home());
      await bench.engine.setMode({ state: 'lab', task: 'ok' }, 'pause');
      const { snapshot } = await bench.start('ok');
      expect(snapshot).toMatchObject({
        status: PENDING,
        attempt: 0,
        seq: 1,
        position: 1,
        starts_at: null,
        ends_at: null,
      });
      await bench.settle();
      const other = (await bench.start('echo', { input: 1 })).snapshot;
      expect(other).toMatchObject({ status: STARTING });
      await bench.end(other.task_id);
      await bench.settle();
      expect(await bench.read(snapshot.task_id)).toMatchObject({ status: PENDING });
      await bench.engine.setMode({ state: 'lab', task: 'ok' }, 'run');
      expect(await bench.end(snapshot.task_id)).toMatchObject({ status: COMPLETED });
      await bench.settle();
      expect((await bench.start('ok')).snapshot).toMatchObject({ status: STARTING, seq: 2 });
    });

    test('holds for a start that comes with it', async () => {
      const bench = await Bench.open(factory.home());
      const paused = bench.engine.setMode({ state: 'lab' }, 'pause');
      const { snapshot } = await bench.start('ok');
      await paused;
      expect(snapshot).toMatchObject({ status: PENDING, position: 1 });
      await bench.engine.setMode({ state: 'lab' }, 'run');
      expect(await bench.end(snapshot.task_id)).toMatchObject({ status: COMPLETED });
    });

    test('lets what is at work end, and no next attempt begin', async () => {
      const clock = new DrivenClock();
      const gate = new Gate();
      const retries = { ...defaultRetries, attempts: 2, jitter: 'none' as const };
      const bench = await Bench.open(factory.home(), gate.execute, { clock, policy: { retries } });
      const fine = (await bench.start('ok')).snapshot.task_id;
      const failing = (await bench.start('ok')).snapshot.task_id;
      await gate.leasedCount(2);
      await bench.engine.setMode({ state: 'lab' }, 'pause');
      gate.end(fine);
      gate.end(failing, { kind: 'failed', error: { name: 'Error', message: 'once' } });
      expect(await bench.end(fine)).toMatchObject({ status: COMPLETED });
      await bench.settle();
      await bench.pass(5000);
      expect(await bench.read(failing)).toMatchObject({ status: PENDING, attempt: 1, position: 1 });
      expect(gate.leased).toHaveLength(2);
      await bench.engine.setMode({ state: 'lab' }, 'run');
      await gate.leasedCount(3);
      gate.end(failing);
      expect(await bench.end(failing)).toMatchObject({ status: COMPLETED, attempt: 2 });
    });

    test('of a state and of a task hold each for itself', async () => {
      const bench = await Bench.open(factory.home());
      const lab = { state: 'lab' };
      const ok = { state: 'lab', task: 'ok' };
      await bench.engine.setMode(lab, 'pause');
      await bench.engine.setMode(ok, 'pause');
      const waiting = (await bench.start('ok')).snapshot.task_id;
      const elsewhere = (await bench.start('ok', { state: 'other' })).snapshot.task_id;
      await bench.end(elsewhere);
      await bench.engine.setMode(lab, 'run');
      await bench.settle();
      expect(await bench.read(waiting)).toMatchObject({ status: PENDING });
      await bench.engine.setMode(lab, 'pause');
      await bench.engine.setMode(ok, 'run');
      await bench.settle();
      expect(await bench.read(waiting)).toMatchObject({ status: PENDING });
      await bench.engine.setMode(lab, 'run');
      await bench.end(waiting);
      expect(bench.engine.modes()).toEqual([]);
    });

    test('holds through a crash and a restart', async () => {
      const home = factory.home();
      const bench = await Bench.open(home);
      await bench.engine.setMode({ state: 'lab', task: 'ok' }, 'pause');
      await bench.engine.setMode({ state: 'other' }, 'drain');
      const { task_id: id } = (await bench.start('ok')).snapshot;
      const next = home.crash();
      const after = await Bench.open(next);
      expect(after.engine.modes()).toEqual([
        { scope: { state: 'lab', task: 'ok' }, mode: 'pause' },
        { scope: { state: 'other' }, mode: 'drain' },
      ]);
      await after.settle();
      expect(await after.read(id)).toMatchObject({ status: PENDING, attempt: 0 });
      await after.close();
      const last = await Bench.open(next);
      await last.settle();
      expect(await last.read(id)).toMatchObject({ status: PENDING });
      await last.engine.setMode({ state: 'lab', task: 'ok' }, 'run');
      expect(await last.end(id)).toMatchObject({ status: COMPLETED });
    });

    test('leaves a run that waits for a time waiting for its turn when the time has come', async () => {
      const clock = new DrivenClock();
      const bench = await Bench.open(factory.home(), modes, { clock });
      await bench.engine.setMode({ state: 'lab' }, 'pause');
      const { task_id: id } = (await bench.start('ok', { runAt: clock.now() + 1000 })).snapshot;
      await bench.pass(2000);
      expect(await bench.read(id)).toMatchObject({ status: PENDING, position: 1, starts_at: null });
      await bench.engine.setMode({ state: 'lab' }, 'run');
      await bench.end(id);
    });

    test('can be cancelled out of', async () => {
      const bench = await Bench.open(factory.home());
      await bench.engine.setMode({ state: 'lab' }, 'pause');
      const { task_id: id } = (await bench.start('ok')).snapshot;
      await bench.engine.cancel(id);
      expect(await bench.end(id)).toMatchObject({ status: CANCELLED });
    });
  });

  describe('a drain', () => {
    test('refuses starts and works off what there is', async () => {
      const clock = new DrivenClock();
      const gate = new Gate();
      const bench = await Bench.open(factory.home(), gate.execute, { clock, concurrency: 1 });
      const ids = (await bench.startAll([bench.request('ok'), bench.request('ok')])).map(
        ({ snapshot }) => snapshot.task_id,
      );
      ids.push((await bench.start('ok', { runAt: clock.now() + 1000 })).snapshot.task_id);
      await bench.engine.setMode({ state: 'lab', task: 'ok' }, 'drain');
      await expect(bench.start('ok')).rejects.toThrow(DrainedError);
      await expect(bench.startAll([bench.request('other'), bench.request('ok')])).rejects.toThrow(
        'being drained',
      );
      expect(bench.engine.counts()).toEqual({ pending: 2, running: 1 });
      await bench.pass(1000);
      for (const [place, id] of ids.entries()) {
        await gate.leasedCount(place + 1);
        gate.end(id);
        expect(await bench.end(id)).toMatchObject({ status: COMPLETED });
      }
      await bench.settle();
      expect(bench.engine.counts()).toEqual({ pending: 0, running: 0 });
      await bench.engine.setMode({ state: 'lab', task: 'ok' }, 'run');
      const { task_id: id } = (await bench.start('ok')).snapshot;
      await gate.leasedCount(4);
      gate.end(id);
      await bench.end(id);
    });

    test('of a state refuses the starts of all its tasks, also after a restart', async () => {
      const home = factory.home();
      const bench = await Bench.open(home);
      await bench.engine.setMode({ state: 'lab' }, 'drain');
      await bench.close();
      const after = await Bench.open(home);
      for (const task of ['ok', 'echo']) await expect(after.start(task)).rejects.toThrow('being drained');
      await after.end((await after.start('ok', { state: 'other' })).snapshot.task_id);
    });

    test('answers a start whose key has made a run, and keeps nothing of what comes with a new one', async () => {
      const bench = await Bench.open(factory.home());
      const known = bench.request('ok', { idempotency: { key: 'k', fingerprint: 'f' } });
      const active = bench.request('hang', { unique: { key: 'u', forMs: null } });
      const before = (await bench.startAll([known, active])).map(({ snapshot }) => snapshot.task_id);
      await bench.end(before[0] as string);
      await bench.engine.setMode({ state: 'lab' }, 'drain');
      const answers = await bench.engine.accept([known, active]);
      expect(answers.map(({ run }) => run.snapshot.task_id)).toEqual(before);
      expect(answers.every(({ deduplicated }) => deduplicated)).toBe(true);
      const fresh = { idempotency: { key: 'new', fingerprint: 'f' } };
      for (const batch of [
        [bench.request('ok', fresh)],
        [known, bench.request('ok', fresh)],
        [bench.request('ok'), known],
      ]) {
        await expect(bench.engine.accept(batch)).rejects.toThrow(DrainedError);
      }
      const other = bench.request('ok', { idempotency: { key: 'k', fingerprint: 'other' } });
      await expect(bench.engine.accept([other])).rejects.toThrow(KeyConflictError);
      await bench.engine.setMode({ state: 'lab' }, 'run');
      expect((await bench.engine.accept([bench.request('ok', fresh)]))[0]).toMatchObject({
        deduplicated: false,
      });
      await bench.engine.cancel(before[1] as string);
    });

    test('of a state and a pause of a task hold both', async () => {
      const bench = await Bench.open(factory.home());
      await bench.engine.setMode({ state: 'lab', task: 'ok' }, 'pause');
      const { task_id: id } = (await bench.start('ok')).snapshot;
      await bench.engine.setMode({ state: 'lab' }, 'drain');
      await expect(bench.start('ok')).rejects.toThrow('being drained');
      await bench.settle();
      expect(await bench.read(id)).toMatchObject({ status: PENDING });
    });
  });

  describe('cancelling all that match', () => {
    test('means the runs of a state, a task, a client, or those that wait or run', async () => {
      const clock = new DrivenClock();
      const gate = new Gate();
      const bench = await Bench.open(factory.home(), gate.execute, { clock, concurrency: 2 });
      const start = async (task: string, options = {}) => (await bench.start(task, options)).snapshot.task_id;
      const running = [await start('ok', { client: 'a' }), await start('echo')];
      const waiting = {
        a: await start('ok', { client: 'a' }),
        direct: await start('ok'),
        echo: await start('echo', { client: 'a', priority: 3 }),
        delayed: await start('echo', { runAt: clock.now() + 60_000 }),
        elsewhere: await start('ok', { client: 'a', state: 'other' }),
      };
      await gate.leasedCount(2);
      const active = async () => {
        const all = [...running, ...Object.values(waiting)];
        const statuses = await Promise.all(all.map((id) => bench.read(id)));
        return all.filter((_, place) => statuses[place]?.status !== CANCELLED);
      };
      expect(await bench.engine.cancelAll({ state: 'nobody' })).toBe(0);
      expect(await bench.engine.cancelAll({ task: 'nothing' })).toBe(0);
      expect(await active()).toHaveLength(7);
      expect(await bench.engine.cancelAll({ state: 'lab', task: 'echo', active: 'pending' })).toBe(2);
      expect(await active()).toEqual([...running, waiting.a, waiting.direct, waiting.elsewhere]);
      expect(await bench.engine.cancelAll({ client: null, active: 'pending' })).toBe(1);
      expect(await active()).toEqual([...running, waiting.a, waiting.elsewhere]);
      expect(await bench.engine.cancelAll({ client: 'a', active: 'running' })).toBe(1);
      expect(gate.contexts.get(running[0] as string)?.signal.aborted).toBe(true);
      expect(gate.contexts.get(running[1] as string)?.signal.aborted).toBe(false);
      expect(await bench.engine.cancelAll({ state: 'lab' })).toBe(3);
      expect(gate.contexts.get(running[1] as string)?.signal.aborted).toBe(true);
      for (const id of running) gate.end(id, { kind: 'cancelled' });
      for (const id of running) expect(await bench.end(id)).toMatchObject({ status: CANCELLED });
      await gate.leasedCount(3);
      expect(gate.leased[2]?.id).toBe(waiting.elsewhere);
      gate.end(waiting.elsewhere);
      await bench.end(waiting.elsewhere);
      await bench.settle();
      expect(bench.engine.counts()).toEqual({ pending: 0, running: 0 });
    });

    test('ends more than a thousand, waiting, delayed and at work', async () => {
      const clock = new DrivenClock();
      const bench = await Bench.open(factory.home(), modes, { clock });
      const runAt = clock.now() + 60_000;
      const requests = Array.from({ length: 3700 }, (_, place) =>
        bench.request('hang', { client: `c${place % 7}`, ...(place % 2 && { runAt }) }),
      );
      const runs = await bench.startAll(requests);
      await bench.settle();
      expect(bench.engine.counts()).toEqual({ pending: 3600, running: 100 });
      expect(await bench.engine.cancelAll({})).toBe(3700);
      for (const { snapshot } of runs) {
        expect(await bench.end(snapshot.task_id)).toMatchObject({ status: CANCELLED });
      }
      await bench.settle();
      await bench.setClock(120_000);
      expect(bench.engine.counts()).toEqual({ pending: 0, running: 0 });
    });

    test('is remembered through a crash, for those that were at work too', async () => {
      const home = factory.home();
      const gate = new Gate();
      const bench = await Bench.open(home, gate.execute, { concurrency: 2 });
      const runs = await bench.startAll(Array.from({ length: 5 }, () => bench.request('ok')));
      await gate.leasedCount(2);
      expect(await bench.engine.cancelAll({})).toBe(5);
      const after = await Bench.open(home.crash());
      for (const { snapshot } of runs) {
        expect(await after.read(snapshot.task_id)).toMatchObject({ status: CANCELLED });
      }
      expect(after.engine.counts()).toEqual({ pending: 0, running: 0 });
      for (const { id } of gate.leased) gate.end(id);
    });
  });
}
