/** How an engine stops. */
import { describe, expect, test } from 'vitest';
import { TaskStatus } from '../../../src/run.ts';
import { Bench, type EngineFactory, Gate } from '../harness.ts';

const { PENDING, PROCESSING, COMPLETED } = TaskStatus;

export function stopping(factory: EngineFactory): void {
  describe('stopping', () => {
    test('lets running attempts end within the grace', async () => {
      const gate = new Gate();
      const bench = await Bench.open(factory.home(), gate.execute);
      const { task_id: id } = (await bench.start('ok')).snapshot;
      await gate.leasedCount(1);
      const drained = bench.engine.drain(20_000);
      expect(gate.contexts.get(id)?.signal.aborted).toBe(false);
      gate.end(id);
      await drained;
      expect(await bench.read(id)).toMatchObject({ status: COMPLETED });
    });

    test('aborts the rest and hands them back, which is neither a death nor a retry', async () => {
      const home = factory.home();
      let id = '';
      for (let stop = 1; stop <= 4; stop++) {
        const bench = await Bench.open(home);
        if (!id) id = (await bench.start('hang')).snapshot.task_id;
        await bench.status(id, PROCESSING);
        await bench.engine.drain(0);
        expect(await bench.read(id)).toMatchObject({ status: PENDING, attempt: stop });
        await bench.close();
      }
      const last = await Bench.open(home, async () => ({ kind: 'completed', result: 'at last' }));
      expect(await last.end(id)).toMatchObject({ status: COMPLETED, attempt: 5 });
    });

    test('hands back an attempt that is deaf, and refuses what it returns later', async () => {
      const home = factory.home();
      const gate = new Gate({ deaf: true });
      const bench = await Bench.open(home, gate.execute);
      const { task_id: id } = (await bench.start('ok')).snapshot;
      await gate.leasedCount(1);
      await bench.close();
      const next = new Gate();
      const after = await Bench.open(home, next.execute);
      await next.leasedCount(1);
      gate.end(id, { kind: 'completed', result: 'stale' });
      next.end(id, { kind: 'completed', result: 'fresh' });
      expect(await after.end(id)).toMatchObject({ result: 'fresh', attempt: 2 });
      expect(bench.events.some(({ snapshot }) => snapshot.status === COMPLETED)).toBe(false);
    });
  });
}
