/** Keys that let a second start find the run of the first: unique ones of authors, idempotency keys of callers. */
import { describe, expect, test } from 'vitest';
import { idempotencyMs, KeyConflictError } from '../../../src/engine.ts';
import { TaskStatus } from '../../../src/run.ts';
import { DrivenClock } from '../../fixtures/drivenClock.ts';
import { Bench, type EngineFactory, Gate, modes, type RequestOptions } from '../harness.ts';

const { COMPLETED } = TaskStatus;

/** A start, and whether it found a run. */
async function started(bench: Bench, options: RequestOptions, task = 'ok') {
  const [acceptance] = await bench.engine.accept([bench.request(task, options)]);
  if (!acceptance) throw new Error('There is no answer');
  return { id: acceptance.run.snapshot.task_id, deduplicated: acceptance.deduplicated, run: acceptance.run };
}

const whileActive = (key: string) => ({ unique: { key, forMs: null } });
const forMs = (key: string, ms: number) => ({ unique: { key, forMs: ms } });
const idempotent = (key: string, fingerprint = 'f') => ({ idempotency: { key, fingerprint } });

export function keys(factory: EngineFactory): void {
  describe('a unique key', () => {
    test('gives a second start the run that is active, as it stands, and a third one a new run when it has ended', async () => {
      const gate = new Gate();
      const bench = await Bench.open(factory.home(), gate.execute);
      const first = await started(bench, whileActive('k'));
      expect(first.deduplicated).toBe(false);
      await gate.leasedCount(1);
      gate.contexts.get(first.id)?.update({ progress: 40 });
      await bench.status(first.id, TaskStatus.PROCESSING);
      const second = await started(bench, whileActive('k'));
      expect(second).toMatchObject({ id: first.id, deduplicated: true, run: { snapshot: { progress: 40 } } });
      gate.end(first.id);
      await bench.end(first.id);
      const third = await started(bench, whileActive('k'));
      expect(third.deduplicated).toBe(false);
      expect(third.id).not.toBe(first.id);
      await gate.leasedCount(2);
      gate.end(third.id);
      await bench.end(third.id);
    });

    test('holds while the run waits: for its turn, for a time, between attempts', async () => {
      const clock = new DrivenClock();
      const bench = await Bench.open(
        factory.home(),
        async () => ({ kind: 'failed', error: { name: 'Error', message: 'e' }, retry: { afterMs: 5000 } }),
        {
          clock,
          policy: {
            retries: { attempts: 2, backoff: 'fixed', delayMs: 0, maxDelayMs: 0, jitter: 'none' },
          },
        },
      );
      await bench.engine.setMode({ state: 'lab', task: 'paused' }, 'pause');
      const delayed = await started(bench, { ...whileActive('k'), runAt: clock.now() + 1000 });
      const paused = await started(bench, whileActive('k'), 'paused');
      expect(await started(bench, whileActive('k'))).toMatchObject({ id: delayed.id, deduplicated: true });
      expect(await started(bench, whileActive('k'), 'paused')).toMatchObject({
        id: paused.id,
        deduplicated: true,
      });
      await bench.pass(1000);
      expect(await bench.read(delayed.id)).toMatchObject({ attempt: 1, status: TaskStatus.PENDING });
      expect(await started(bench, whileActive('k'))).toMatchObject({ id: delayed.id, deduplicated: true });
      await bench.engine.cancel(delayed.id);
      expect(await started(bench, whileActive('k'))).toMatchObject({ deduplicated: false });
    });

    test('holds for its time, whether the run has ended or not', async () => {
      const clock = new DrivenClock();
      const bench = await Bench.open(factory.home(), modes, { clock });
      const first = await started(bench, forMs('k', 10_000));
      await bench.end(first.id);
      clock.wallTime += 9999;
      const second = await started(bench, forMs('k', 10_000));
      expect(second).toMatchObject({
        id: first.id,
        deduplicated: true,
        run: { snapshot: { status: COMPLETED } },
      });
      clock.wallTime += 1;
      expect(await started(bench, forMs('k', 10_000))).toMatchObject({ deduplicated: false });
    });

    test('holds for its time from when a delayed run may begin', async () => {
      const clock = new DrivenClock();
      const bench = await Bench.open(factory.home(), modes, { clock });
      const delayed = { ...forMs('k', 10_000), runAt: clock.now() + 60_000 };
      const { id } = await started(bench, delayed);
      clock.wallTime += 59_999;
      expect(await started(bench, forMs('k', 10_000))).toMatchObject({ id, deduplicated: true });
      clock.wallTime += 10_000;
      expect(await started(bench, forMs('k', 10_000))).toMatchObject({ id, deduplicated: true });
      clock.wallTime += 1;
      expect(await started(bench, forMs('k', 10_000))).toMatchObject({ deduplicated: false });
      await bench.engine.cancel(id);
    });

    test('passes from the run that holds it to the one that does that again', async () => {
      const clock = new DrivenClock();
      const bench = await Bench.open(factory.home(), modes, { clock });
      const first = await started(bench, forMs('k', 10_000));
      await bench.end(first.id);
      clock.wallTime += 5000;
      const again = await started(bench, { ...forMs('k', 10_000), retryOf: first.id });
      expect(again.deduplicated).toBe(false);
      await bench.end(again.id);
      // For the time from its own start on; and the first, done again once more, finds who has it now.
      clock.wallTime += 9999;
      for (const options of [{}, { retryOf: first.id }]) {
        const next = await started(bench, { ...forMs('k', 10_000), ...options });
        expect(next).toMatchObject({ id: again.id, deduplicated: true });
      }
    });

    test('belongs to a task and a client', async () => {
      const bench = await Bench.open(factory.home(), null);
      const ids = new Set<string>();
      for (const [task, client] of [
        ['ok', null],
        ['ok', 'a'],
        ['ok', 'b'],
        ['echo', null],
        ['echo', 'a'],
      ] as const) {
        const run = await started(bench, { client, ...whileActive('k') }, task);
        expect(run.deduplicated).toBe(false);
        ids.add(run.id);
      }
      const other = await started(bench, { state: 'other', ...whileActive('k') });
      expect(other.deduplicated).toBe(false);
      expect(ids.size).toBe(5);
      expect((await started(bench, { client: 'a', ...whileActive('k') }, 'echo')).deduplicated).toBe(true);
    });

    test('gives one run to all of a batch, and to all that come at the same time', async () => {
      const gate = new Gate();
      const bench = await Bench.open(factory.home(), gate.execute);
      const batch = await bench.engine.accept([
        bench.request('ok', whileActive('k')),
        bench.request('ok'),
        bench.request('ok', whileActive('k')),
        bench.request('ok', whileActive('other')),
      ]);
      expect(batch.map(({ deduplicated }) => deduplicated)).toEqual([false, false, true, false]);
      expect(batch[2]?.run.snapshot.task_id).toBe(batch[0]?.run.snapshot.task_id);
      const together = await Promise.all(
        Array.from({ length: 50 }, () => started(bench, whileActive('together'))),
      );
      expect(new Set(together.map(({ id }) => id)).size).toBe(1);
      expect(together.filter(({ deduplicated }) => !deduplicated)).toHaveLength(1);
      await gate.leasedCount(4);
      await bench.settle();
      expect(gate.leased).toHaveLength(4);
      expect(bench.engine.counts()).toEqual({ pending: 0, running: 4 });
      for (const { id } of gate.leased) gate.end(id);
    });

    test('is let through by no crash: the key is on disk with its run', async () => {
      const home = factory.home();
      const bench = await Bench.open(home, null);
      const first = await started(bench, whileActive('k'));
      const after = await Bench.open(home.crash(), modes);
      // Its run may have ended by now, or be active still: it is the same run or none.
      const again = await started(after, { ...forMs('f', 60_000) });
      await after.end(first.id);
      await after.end(again.id);
      const last = await Bench.open(home.crash(), null);
      expect(await started(last, whileActive('k'))).toMatchObject({ id: first.id, deduplicated: true });
    });

    test('keeps its run as long as it stands, though no more runs are kept', async () => {
      const bench = await Bench.open(factory.home(), modes, { keepRuns: 0, keepMs: 0 });
      const keyed = await started(bench, forMs('k', 60_000));
      const idem = await started(bench, idempotent('k'));
      const plain = await started(bench, {});
      await expect.poll(() => bench.engine.read(plain.id), { timeout: 10_000 }).toBeUndefined();
      expect(await bench.engine.read(keyed.id)).toBeDefined();
      expect(await bench.engine.read(idem.id)).toBeDefined();
      expect(await started(bench, forMs('k', 60_000))).toMatchObject({ id: keyed.id, deduplicated: true });
    });

    test('does not have newer runs deleted in the place of those that it keeps', async () => {
      const bench = await Bench.open(factory.home(), modes, { keepRuns: 3 });
      const ids: string[] = [];
      const start = async (options: RequestOptions) => {
        const { id } = await started(bench, options);
        ids.push(id);
        await bench.end(id);
      };
      await start({});
      for (let run = 0; run < 6; run++) await start(idempotent(`k${run}`));
      for (let run = 0; run < 3; run++) await start({});
      const [oldest, ...rest] = ids;
      await expect.poll(() => bench.engine.read(oldest as string), { timeout: 10_000 }).toBeUndefined();
      for (const id of rest) expect(await bench.engine.read(id)).toBeDefined();
    });
  });

  describe('an idempotency key', () => {
    test('gives the same start the same run for 24 hours, also when it has ended', async () => {
      const clock = new DrivenClock();
      const bench = await Bench.open(factory.home(), modes, { clock });
      const first = await started(bench, idempotent('k'));
      expect(await started(bench, idempotent('k'))).toMatchObject({ id: first.id, deduplicated: true });
      await bench.end(first.id);
      clock.wallTime += idempotencyMs - 1;
      expect(await started(bench, idempotent('k'))).toMatchObject({
        id: first.id,
        deduplicated: true,
        run: { snapshot: { status: COMPLETED, result: 'fine' } },
      });
      clock.wallTime += 1;
      expect(await started(bench, idempotent('k'))).toMatchObject({ deduplicated: false });
      expect(idempotencyMs).toBe(24 * 3_600_000);
    });

    test('with another input is a conflict, and nothing of the batch is kept', async () => {
      const bench = await Bench.open(factory.home(), modes);
      await bench.end((await started(bench, idempotent('k', 'one'))).id);
      const batch = [
        bench.request('ok', { client: null }),
        bench.request('ok', idempotent('new')),
        bench.request('ok', idempotent('k', 'two')),
        bench.request('ok', whileActive('u')),
      ];
      await expect(bench.engine.accept(batch)).rejects.toThrow(KeyConflictError);
      await bench.settle();
      expect(bench.engine.counts()).toEqual({ pending: 0, running: 0 });
      expect(new Set(bench.events.map(({ snapshot }) => snapshot.task_id)).size).toBe(1);
      expect((await started(bench, idempotent('new', 'whatever'))).deduplicated).toBe(false);
      expect((await started(bench, whileActive('u'))).deduplicated).toBe(false);
    });

    test('twice in one batch with two inputs is a conflict too', async () => {
      const bench = await Bench.open(factory.home(), modes);
      const batch = [
        bench.request('ok', idempotent('k', 'one')),
        bench.request('ok', idempotent('k', 'two')),
      ];
      await expect(bench.engine.accept(batch)).rejects.toThrow(KeyConflictError);
      expect(bench.events).toEqual([]);
      // The same key of another task or client is another one.
      const apart = [
        bench.request('ok', idempotent('k', 'one')),
        bench.request('echo', { ...idempotent('k', 'two'), input: 1 }),
        bench.request('ok', { ...idempotent('k', 'three'), client: 'c' }),
        bench.request('ok', idempotent('k', 'one')),
      ];
      const answers = await bench.engine.accept(apart);
      expect(answers.map(({ deduplicated }) => deduplicated)).toEqual([false, false, false, true]);
    });

    test('gives twins that arrive in the same moment one run', async () => {
      const gate = new Gate();
      const bench = await Bench.open(factory.home(), gate.execute);
      const twins = await Promise.all([started(bench, idempotent('k')), started(bench, idempotent('k'))]);
      expect(twins[0]?.id).toBe(twins[1]?.id);
      expect(twins.map(({ deduplicated }) => deduplicated)).toEqual([false, true]);
      const [fine, conflict] = await Promise.allSettled([
        started(bench, idempotent('other', 'one')),
        started(bench, idempotent('other', 'two')),
      ]);
      expect(fine.status).toBe('fulfilled');
      expect(conflict).toMatchObject({ status: 'rejected', reason: expect.any(KeyConflictError) });
      await gate.leasedCount(2);
      for (const { id } of gate.leased) gate.end(id);
    });

    test('belongs to a task and a client', async () => {
      const bench = await Bench.open(factory.home(), null);
      for (const [task, client] of [
        ['ok', null],
        ['ok', 'a'],
        ['echo', 'a'],
      ] as const) {
        expect(
          (await started(bench, { client, ...idempotent('k', `${task} ${client}`) }, task)).deduplicated,
        ).toBe(false);
      }
    });

    test('is kept through a crash between the commit and the answer', async () => {
      const home = factory.home();
      const bench = await Bench.open(home, null);
      const first = await started(bench, idempotent('k', 'one'));
      const after = await Bench.open(home.crash(), null);
      expect(await started(after, idempotent('k', 'one'))).toMatchObject({
        id: first.id,
        deduplicated: true,
      });
      await expect(started(after, idempotent('k', 'two'))).rejects.toThrow(KeyConflictError);
    });

    test('is remembered for the run that a unique key gave, too', async () => {
      const bench = await Bench.open(factory.home(), modes);
      await bench.engine.setMode({ state: 'lab' }, 'pause');
      const first = await started(bench, whileActive('u'));
      const second = await started(bench, { ...whileActive('u'), ...idempotent('k') });
      expect(second).toMatchObject({ id: first.id, deduplicated: true });
      await bench.engine.setMode({ state: 'lab' }, 'run');
      await bench.end(first.id);
      // Its answer was lost, and the caller asks again.
      expect(await started(bench, { ...whileActive('u'), ...idempotent('k') })).toMatchObject({
        id: first.id,
        deduplicated: true,
      });
      await expect(started(bench, idempotent('k', 'other'))).rejects.toThrow(KeyConflictError);
    });

    test('goes before a unique key: a repeat gets the run of the first, whatever is active now', async () => {
      const bench = await Bench.open(factory.home(), modes);
      const first = await started(bench, { ...whileActive('u'), ...idempotent('k') });
      await bench.end(first.id);
      await bench.engine.setMode({ state: 'lab' }, 'pause');
      const active = await started(bench, whileActive('u'));
      expect(active.id).not.toBe(first.id);
      expect(await started(bench, { ...whileActive('u'), ...idempotent('k') })).toMatchObject({
        id: first.id,
        deduplicated: true,
      });
    });
  });

  describe('a batch', () => {
    test('of 10,000 is accepted as one, in order, and all of it is run', async () => {
      let ended = 0;
      const bench = await Bench.open(factory.home(), async ({ input }) => {
        ended++;
        return { kind: 'completed', result: JSON.parse(input as string) };
      });
      const requests = Array.from({ length: 10_000 }, (_, input) => bench.request('ok', { input }));
      const runs = await bench.startAll(requests);
      expect(runs).toHaveLength(10_000);
      expect(new Set(runs.map(({ snapshot }) => snapshot.task_id)).size).toBe(10_000);
      for (const place of [0, 99, 100, 5000, 9999]) {
        const id = runs[place]?.snapshot.task_id as string;
        expect(await bench.end(id)).toMatchObject({ status: COMPLETED, result: place });
        expect(await bench.engine.input(id)).toEqual({ input: String(place) });
      }
      await expect.poll(() => ended, { timeout: 20_000 }).toBe(10_000);
      await bench.settle();
      expect(bench.engine.counts()).toEqual({ pending: 0, running: 0 });
    });

    test('of 10,000 with a conflict in it leaves nothing', async () => {
      const home = factory.home();
      const bench = await Bench.open(home, null);
      await started(bench, idempotent('k', 'one'));
      const requests = Array.from({ length: 9999 }, () => bench.request('ok'));
      await expect(
        bench.engine.accept([...requests, bench.request('ok', idempotent('k', 'two'))]),
      ).rejects.toThrow(KeyConflictError);
      expect(bench.engine.counts().pending).toBe(1);
      const after = await Bench.open(home.crash(), null);
      expect(after.engine.counts().pending).toBe(1);
    });
  });
}
