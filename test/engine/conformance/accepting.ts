/** How starts are taken. */
import { describe, expect, test } from 'vitest';
import { TaskStatus } from '../../../src/run.ts';
import { Bench, type EngineFactory, Gate } from '../harness.ts';

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

    test('keeps what a run was started with: as text, or that there was nothing', async () => {
      const home = factory.home();
      const bench = await Bench.open(home, null);
      const given = (await bench.start('ok', { input: { a: ['ü', null] } })).snapshot.task_id;
      const empty = (await bench.start('ok')).snapshot.task_id;
      const after = await Bench.open(home.crash());
      await after.end(given);
      expect(await after.engine.input(given)).toEqual({ input: '{"a":["ü",null]}' });
      expect(await after.engine.input(empty)).toEqual({ input: null });
      expect(await after.engine.input('nobody')).toBeUndefined();
    });

    test('hands each attempt the time limit that the caller wants, also after a crash', async () => {
      const home = factory.home();
      const gate = new Gate();
      const bench = await Bench.open(home, gate.execute);
      await bench.start('ok', { timeoutMs: 1234 });
      await bench.start('ok');
      await gate.leasedCount(2);
      const next = new Gate();
      await Bench.open(home.crash(), next.execute);
      await next.leasedCount(2);
      for (const { leased } of [gate, next]) {
        expect(leased.map(({ timeoutMs }) => timeoutMs)).toEqual([1234, null]);
      }
    });

    test('takes the priority of the task where the caller wants no other, and a batch with its wishes mixed', async () => {
      const bench = await Bench.open(factory.home(), null, { policies: { urgent: { priority: 3 } } });
      const runs = await bench.startAll([
        bench.request('ok'),
        bench.request('urgent'),
        bench.request('ok', { priority: 9, key: 'k', retryOf: 'r'.repeat(22) }),
        bench.request('urgent', { priority: 0 }),
      ]);
      const order: string[] = [];
      bench.engine.start(async ({ id }) => {
        order.push(id);
        return { kind: 'completed', result: null };
      });
      for (const { snapshot } of runs) await bench.end(snapshot.task_id);
      const [first, second, third, fourth] = runs.map(({ snapshot }) => snapshot.task_id);
      expect(order).toEqual([third, second, first, fourth]);
    });
  });
}
