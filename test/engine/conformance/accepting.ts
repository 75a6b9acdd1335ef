/** How starts are taken. */
import { describe, expect, test } from 'vitest';
import { TaskStatus } from '../../../src/run.ts';
import { Bench, type EngineFactory } from '../harness.ts';

const { PENDING, STARTING } = TaskStatus;

export function accepting(factory: EngineFactory): void {
  describe('accepting', () => {
    test('answers a start with where the run stands, under an id of 22 letters and digits', async () => {
      const bench = await Bench.open(factory.home());
      const { snapshot, client } = await bench.start('ok');
      expect(snapshot.task_id).toMatch(/^[0-9A-Za-z]{22}$/);
      expect(snapshot).toMatchObject({ state: 'lab', task: 'ok', progress: 0, result: null, error: null });
      expect([PENDING, STARTING]).toContain(snapshot.status);
      expect(client).toBeNull();
    });

    test('accepts a batch in order, as one', async () => {
      const bench = await Bench.open(factory.home(), null);
      const runs = await bench.startAll(['a', 'b', 'c'].map((task) => bench.request(task)));
      expect(runs.map(({ snapshot }) => snapshot.task)).toEqual(['a', 'b', 'c']);
      expect(new Set(runs.map(({ snapshot }) => snapshot.task_id)).size).toBe(3);
    });

    test('has a run on disk when it answers', async () => {
      const home = factory.home();
      const bench = await Bench.open(home, null);
      const { snapshot } = await bench.start('ok', { input: { name: 'Matt' } });
      const after = await Bench.open(home.crash(), null);
      expect(await after.read(snapshot.task_id)).toEqual(snapshot);
    });
  });
}
