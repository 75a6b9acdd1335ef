/** Whose turn it is among those that wait: priorities, ages and clients. */
import { describe, expect, test } from 'vitest';
import { TaskStatus } from '../../../src/run.ts';
import { Bench, type EngineFactory, Gate, modes } from '../harness.ts';
import { OneByOne } from '../oneByOne.ts';

const { STARTING, COMPLETED } = TaskStatus;

/** How long a run at the head of its line is passed over by higher ones, at the most. */
const passedOverMs = 10_000;

export function waiting(factory: EngineFactory): void {
  describe('priorities', () => {
    test('higher goes first, and of the same the oldest', async () => {
      const line = await OneByOne.open(factory, { policies: { urgent: { priority: 7 } } });
      for (const [name, priority] of [
        ['a0', 0],
        ['b9', 9],
        ['c5', 5],
        ['d0', 0],
        ['e9', 9],
        ['f5', 5],
      ] as const) {
        await line.start(name, { priority });
      }
      await line.start('g7', {}, 'urgent');
      await line.start('h1', { priority: 1 }, 'urgent');
      expect(await line.inOrder(8)).toEqual(['b9', 'e9', 'g7', 'c5', 'f5', 'h1', 'a0', 'd0']);
    });

    test('hold through a crash', async () => {
      const home = factory.home();
      const before = await Bench.open(home, null);
      for (const priority of [0, 3, 9, 3]) await before.start('ok', { priority, input: priority });
      const order: string[] = [];
      const after = await Bench.open(
        home.crash(),
        async ({ input }) => {
          order.push(input as string);
          return { kind: 'completed', result: null };
        },
        { concurrency: 1 },
      );
      await expect.poll(() => order).toEqual(['9', '3', '3', '0']);
      await after.settle();
    });

    test('pass a low one over under a stream of high ones for ten seconds, and no longer', async () => {
      const line = await OneByOne.open(factory);
      await line.start('low', { client: 'patient' });
      let begun = '';
      let passedMs = 0;
      for (; begun !== 'low' && passedMs <= 2 * passedOverMs; passedMs += 500) {
        await line.start('high', { priority: 5, client: 'pushing' });
        begun = await line.next();
        await line.bench.pass(500);
      }
      expect(passedMs).toBeGreaterThan(passedOverMs - 1000);
      expect(passedMs).toBeLessThan(passedOverMs + 1500);
    });

    test('do so for each client’s line, however many there are', async () => {
      const line = await OneByOne.open(factory);
      const low = Array.from({ length: 20 }, (_, place) => `low ${place}`);
      for (const client of low) await line.start(client, { client });
      await line.startMany(60, 'high', { priority: 5, client: 'pushing' });
      const begun: string[] = [];
      for (let ms = 0; ms <= passedOverMs + 3000; ms += 500) {
        begun.push(await line.next());
        await line.bench.pass(500);
      }
      // All have waited for as long, so all go now, one after the other.
      begun.push(...(await line.inOrder(20)));
      expect(begun.filter((name) => name.startsWith('low')).sort()).toEqual([...low].sort());
      const firstLow = begun.findIndex((name) => name.startsWith('low'));
      expect(firstLow).toBeGreaterThan(15);
      expect(begun.slice(firstLow, firstLow + 20).every((name) => name.startsWith('low'))).toBe(true);
    });

    test('put a high one first among runs that take longer than ten seconds each', async () => {
      const line = await OneByOne.open(factory);
      await line.startMany(5, 'low', { client: 'a' });
      expect(await line.next()).toBe('low 1');
      await line.bench.pass(15_000);
      await line.start('high', { priority: 5, client: 'b' });
      // Nothing was passed over while nothing began.
      expect(await line.next()).toBe('high');
      await line.bench.pass(15_000);
      await line.startMany(5, 'high', { priority: 5, client: 'b' });
      const order: string[] = [];
      for (let turn = 0; turn < 6; turn++) {
        order.push(await line.next());
        await line.bench.pass(15_000);
      }
      // Each is passed over once for long enough, and then it goes: neither waits for all of the other.
      expect(order).toContain('high 1');
      expect(order).toContain('high 2');
      expect(order).toContain('low 2');
      expect(order).toContain('low 3');
    });

    test('put a high one first before a long line of low ones of many clients', async () => {
      const line = await OneByOne.open(factory);
      for (let client = 1; client <= 30; client++) await line.startMany(2, 'low', { client: `c${client}` });
      for (let turn = 1; turn <= 15; turn++) {
        expect(await line.next()).toMatch(/^low/);
        await line.bench.pass(1000);
      }
      for (let turn = 1; turn <= 3; turn++) {
        await line.start('high', { priority: 5, client: 'urgent' });
        expect(await line.next()).toBe('high');
        await line.bench.pass(1000);
        for (let low = 0; low < 2; low++) {
          expect(await line.next()).toMatch(/^low/);
          await line.bench.pass(1000);
        }
      }
    });

    test('do not starve a low run of a limited task while others keep the rest of the server busy', async () => {
      const gates = { limited: new Gate(), other: new Gate() };
      const line = await OneByOne.open(factory);
      const bench = await Bench.open(
        factory.home(),
        (run, attempt) => gates[run.task as 'limited' | 'other'].execute(run, attempt),
        { clock: line.clock, concurrency: 2, policies: { limited: { concurrency: 1 } } },
      );
      await bench.start('limited', { priority: 5, input: 'high' });
      await bench.start('other', { input: 'other' });
      await bench.start('limited', { input: 'low' });
      await bench.startAll(Array.from({ length: 200 }, () => bench.request('other')));
      await bench.startAll(
        Array.from({ length: 100 }, () => bench.request('limited', { priority: 5, input: 'high' })),
      );
      const from = line.clock.now();
      let lowAfterMs: number | undefined;
      while (lowAfterMs === undefined && line.clock.now() <= from + 3 * passedOverMs) {
        for (const task of ['other', 'limited', 'other'] as const) {
          const gate = gates[task];
          const count = gate.leased.length;
          await gate.leasedCount(1);
          gate.end(gate.leased.at(-1)?.id as string);
          await gate.leasedCount(count + 1);
          if (gate.leased.at(-1)?.input === '"low"') lowAfterMs = line.clock.now() - from;
          await bench.pass(300);
        }
      }
      expect(lowAfterMs).toBeGreaterThan(passedOverMs - 1500);
      // It begins as a slot of its own comes free, which is not the very moment.
      expect(lowAfterMs).toBeLessThan(passedOverMs + 2000);
    });

    test('do not starve a client’s low run by its own high ones where each client is limited', async () => {
      const begun: string[] = [];
      const gate = new Gate();
      const line = await OneByOne.open(factory);
      const bench = await Bench.open(
        factory.home(),
        (run, attempt) => {
          begun.push(`${run.client} ${run.input}`);
          return gate.execute(run, attempt);
        },
        { clock: line.clock, concurrency: 10, policies: { ok: { concurrencyPerClient: 1 } } },
      );
      await bench.start('ok', { client: 'a', priority: 5, input: 'high' });
      await bench.start('ok', { client: 'a', input: 'low' });
      const requests = [
        ...Array.from({ length: 100 }, () =>
          bench.request('ok', { client: 'a', priority: 5, input: 'high' }),
        ),
        ...Array.from({ length: 200 }, () => bench.request('ok', { client: 'b', input: 'low' })),
      ];
      await bench.startAll(requests);
      const from = line.clock.now();
      let lowAfterMs: number | undefined;
      while (lowAfterMs === undefined && line.clock.now() <= from + 3 * passedOverMs) {
        for (const client of ['b', 'a', 'b']) {
          await bench.settle();
          gate.end(gate.leased.filter((run) => run.client === client).at(-1)?.id as string);
          await bench.pass(300);
        }
        if (begun.includes('a "low"')) lowAfterMs = line.clock.now() - from;
      }
      expect(lowAfterMs).toBeGreaterThan(passedOverMs - 1500);
      // It begins as a slot of its own comes free, which is not the very moment.
      expect(lowAfterMs).toBeLessThan(passedOverMs + 2000);
    });
  });

  describe('clients', () => {
    test('take turns, each with its oldest first', async () => {
      const line = await OneByOne.open(factory);
      await line.startMany(4, 'a', { client: 'a' });
      await line.startMany(2, 'b', { client: 'b' });
      await line.startMany(3, 'direct');
      const order = await line.inOrder(9);
      for (const name of ['a', 'b', 'direct']) {
        const own = order.filter((each) => each.startsWith(name));
        expect(own).toEqual([...own].sort());
      }
      expect(new Set(order.slice(0, 3).map((name) => name.split(' ')[0])).size).toBe(3);
      expect(new Set(order.slice(3, 6).map((name) => name.split(' ')[0])).size).toBe(3);
      expect(order.slice(6)).toEqual(expect.arrayContaining(['a 3', 'a 4', 'direct 3']));
    });

    test('take turns over all tasks, and not in each', async () => {
      const line = await OneByOne.open(factory);
      for (const task of ['x', 'y', 'z']) await line.startMany(4, `busy ${task}`, { client: 'busy' }, task);
      await line.startMany(3, 'other', { client: 'other' }, 'x');
      const order = await line.inOrder(6);
      expect(order.filter((name) => name.startsWith('other'))).toHaveLength(3);
    });

    test('that come and go do not starve those that stay', async () => {
      const line = await OneByOne.open(factory);
      await line.startMany(20, 'stays', { client: 'stays' });
      const begun: string[] = [];
      for (let turn = 0; turn < 20; turn++) {
        await line.start('comes', { client: 'comes' });
        begun.push(await line.next());
      }
      const stays = begun.filter((name) => name.startsWith('stays')).length;
      expect(stays).toBeGreaterThanOrEqual(8);
      expect(stays).toBeLessThanOrEqual(12);
    });

    test('that come once each, without end, do not starve one that stays', async () => {
      const line = await OneByOne.open(factory);
      await line.startMany(5, 'stays', { client: 'stays' });
      const begun: string[] = [];
      for (let turn = 0; turn < 60; turn++) {
        await line.start('once', { client: `once ${turn}` });
        begun.push(await line.next());
      }
      expect(begun.filter((name) => name.startsWith('stays'))).toHaveLength(5);
    });

    test('that have waited with a thousand runs do not hold up one that is new', async () => {
      const line = await OneByOne.open(factory);
      for (let client = 1; client <= 5; client++) await line.startMany(200, 'busy', { client: `c${client}` });
      await line.inOrder(20);
      await line.start('new', { client: 'new' });
      expect(await line.inOrder(6)).toContain('new');
    });
  });

  describe('many that wait', () => {
    test('leave starts of another task as they are', async () => {
      const bench = await Bench.open(factory.home(), modes);
      await bench.engine.setMode({ state: 'lab', task: 'hang' }, 'pause');
      for (let batch = 0; batch < 2; batch++) {
        await bench.startAll(
          Array.from({ length: 10_000 }, (_, place) =>
            bench.request('hang', { client: `c${place % 100}`, priority: place % 3 }),
          ),
        );
      }
      await bench.settle();
      expect(bench.engine.counts()).toEqual({ pending: 20_000, running: 0 });
      for (let run = 0; run < 20; run++) {
        const { snapshot } = await bench.start('ok');
        expect(snapshot).toMatchObject({ status: STARTING, seq: 2 });
        expect(await bench.end(snapshot.task_id)).toMatchObject({ status: COMPLETED });
      }
      expect(bench.engine.counts().pending).toBe(20_000);
    });
  });
}
