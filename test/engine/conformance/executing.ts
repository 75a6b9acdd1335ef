/** How attempts are run. */
import { describe, expect, test } from 'vitest';
import { TaskStatus } from '../../../src/run.ts';
import { Bench, type EngineFactory, Gate } from '../harness.ts';

const { PENDING, STARTING, PROCESSING, COMPLETED, ERROR } = TaskStatus;

export function executing(factory: EngineFactory): void {
  describe('executing', () => {
    test('takes a run from Pending to Completed with every seq there is', async () => {
      const bench = await Bench.open(factory.home());
      const { task_id: id } = (await bench.start('steps')).snapshot;
      const last = await bench.end(id);
      expect(last).toMatchObject({
        status: COMPLETED,
        progress: 100,
        result: { steps: 3 },
        error: null,
        attempt: 1,
      });
      const events = bench.events.filter(({ snapshot }) => snapshot.task_id === id);
      expect(events.map(({ snapshot }) => [snapshot.seq, snapshot.status, snapshot.progress])).toEqual([
        [1, PENDING, 0],
        [2, STARTING, 0],
        [3, PROCESSING, 25],
        [4, PROCESSING, 50],
        [5, PROCESSING, 75],
        [6, COMPLETED, 100],
      ]);
      expect(await bench.read(id)).toEqual(last);
      expect(await bench.history(id)).toEqual(events);
      expect(await bench.history(id, 4)).toEqual(events.slice(4));
    });

    test('ends a run in Error with the reason', async () => {
      const bench = await Bench.open(factory.home());
      const { task_id: id } = (await bench.start('throw')).snapshot;
      expect(await bench.end(id)).toMatchObject({
        status: ERROR,
        error: { name: 'Error', message: 'as told' },
      });
    });

    test('hands the attempt what was sent, and who sent it', async () => {
      const gate = new Gate();
      const bench = await Bench.open(factory.home(), gate.execute);
      const { task_id: id } = (
        await bench.start('echo', { client: 'c1', input: { a: [1, 'ü\u0000\ud800'] } })
      ).snapshot;
      await gate.leasedCount(1);
      expect(gate.leased[0]).toMatchObject({ id, state: 'lab', task: 'echo', client: 'c1', attempt: 1 });
      expect(JSON.parse(gate.leased[0]?.input ?? '')).toEqual({ a: [1, 'ü\u0000\ud800'] });
      gate.end(id);
    });

    test('keeps any JSON result as it is', async () => {
      const bench = await Bench.open(factory.home());
      const values = [
        0,
        -1.5,
        '',
        'NUL \u0000 and \ud83d alone',
        [],
        {},
        { deep: [[[{ a: null }]]] },
        false,
        2 ** 60,
      ];
      const runs = await bench.startAll(values.map((input) => bench.request('echo', { input })));
      for (const [place, { snapshot }] of runs.entries()) {
        await bench.end(snapshot.task_id);
        expect((await bench.read(snapshot.task_id)).result).toEqual(values[place]);
      }
    });

    test('counts a silent method as at work after 100 ms', async () => {
      const gate = new Gate();
      const bench = await Bench.open(factory.home(), gate.execute);
      const { task_id: id } = (await bench.start('ok')).snapshot;
      expect(await bench.status(id, PROCESSING)).toMatchObject({ seq: 3, progress: 0 });
      gate.end(id);
      expect(await bench.end(id)).toMatchObject({ seq: 4 });
    });

    test('gives log lines their place among the updates', async () => {
      const gate = new Gate();
      const bench = await Bench.open(factory.home(), gate.execute);
      const { task_id: id } = (await bench.start('ok')).snapshot;
      await gate.leasedCount(1);
      const context = gate.contexts.get(id);
      context?.log('first', { n: 1 });
      context?.update({ progress: 10 });
      context?.update({ message: 'merged' });
      context?.log('second', undefined);
      gate.end(id);
      await bench.end(id);
      const said = (await bench.history(id)).map(({ kind, text, fields, snapshot }) => [
        snapshot.seq,
        kind === 'log' ? text : snapshot.status,
        fields ?? snapshot.message,
      ]);
      expect(said).toEqual([
        [1, PENDING, null],
        [2, STARTING, null],
        [3, PROCESSING, null],
        [4, 'first', { n: 1 }],
        [5, PROCESSING, 'merged'],
        [6, 'second', 'merged'],
        [7, COMPLETED, 'merged'],
      ]);
    });

    test('never runs more attempts at once than it was told to', async () => {
      const gate = new Gate();
      const bench = await Bench.open(factory.home(), gate.execute, { concurrency: 3 });
      const runs = await bench.startAll(Array.from({ length: 8 }, () => bench.request('ok')));
      await gate.leasedCount(3);
      expect(bench.engine.counts()).toEqual({ pending: 5, running: 3 });
      const ended = new Set<string>();
      for (let leased = 3; ended.size < 8; leased++) {
        await gate.leasedCount(Math.min(leased, 8));
        expect(gate.leased.length - ended.size).toBeLessThanOrEqual(3);
        const { id } = gate.leased[ended.size] as { id: string };
        gate.end(id);
        await bench.end(id);
        ended.add(id);
      }
      expect(ended).toEqual(new Set(runs.map(({ snapshot }) => snapshot.task_id)));
    });

    test('does not let one client’s queue delay another client’s first run', async () => {
      const gate = new Gate();
      const bench = await Bench.open(factory.home(), gate.execute, { concurrency: 1 });
      const busy = Array.from({ length: 10_000 }, () => bench.request('ok', { client: 'busy' }));
      await bench.startAll(busy);
      const late = (await bench.start('ok', { client: 'late' })).snapshot.task_id;
      const direct = (await bench.start('ok')).snapshot.task_id;
      for (let count = 1; count <= 4; count++) {
        await gate.leasedCount(count);
        gate.end((gate.leased[count - 1] as { id: string }).id);
      }
      const first = gate.leased.slice(0, 4).map(({ id }) => id);
      expect(first).toContain(late);
      expect(first).toContain(direct);
    });

    test('begins a few in each turn of the event loop when many are accepted together', async () => {
      const begun: number[] = [];
      let turn = 0;
      let counting = true;
      const count = () => {
        turn++;
        if (counting) setImmediate(count);
      };
      const bench = await Bench.open(
        factory.home(),
        async () => {
          begun[turn] = (begun[turn] ?? 0) + 1;
          return { kind: 'completed', result: null };
        },
        { concurrency: 1000 },
      );
      setImmediate(count);
      const runs = await bench.startAll(Array.from({ length: 1000 }, () => bench.request('ok')));
      for (const { snapshot } of runs) await bench.end(snapshot.task_id);
      counting = false;
      const each = begun.filter((number) => number > 0);
      expect(each.reduce((sum, number) => sum + number)).toBe(1000);
      expect(Math.max(...each)).toBeLessThanOrEqual(200);
    });

    test('lets the event loop turn under a task that awaits each of a million words', async () => {
      let turns = 0;
      let talking = true;
      const turn = () => {
        turns++;
        if (talking) setImmediate(turn);
      };
      const bench = await Bench.open(factory.home(), async (_run, attempt) => {
        setImmediate(turn);
        for (let i = 1; i <= 200_000; i++) await attempt.update({ progress: i / 2000 });
        talking = false;
        return { kind: 'completed', result: null };
      });
      const { task_id: id } = (await bench.start('ok')).snapshot;
      await bench.end(id);
      expect(turns).toBeGreaterThan(200);
      const seqs = bench.seqs(id);
      expect(seqs).toEqual(seqs.map((_, place) => place + 1));
    });
  });
}
