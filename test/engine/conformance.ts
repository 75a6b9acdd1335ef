/**
 * What every engine promises. An engine is done when it passes.
 */
import { describe, expect, test } from 'vitest';
import type { Execute } from '../../src/engine.ts';
import { TaskStatus } from '../../src/run.ts';
import { isUsable, makeToken } from '../../src/token.ts';
import { Bench, type EngineFactory, Gate, modes, untilAborted } from './harness.ts';

const { PENDING, STARTING, PROCESSING, COMPLETED, ERROR, CANCELLED } = TaskStatus;

export function engineConformance(factory: EngineFactory): void {
  describe(`the engine ${factory.name}`, () => {
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
      });
    });

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
        expect(await last.read(id)).toMatchObject({
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
        const gate = new Gate();
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
        expect(
          seqs.filter((seq, place) => place > 0 && seq !== (seqs[place - 1] as number) + 1),
        ).toHaveLength(1);
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

    describe('client tokens', () => {
      test('are found by their digest until they are revoked, also after a restart', async () => {
        const home = factory.home();
        const { token } = makeToken({ label: 'ci', states: ['lab'] }, Date.now());
        const bench = await Bench.open(home);
        let changes = 0;
        bench.tokens.onChange(() => changes++);
        await bench.tokens.create(token);
        await expect.poll(() => bench.tokens.find(token.digest)).toEqual(token);
        expect(changes).toBeGreaterThan(0);
        await bench.close();
        const after = await Bench.open(home);
        expect(after.tokens.find(token.digest)).toEqual(token);
        expect(await after.tokens.list()).toEqual([token]);
        const revoked = await after.tokens.revoke(token.id, 42);
        expect(revoked).toEqual({ ...token, revokedAt: 42 });
        expect(revoked && isUsable(revoked, Date.now())).toBe(false);
        expect(await after.tokens.revoke(token.digest, 43)).toMatchObject({ revokedAt: 42 });
        expect(await after.tokens.revoke('nobody', 44)).toBeUndefined();
      });
    });
  });
}
