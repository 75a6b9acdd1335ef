/** How runs are stopped that somebody no longer wants. */
import { describe, expect, test } from 'vitest';
import { TaskStatus } from '../../../src/run.ts';
import { Bench, type EngineFactory, Gate } from '../harness.ts';

const { COMPLETED, CANCELLED } = TaskStatus;

export function cancelling(factory: EngineFactory): void {
  describe('cancelling', () => {
    test('ends a pending run at once', async () => {
      const bench = await Bench.open(factory.home(), null);
      const { task_id: id } = (await bench.start('ok')).snapshot;
      const answer = await bench.engine.cancel(id);
      expect(answer).toMatchObject({ kind: 'accepted', run: { snapshot: { status: CANCELLED, seq: 2 } } });
      expect(await bench.end(id)).toEqual(await bench.read(id));
      expect(bench.engine.counts().pending).toBe(0);
    });

    test('aborts the signal of a running one, again and again, until it heeds it', async () => {
      const bench = await Bench.open(factory.home());
      const { task_id: id } = (await bench.start('hang')).snapshot;
      expect(await bench.engine.cancel(id)).toMatchObject({ kind: 'accepted' });
      expect(await bench.end(id)).toMatchObject({ status: CANCELLED, attempt: 1 });
    });

    test('does not override what the method makes of it', async () => {
      const gate = new Gate();
      const bench = await Bench.open(factory.home(), gate.execute);
      const { task_id: id } = (await bench.start('ok')).snapshot;
      await gate.leasedCount(1);
      expect(await bench.engine.cancel(id)).toMatchObject({ kind: 'accepted' });
      expect(await bench.engine.cancel(id)).toMatchObject({ kind: 'accepted' });
      expect(gate.contexts.get(id)?.signal.aborted).toBe(true);
      gate.end(id, { kind: 'completed', result: 'all the same' });
      expect(await bench.end(id)).toMatchObject({ status: COMPLETED, result: 'all the same' });
    });

    test('says how a run ended that has ended, and nothing of one that never was', async () => {
      const bench = await Bench.open(factory.home());
      const { task_id: id } = (await bench.start('ok')).snapshot;
      const ended = await bench.end(id);
      expect(await bench.engine.cancel(id)).toMatchObject({
        kind: 'already-ended',
        run: { snapshot: ended },
      });
      expect(await bench.engine.cancel('0'.repeat(22))).toBeUndefined();
      expect(await bench.read(id)).toEqual(ended);
    });

    test('is remembered through a crash', async () => {
      const home = factory.home();
      const gate = new Gate();
      const bench = await Bench.open(home, gate.execute);
      const { task_id: id } = (await bench.start('ok')).snapshot;
      await gate.leasedCount(1);
      await bench.engine.cancel(id);
      const after = await Bench.open(home.crash());
      expect(await after.read(id)).toMatchObject({ status: CANCELLED });
      gate.end(id);
    });

    test('says how a run ended that has ended in the very moment before', async () => {
      const gate = new Gate();
      const bench = await Bench.open(factory.home(), gate.execute);
      const { task_id: id } = (await bench.start('ok')).snapshot;
      await gate.leasedCount(1);
      gate.end(id, { kind: 'completed', result: 'just now' });
      // Its end is on its way to the disk, and the cancel goes with it.
      await new Promise<void>((resolve) => process.nextTick(resolve));
      expect(await bench.engine.cancel(id)).toMatchObject({
        kind: 'already-ended',
        run: { snapshot: { status: COMPLETED, result: 'just now' } },
      });
    });

    test('reaches runs that are accepted, and begin, in the same moment', async () => {
      const bench = await Bench.open(factory.home());
      for (let round = 0; round < 20; round++) {
        const [runs, cancelled] = await Promise.all([
          bench.startAll([bench.request('hang'), bench.request('hang')]),
          bench.engine.cancelAll({}),
        ]);
        // Those of them that it found it has stopped; the others go on.
        if (cancelled < 2) expect(await bench.engine.cancelAll({})).toBe(2 - cancelled);
        for (const { snapshot } of runs) {
          expect(await bench.end(snapshot.task_id)).toMatchObject({ status: CANCELLED });
        }
      }
    });
  });
}
