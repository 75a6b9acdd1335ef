/** Where a run stands that waits, and when it will about begin and end. */
import { describe, expect, test } from 'vitest';
import type { Execute } from '../../../src/engine.ts';
import { TaskStatus } from '../../../src/run.ts';
import { DrivenClock } from '../../fixtures/drivenClock.ts';
import { Bench, type EngineFactory, type EngineHome, type EngineSettings, modes } from '../harness.ts';
import { OneByOne } from '../oneByOne.ts';

const { PENDING, STARTING } = TaskStatus;

/** Lets runs of about 100 ms wait for each other, asks once when they will begin and end, and sees when they do. */
async function expectTrueEstimates(
  home: EngineHome,
  where: string,
  slots: number,
  settings: Partial<EngineSettings>,
): Promise<void> {
  const nap: Execute = async () => {
    await new Promise((resolve) => setTimeout(resolve, 100));
    return { kind: 'completed', result: null };
  };
  const bench = await Bench.open(home, nap, settings);
  const request = bench.request('nap', { client: 'me', key: 'k' });
  const runs = await bench.startAll(Array.from({ length: 6 + 5 * slots + 5 }, () => request));
  const ids = runs.map(({ snapshot }) => snapshot.task_id);
  await bench.end(ids[5] as string);
  const asked = Date.now();
  const standings = await bench.engine.standings(ids);
  expect(standings.size, where).toBeGreaterThan(5);
  for (const id of ids) await bench.end(id);
  for (const [id, { starts_at, ends_at }] of standings) {
    const told = bench.told(id);
    const began = told.find(({ status }) => status === STARTING)?.timestamp as string;
    const ended = told.at(-1)?.timestamp as string;
    for (const [said, truly] of [
      [starts_at, began],
      [ends_at, ended],
    ] as const) {
      const offMs = Math.abs(Date.parse(said as string) - Date.parse(truly));
      const allowedMs = 100 + 0.35 * (Date.parse(truly) - asked);
      expect(offMs, `${where}: said ${said}, was ${truly}`).toBeLessThan(allowedMs);
    }
  }
}

export function standings(factory: EngineFactory): void {
  describe('standings', () => {
    test('count a run’s place among its client’s for its task, as others come and go', async () => {
      const line = await OneByOne.open(factory);
      const { bench } = line;
      const mine = await line.startMany(3, 'mine', { client: 'me' });
      await line.startMany(5, 'theirs', { client: 'them' });
      await line.startMany(2, 'other', { client: 'me' }, 'echo');
      const places = async () =>
        Promise.all(mine.map(async (id) => (await bench.standing(id))?.position ?? undefined));
      expect(await places()).toEqual([1, 2, 3]);
      const urgent = await line.start('urgent', { client: 'me', priority: 3 });
      expect((await bench.standing(urgent))?.position).toBe(1);
      expect(await places()).toEqual([2, 3, 4]);
      await bench.engine.cancel(urgent);
      expect(await places()).toEqual([1, 2, 3]);
      await bench.engine.cancel(mine[1] as string);
      expect(await places()).toEqual([1, undefined, 2]);
      while ((await line.next()) !== 'mine 1');
      expect(await places()).toEqual([undefined, undefined, 1]);
      const standings = await bench.engine.standings([...mine, 'nobody']);
      expect([...standings.keys()]).toEqual([mine[2]]);
    });

    test('are in the answer to a start, in a read and in a list', async () => {
      const line = await OneByOne.open(factory);
      const { bench } = line;
      await line.startMany(2, 'before', { client: 'me' });
      const { snapshot } = await bench.start('ok', { client: 'me' });
      expect(snapshot).toMatchObject({ status: PENDING, position: 3, starts_at: null, ends_at: null });
      expect(await bench.read(snapshot.task_id)).toMatchObject({ position: 3 });
      const listed = await bench.engine.list({ client: 'me', state: 'lab', limit: 10 });
      expect(listed.map((run) => run.snapshot.position)).toEqual([3, 2, 1]);
      await line.inOrder(1);
      const [begun] = await bench.engine.list({
        client: 'me',
        state: 'lab',
        limit: 1,
        before: listed[1]?.snapshot.task_id as string,
      });
      expect(begun?.snapshot.status).toBe(STARTING);
      expect(begun?.snapshot).not.toHaveProperty('position');
    });

    test('say nothing of times before five attempts were seen, and nothing while paused', async () => {
      const clock = new DrivenClock();
      const bench = await Bench.open(factory.home(), modes, { clock, policies: { ok: { concurrency: 1 } } });
      const standingOfNext = async () => {
        await bench.engine.setMode({ state: 'lab', task: 'hang' }, 'pause');
        const hung = (await bench.start('hang')).snapshot;
        const standing = await bench.standing(hung.task_id);
        await bench.engine.cancel(hung.task_id);
        return standing;
      };
      expect(await standingOfNext()).toEqual({ position: 1, starts_at: null, ends_at: null });
      for (let run = 1; run <= 5; run++) {
        await bench.end((await bench.start('ok')).snapshot.task_id);
        await bench.settle();
        const delayed = (await bench.start('ok', { runAt: clock.now() + 5000 })).snapshot;
        const due = new Date(clock.now() + 5000).toISOString();
        // When a delayed one is due is no estimate; when it will have ended is one.
        expect(delayed).toMatchObject({ position: null, starts_at: due, ends_at: run < 5 ? null : due });
        await bench.engine.cancel(delayed.task_id);
      }
      await bench.engine.setMode({ state: 'lab', task: 'ok' }, 'pause');
      const paused = (await bench.start('ok')).snapshot;
      expect(paused).toMatchObject({ position: 1, starts_at: null, ends_at: null });
    });

    test('tell about when a run begins and ends, whichever limit it waits for', async () => {
      await Promise.all(
        (
          [
            ['one at a time on the server', 1, { concurrency: 1 }],
            ['three at a time on the server', 3, { concurrency: 3 }],
            ['one at a time of a task', 1, { policies: { nap: { concurrency: 1 } } }],
            ['three at a time of a task', 3, { policies: { nap: { concurrency: 3 } } }],
            ['one at a time for each client', 1, { policies: { nap: { concurrencyPerClient: 1 } } }],
            ['one at a time for each key', 1, { policies: { nap: { concurrencyPerKey: 1 } } }],
          ] as const
        ).map(([where, slots, settings]) => expectTrueEstimates(factory.home(), where, slots, settings)),
      );
    });

    test('tell about when a run begins that waits for the rate of its task', async () => {
      const clock = new DrivenClock();
      const bench = await Bench.open(factory.home(), modes, {
        clock,
        policies: { ok: { rateLimit: { max: 2, perMs: 10_000 } } },
      });
      const from = clock.now();
      for (let batch = 0; batch < 3; batch++) {
        await bench.startAll([bench.request('ok'), bench.request('ok')]);
        await bench.settle();
        await bench.pass(10_000);
      }
      const begun = clock.now() - 10_000;
      expect(begun).toBe(from + 20_000);
      const runs = await bench.startAll(Array.from({ length: 7 }, () => bench.request('ok')));
      await bench.settle();
      const waiting = runs.slice(2).map(({ snapshot }) => snapshot.task_id);
      const standings = await bench.engine.standings(waiting);
      const starts = waiting.map((id) => Date.parse(standings.get(id)?.starts_at as string) - clock.now());
      expect(starts).toEqual([10_000, 10_000, 20_000, 20_000, 30_000]);
      await bench.pass(31_000);
      const began = waiting.map((id) =>
        Date.parse(bench.told(id).find(({ status }) => status === STARTING)?.timestamp as string),
      );
      expect(began.map((at) => at - (clock.now() - 31_000))).toEqual(starts);
    });

    for (const [jump, byMs] of [
      ['forward', 3_600_000],
      ['back', -3_600_000],
    ] as const) {
      test(`tell times that a clock does not spoil that is set ${jump} while a run is at work`, async () => {
        const line = await OneByOne.open(factory);
        const { bench } = line;
        await line.startMany(12, 'run', { client: 'me' });
        for (let run = 0; run < 7; run++) {
          await line.next();
          await bench.pass(1000);
        }
        const last = await line.start('last', { client: 'me' });
        const startsIn = async () => {
          const standing = await bench.standing(last);
          return Date.parse(standing?.starts_at as string) - line.clock.now();
        };
        await bench.setClock(byMs);
        expect(await startsIn()).toBeGreaterThanOrEqual(4000);
        expect(await startsIn()).toBeLessThan(10_000);
        // Its end is told by the clock that was set, and how long it took is not.
        await line.next();
        expect(await startsIn()).toBeGreaterThanOrEqual(3000);
        expect(await startsIn()).toBeLessThan(10_000);
      });
    }
  });
}
