/** What a process that dies leaves behind, and who takes it up. */
import { describe, expect, test } from 'vitest';
import type { Execute } from '../../../src/engine.ts';
import { TaskStatus } from '../../../src/run.ts';
import { Bench, type EngineFactory, Gate, modes, untilAborted } from '../harness.ts';

const { PENDING, STARTING, PROCESSING, COMPLETED, ERROR } = TaskStatus;

export function dying(factory: EngineFactory): void {
  describe('after the process died', () => {
    test('runs what was pending', async () => {
      const home = factory.home();
      const { task_id: id } = (await (await Bench.open(home, null)).start('ok')).snapshot;
      const after = await Bench.open(home.crash());
      expect(await after.end(id)).toMatchObject({ status: COMPLETED, attempt: 1 });
    });

    test('leases what was running as the next attempt, and never gives a shown seq a second meaning', async () => {
      const home = factory.home();
      const gate = new Gate();
      const bench = await Bench.open(home, gate.execute);
      const { task_id: id } = (await bench.start('ok')).snapshot;
      await gate.leasedCount(1);
      // More than is written within the crash: what was shown may be ahead of the disk.
      for (let i = 1; i <= 50; i++) {
        gate.contexts.get(id)?.update({ progress: i });
        await new Promise((resolve) => setImmediate(resolve));
      }
      const shown = bench.seqs(id);
      const after = await Bench.open(home.crash());
      expect(await after.end(id)).toMatchObject({ status: COMPLETED, attempt: 2, result: 'fine' });
      const fresh = after.seqs(id);
      expect(Math.min(...fresh)).toBeGreaterThan(Math.max(...shown));
      const statuses = (await after.history(id)).map(({ snapshot }) => [snapshot.status, snapshot.attempt]);
      expect(statuses.slice(0, 2)).toEqual([
        [PENDING, 0],
        [STARTING, 1],
      ]);
      expect(statuses.slice(-3)).toEqual([
        [PENDING, 1],
        [STARTING, 2],
        [COMPLETED, 2],
      ]);
    });

    test('ends a run in Error when its process has died three times', async () => {
      let home = factory.home();
      const hang: Execute = (_run, attempt) => untilAborted(attempt);
      const first = await Bench.open(home, hang);
      const { task_id: id } = (await first.start('hang')).snapshot;
      await first.status(id, PROCESSING);
      for (const attempt of [2, 3]) {
        home = home.crash();
        const next = await Bench.open(home, hang);
        expect(await next.status(id, PROCESSING)).toMatchObject({ attempt });
      }
      const last = await Bench.open(home.crash(), hang);
      // Told to whoever waits for it, too.
      expect(await last.end(id)).toMatchObject({
        status: ERROR,
        attempt: 3,
        error: { name: 'ProcessDiedError', message: expect.stringContaining('3 times') },
      });
    });

    test('ends it at the first death where the author wants that', async () => {
      const home = factory.home();
      const gate = new Gate();
      const bench = await Bench.open(home, gate.execute);
      const { task_id: id } = (await bench.start('ok')).snapshot;
      await gate.leasedCount(1);
      const after = await Bench.open(home.crash(), modes, { policy: { onCrash: 'fail' } });
      expect(await after.read(id)).toMatchObject({ status: ERROR, attempt: 1 });
    });
  });
}
