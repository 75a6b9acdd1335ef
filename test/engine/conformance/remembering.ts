/** What is kept, and for how long. */
import { describe, expect, test } from 'vitest';
import { TaskStatus } from '../../../src/run.ts';
import { Bench, type EngineFactory, modes } from '../harness.ts';

const { PENDING, STARTING, PROCESSING } = TaskStatus;

export function remembering(factory: EngineFactory): void {
  describe('remembering', () => {
    test('bounds a history to 10,000 events: status changes and the newest are kept', async () => {
      const lines = 25_000;
      const bench = await Bench.open(factory.home(), async (_run, attempt) => {
        for (let line = 1; line <= lines; line++) await attempt.log(`line ${line}`, undefined);
        return { kind: 'completed', result: null };
      });
      const { task_id: id } = (await bench.start('ok')).snapshot;
      const last = await bench.end(id);
      expect(last.seq).toBe(lines + 4);
      const history = await bench.history(id);
      expect(history.length).toBeLessThanOrEqual(11_000);
      expect(history.length).toBeGreaterThan(5000);
      expect(history.slice(0, 3).map(({ snapshot }) => snapshot.status)).toEqual([
        PENDING,
        STARTING,
        PROCESSING,
      ]);
      expect(history.at(-2)?.text).toBe(`line ${lines}`);
      const seqs = history.map(({ snapshot }) => snapshot.seq);
      expect(seqs).toEqual([...seqs].sort((a, b) => a - b));
      // One hole, behind the last status change that was kept.
      expect(seqs.filter((seq, place) => place > 0 && seq !== (seqs[place - 1] as number) + 1)).toHaveLength(
        1,
      );
    });

    test('lists a client’s runs of one state, newest first, by pages', async () => {
      const bench = await Bench.open(factory.home());
      const mine = await bench.startAll(
        Array.from({ length: 7 }, () => bench.request('ok', { client: 'me' })),
      );
      await bench.start('ok', { client: 'somebody' });
      await bench.start('ok', { client: 'me', state: 'other' });
      await bench.start('ok');
      const ids = mine.map(({ snapshot }) => snapshot.task_id).reverse();
      const list = async (query: { limit: number; before?: string }) =>
        (await bench.engine.list({ client: 'me', state: 'lab', ...query })).map(
          ({ snapshot }) => snapshot.task_id,
        );
      expect(await list({ limit: 100 })).toEqual(ids);
      expect(await list({ limit: 3 })).toEqual(ids.slice(0, 3));
      expect(await list({ limit: 3, before: ids[2] as string })).toEqual(ids.slice(3, 6));
      expect(await list({ limit: 3, before: ids[6] as string })).toEqual([]);
      expect(await list({ limit: 3, before: 'nobody' })).toEqual([]);
    });

    test('cuts a page short before its results grow too large, and goes on behind it', async () => {
      const bench = await Bench.open(factory.home());
      const input = 'x'.repeat(1_000_000);
      const runs = await bench.startAll(
        Array.from({ length: 20 }, () => bench.request('echo', { client: 'me', input })),
      );
      for (const { snapshot } of runs) await bench.end(snapshot.task_id);
      const query = { client: 'me', state: 'lab', limit: 100 };
      const first = await bench.engine.list(query);
      expect(first.length).toBeGreaterThan(0);
      expect(first.length).toBeLessThan(20);
      const before = first.at(-1)?.snapshot.task_id as string;
      const rest = await bench.engine.list({ ...query, before });
      expect([...first, ...rest].map(({ snapshot }) => snapshot.task_id)).toEqual(
        runs.map(({ snapshot }) => snapshot.task_id).reverse(),
      );
    });

    test('lists those that are active and those that ended lately', async () => {
      const bench = await Bench.open(factory.home());
      const hung = (await bench.start('hang', { client: 'me' })).snapshot.task_id;
      const before = Date.now();
      const done = (await bench.start('ok', { client: 'me' })).snapshot.task_id;
      await bench.end(done);
      const list = async (query: object) =>
        (await bench.engine.list({ client: 'me', state: 'lab', limit: 10, ...query })).map(
          (run) => run.snapshot.task_id,
        );
      expect(await list({ active: true })).toEqual([hung]);
      expect(await list({ endedSince: before })).toEqual([done]);
      expect(await list({ endedSince: Date.now() + 60_000 })).toEqual([]);
    });

    test('keeps no more finished runs than it was told to, the newest', async () => {
      const home = factory.home();
      const bench = await Bench.open(home, modes, { keepRuns: 5 });
      const runs = await bench.startAll(Array.from({ length: 12 }, () => bench.request('ok')));
      const ids = runs.map(({ snapshot }) => snapshot.task_id);
      for (const id of ids) await bench.end(id);
      await expect.poll(() => bench.engine.read(ids[6] as string), { timeout: 10_000 }).toBeUndefined();
      for (const id of ids.slice(0, 7)) expect(await bench.engine.read(id)).toBeUndefined();
      for (const id of ids.slice(7)) expect(await bench.engine.read(id)).toBeDefined();
    });

    test('keeps finished runs no longer than it was told to, and active ones however old', async () => {
      const home = factory.home();
      const bench = await Bench.open(home, modes, { keepMs: 200 });
      const hung = (await bench.start('hang')).snapshot.task_id;
      const done = (await bench.start('ok')).snapshot.task_id;
      await bench.end(done);
      await expect.poll(() => bench.engine.read(done), { timeout: 10_000 }).toBeUndefined();
      expect(await bench.engine.read(hung)).toBeDefined();
    });
  });
}
