/** How many attempts are at work at once, and how many begin in a span of time. */
import { describe, expect, test } from 'vitest';
import type { Execute, LeasedRun } from '../../../src/engine.ts';
import { defaultRetries } from '../../../src/policy.ts';
import { TaskStatus } from '../../../src/run.ts';
import { DrivenClock } from '../../fixtures/drivenClock.ts';
import { Bench, type EngineFactory, Gate, untilAborted } from '../harness.ts';

const { STARTING, COMPLETED, ERROR, CANCELLED } = TaskStatus;

/** Counts what is at work at once by `group`, and gives each attempt a few turns of the event loop. */
class Crowd {
  readonly most = new Map<string, number>();
  readonly #now = new Map<string, number>();
  readonly #group: (run: LeasedRun) => string;

  constructor(group: (run: LeasedRun) => string) {
    this.#group = group;
  }

  readonly execute: Execute = async (run) => {
    const group = this.#group(run);
    const now = (this.#now.get(group) ?? 0) + 1;
    this.#now.set(group, now);
    this.most.set(group, Math.max(this.most.get(group) ?? 0, now));
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
    this.#now.set(group, (this.#now.get(group) as number) - 1);
    return { kind: 'completed', result: null };
  };
}

export function limits(factory: EngineFactory): void {
  describe('limits', () => {
    test('of a task hold for it, and for it alone', async () => {
      const crowd = new Crowd(({ task }) => task);
      const bench = await Bench.open(factory.home(), crowd.execute, {
        concurrency: 10,
        policies: { two: { concurrency: 2 }, one: { concurrency: 1 } },
      });
      const requests = Array.from({ length: 60 }, (_, place) =>
        bench.request(['one', 'two', 'free'][place % 3] as string),
      );
      for (const { snapshot } of await bench.startAll(requests)) {
        expect(await bench.end(snapshot.task_id)).toMatchObject({ status: COMPLETED });
      }
      expect(crowd.most.get('one')).toBe(1);
      expect(crowd.most.get('two')).toBe(2);
      expect(crowd.most.get('free')).toBeGreaterThan(2);
      await bench.settle();
      expect(bench.engine.counts()).toEqual({ pending: 0, running: 0 });
    });

    test('for each client, and for each key, hold', async () => {
      const byClient = new Crowd(({ client }) => String(client));
      const byKey = new Crowd(({ input }) => String(input));
      const bench = await Bench.open(
        factory.home(),
        (run, attempt) => (run.task === 'perClient' ? byClient : byKey).execute(run, attempt),
        {
          concurrency: 20,
          policies: { perClient: { concurrencyPerClient: 2 }, perKey: { concurrencyPerKey: 1 } },
        },
      );
      const requests = Array.from({ length: 100 }, (_, place) => {
        const key = `k${place % 5}`;
        const client = [null, 'a', 'b'][place % 3] as string | null;
        return bench.request(place % 2 ? 'perClient' : 'perKey', { client, key, input: key });
      });
      for (const { snapshot } of await bench.startAll(requests)) await bench.end(snapshot.task_id);
      expect([...byClient.most.values()]).toEqual([2, 2, 2]);
      expect([...byKey.most.values()]).toEqual([1, 1, 1, 1, 1]);
    });

    test('for each key do not hold up runs that have none', async () => {
      const gate = new Gate();
      const bench = await Bench.open(factory.home(), gate.execute, {
        policies: { ok: { concurrencyPerKey: 1 } },
      });
      await bench.start('ok', { key: 'k' });
      await bench.start('ok', { key: 'k' });
      await bench.start('ok');
      await bench.start('ok');
      await gate.leasedCount(3);
      await bench.settle();
      expect(bench.engine.counts()).toEqual({ pending: 1, running: 3 });
      await bench.engine.cancelAll({});
      for (const { id } of gate.leased) gate.end(id);
    });

    test('let the keys of a client take turns, each with its oldest first', async () => {
      const order: string[] = [];
      const bench = await Bench.open(
        factory.home(),
        async ({ input }) => {
          order.push(JSON.parse(input as string));
          return { kind: 'completed', result: null };
        },
        { concurrency: 1, policies: { ok: { concurrencyPerKey: 1 } } },
      );
      // The first begins as it is accepted, and has had no turn of its key.
      const inputs = ['x1', 'a1', 'a2', 'a3', 'b1', 'c1', 'c2'];
      const requests = inputs.map((input) => bench.request('ok', { key: input[0] as string, input }));
      const runs = await bench.startAll(requests);
      for (const { snapshot } of runs) await bench.end(snapshot.task_id);
      expect(order).toEqual(['x1', 'a1', 'b1', 'c1', 'a2', 'c2', 'a3']);
    });

    test('are taken by an attempt until it is over, however it ends', async () => {
      const clock = new DrivenClock();
      const gate = new Gate();
      const retries = { ...defaultRetries, attempts: 2, jitter: 'none' as const };
      const bench = await Bench.open(factory.home(), gate.execute, {
        clock,
        policies: { ok: { concurrency: 1, concurrencyPerClient: 1, concurrencyPerKey: 1, retries } },
      });
      const start = async () =>
        (await bench.start('ok', { client: 'c', key: 'k', input: 1 })).snapshot.task_id;
      const failed = await start();
      const died = await start();
      const cancelled = await start();
      const completed = await start();
      const last = await start();
      const atWork = async (count: number) => {
        await gate.leasedCount(count);
        await bench.settle();
        expect(gate.leased).toHaveLength(count);
        expect(bench.engine.counts().running).toBe(1);
      };
      await atWork(1);
      gate.end(failed, { kind: 'failed', error: { name: 'Error', message: 'once' } });
      await atWork(2);
      expect(gate.leased[1]?.id).toBe(died);
      // While it waits for its next attempt it takes nothing; when it is due it waits its turn.
      await bench.pass(2000);
      await atWork(2);
      gate.end(died, { kind: 'died', error: { name: 'Error', message: 'died' } });
      await atWork(3);
      const attempts = new Map(gate.leased.map(({ id, attempt }) => [id, attempt]));
      expect(attempts.get(failed)).toBe(2);
      gate.end(failed, { kind: 'failed', error: { name: 'Error', message: 'twice' } });
      expect(await bench.end(failed)).toMatchObject({ status: ERROR, attempt: 2 });
      await atWork(4);
      expect(gate.leased[3]).toMatchObject({ id: died, attempt: 2 });
      gate.end(died);
      await atWork(5);
      await bench.engine.cancel(cancelled);
      gate.end(cancelled, { kind: 'cancelled' });
      expect(await bench.end(cancelled)).toMatchObject({ status: CANCELLED });
      await atWork(6);
      gate.end(completed);
      await atWork(7);
      gate.end(last);
      await bench.end(last);
    });

    test('hold through a crash and through a stop', async () => {
      const home = factory.home();
      const policies = { ok: { concurrency: 2, concurrencyPerKey: 1 } };
      const hang: Execute = (_run, attempt) => untilAborted(attempt);
      const bench = await Bench.open(home, hang, { policies });
      const requests = Array.from({ length: 20 }, (_, place) =>
        bench.request('ok', { key: `k${place % 4}`, input: place % 4 }),
      );
      const ids = (await bench.startAll(requests)).map(({ snapshot }) => snapshot.task_id);
      await expect.poll(() => bench.events.filter(({ snapshot }) => snapshot.attempt === 1).length).toBe(2);
      const crashed = home.crash();
      const afterCrash = await Bench.open(crashed, hang, { policies });
      await expect.poll(() => afterCrash.engine.counts()).toEqual({ pending: 18, running: 2 });
      await afterCrash.settle();
      expect(afterCrash.engine.counts()).toEqual({ pending: 18, running: 2 });
      await afterCrash.close();
      const crowds = { all: new Crowd(() => 'all'), key: new Crowd(({ input }) => String(input)) };
      const last = await Bench.open(
        crashed,
        async (run, attempt) => {
          await Promise.all([crowds.all.execute(run, attempt), crowds.key.execute(run, attempt)]);
          return { kind: 'completed', result: null };
        },
        { policies },
      );
      for (const id of ids) await last.end(id);
      expect(crowds.all.most.get('all')).toBe(2);
      expect([...crowds.key.most.values()]).toEqual([1, 1, 1, 1]);
    });

    test('of worker threads hold for all tasks that need one, together', async () => {
      const crowd = new Crowd(({ task }) => (task === 'free' ? 'free' : 'isolated'));
      const bench = await Bench.open(factory.home(), crowd.execute, {
        concurrency: 20,
        threads: 2,
        policies: { one: { isolate: true }, two: { isolate: true } },
      });
      const requests = Array.from({ length: 45 }, (_, place) =>
        bench.request(['one', 'two', 'free'][place % 3] as string),
      );
      for (const { snapshot } of await bench.startAll(requests)) await bench.end(snapshot.task_id);
      expect(crowd.most.get('isolated')).toBe(2);
      expect(crowd.most.get('free')).toBeGreaterThan(2);
    });

    test('never let more attempts be at work at once than the server makes, whatever comes together', async () => {
      const clock = new DrivenClock();
      const crowd = new Crowd(() => 'all');
      const bench = await Bench.open(factory.home(), crowd.execute, {
        clock,
        concurrency: 3,
        policies: { limited: { concurrency: 2 } },
      });
      const ids: string[] = [];
      const starting: Promise<unknown>[] = [];
      const start = async (task: string, runAt?: number) => {
        const { snapshot } = await bench.start(task, runAt === undefined ? {} : { runAt });
        ids.push(snapshot.task_id);
      };
      // Starts, runs that come due and ends of others, in all the orders that a second of turns brings.
      for (let step = 0; step < 300; step++) {
        const runAt = clock.now() + 5;
        for (let count = step % 4; count > 0; count--) starting.push(start('ok', runAt));
        await clock.goOn(5);
        for (let count = step % 3; count > 0; count--) starting.push(start('ok'));
        if (step % 5 === 0) starting.push(start('limited'));
        // Now and then all that wait are let run.
        if (step % 10 === 0) await bench.settle();
      }
      await Promise.all(starting);
      await bench.pass(3000);
      for (const id of ids) await bench.end(id);
      expect(crowd.most.get('all')).toBe(3);
    });
  });

  describe('a rate', () => {
    /** When attempts of a task began. */
    const beginnings = ({ events }: Bench) =>
      events
        .filter(({ snapshot }) => snapshot.status === STARTING)
        .map(({ snapshot }) => Date.parse(snapshot.timestamp));

    /** The most that lie within any span of so long. */
    const mostWithin = (spanMs: number, moments: number[]) =>
      Math.max(
        ...moments.map((from) => moments.filter((other) => other >= from && other < from + spanMs).length),
      );

    const done: Execute = async () => ({ kind: 'completed', result: null });

    test('holds in any span, and is used up', async () => {
      const clock = new DrivenClock();
      const bench = await Bench.open(factory.home(), done, {
        clock,
        policies: { ok: { rateLimit: { max: 3, perMs: 1000 } } },
      });
      const from = clock.now();
      // They come unevenly, so that spans begin anywhere.
      for (const count of [1, 4, 0, 2, 9, 3, 1]) {
        await bench.startAll(Array.from({ length: count }, () => bench.request('ok')));
        await bench.settle();
        await bench.pass(270);
      }
      for (let pass = 0; pass < 60 && bench.engine.counts().pending > 0; pass++) await bench.pass(130);
      const moments = beginnings(bench);
      expect(moments).toHaveLength(20);
      expect(mostWithin(1000, moments)).toBe(3);
      // 20 take six spans after the first, and a little for looking.
      expect(Math.max(...moments) - from).toBeLessThan(7500);
    });

    test('opens at its time when nothing else happens', async () => {
      const clock = new DrivenClock();
      const bench = await Bench.open(factory.home(), done, {
        clock,
        policies: { ok: { rateLimit: { max: 1, perMs: 60_000 } } },
      });
      await bench.startAll([bench.request('ok'), bench.request('ok')]);
      await bench.settle();
      await bench.pass(59_999);
      expect(beginnings(bench)).toHaveLength(1);
      await bench.pass(1);
      expect(beginnings(bench)).toHaveLength(2);
    });

    test('counts each attempt, also of one run', async () => {
      const clock = new DrivenClock();
      const retries = { ...defaultRetries, attempts: 3, delayMs: 0 };
      const bench = await Bench.open(
        factory.home(),
        async () => ({ kind: 'failed', error: { name: 'Error', message: 'again' } }),
        { clock, policies: { ok: { retries, rateLimit: { max: 1, perMs: 5000 } } } },
      );
      const { task_id: id } = (await bench.start('ok')).snapshot;
      await bench.settle();
      await bench.pass(12_000);
      expect(await bench.end(id)).toMatchObject({ attempt: 3 });
      expect(mostWithin(5000, beginnings(bench))).toBe(1);
    });

    test('holds through a crash and a restart', async () => {
      const clock = new DrivenClock();
      const home = factory.home();
      const settings = { clock, policies: { ok: { rateLimit: { max: 4, perMs: 10_000 } } } };
      const bench = await Bench.open(home, done, settings);
      await bench.startAll(Array.from({ length: 10 }, () => bench.request('ok')));
      await bench.settle();
      const before = beginnings(bench);
      clock.wallTime += 4000;
      const next = home.crash();
      const after = await Bench.open(next, done, settings);
      await after.pass(1000);
      expect(beginnings(after)).toEqual([]);
      await after.close();
      const last = await Bench.open(next, done, settings);
      await last.pass(16_000);
      const moments = [...before, ...beginnings(last)];
      expect(moments).toHaveLength(10);
      expect(mostWithin(10_000, moments)).toBe(4);
    });

    test('does not hold up other tasks', async () => {
      const clock = new DrivenClock();
      const bench = await Bench.open(factory.home(), done, {
        clock,
        concurrency: 2,
        policies: { slow: { rateLimit: { max: 1, perMs: 60_000 }, priority: 9 } },
      });
      await bench.startAll(Array.from({ length: 20 }, () => bench.request('slow')));
      await bench.settle();
      for (let run = 0; run < 5; run++) {
        const { snapshot } = await bench.start('ok');
        expect(snapshot).toMatchObject({ status: STARTING, seq: 2 });
        await bench.end(snapshot.task_id);
      }
    });
  });
}
