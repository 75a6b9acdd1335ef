/** Runs that schedules start by themselves: each occurrence once. */
import { describe, expect, test } from 'vitest';
import type { EngineLog } from '../../../src/engine.ts';
import type { Schedule } from '../../../src/policy.ts';
import { TaskStatus } from '../../../src/run.ts';
import { DrivenClock } from '../../fixtures/drivenClock.ts';
import { Bench, type EngineFactory, type EngineHome, type EngineSettings, modes } from '../harness.ts';

const { PENDING, COMPLETED } = TaskStatus;

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const yearMs = 365 * 24 * hourMs;

/** The driven clock begins on the full hour, at midnight. */
const everyMinute: Schedule = { cron: '* * * * *', timeZone: 'UTC', input: null, catchUp: 'none' };
const hourly: Schedule = { ...everyMinute, cron: '0 * * * *' };

const catchingUp = (schedule: Schedule): Schedule => ({ ...schedule, catchUp: 'one' });

/** Runs of the scheduled task `ok`, by what they were started for: the latest occurrence before each. */
function starts(bench: Bench): number[] {
  return bench.events
    .filter(({ snapshot }) => snapshot.seq === 1 && snapshot.task === 'ok')
    .map(({ snapshot }) => Date.parse(snapshot.timestamp));
}

function open(
  home: EngineHome,
  clock: DrivenClock,
  schedules: Schedule[],
  settings: Partial<EngineSettings> = {},
): Promise<Bench> {
  return Bench.open(home, modes, { clock, policies: { ok: { schedules } }, ...settings });
}

export function schedules(factory: EngineFactory): void {
  describe('schedules', () => {
    test('start a run of the direct kind at each occurrence, on time', async () => {
      const clock = new DrivenClock();
      const from = clock.now();
      const bench = await open(factory.home(), clock, [{ ...everyMinute, input: '{"by":"schedule"}' }]);
      await bench.pass(minuteMs - 1);
      expect(starts(bench)).toEqual([]);
      await bench.pass(1);
      expect(starts(bench)).toEqual([from + minuteMs]);
      await bench.pass(2 * minuteMs);
      expect(starts(bench)).toEqual([from + minuteMs, from + 2 * minuteMs, from + 3 * minuteMs]);
      const { snapshot, client } = bench.events[0] as { snapshot: { task_id: string }; client: null };
      expect(client).toBeNull();
      expect(await bench.engine.input(snapshot.task_id)).toEqual({ input: '{"by":"schedule"}' });
      expect(await bench.end(snapshot.task_id)).toMatchObject({ status: COMPLETED });
    });

    test('are listed with their last and their next time', async () => {
      const clock = new DrivenClock();
      const from = clock.now();
      const never: Schedule = { ...everyMinute, cron: '0 0 30 2 *' };
      const bench = await open(factory.home(), clock, [hourly, { ...everyMinute, input: '1' }, never]);
      const [first, second, third] = await bench.engine.schedules();
      expect(first).toEqual({
        state: 'lab',
        task: 'ok',
        schedule: hourly,
        last: null,
        nextAt: from + hourMs,
      });
      expect(second).toMatchObject({ last: null, nextAt: from + minuteMs });
      expect(third).toMatchObject({ last: null, nextAt: null });
      await bench.pass(2 * minuteMs);
      const [, later] = await bench.engine.schedules();
      const ids = bench.events.filter(({ snapshot }) => snapshot.seq === 1);
      expect(later).toMatchObject({
        last: { at: from + 2 * minuteMs, id: ids[1]?.snapshot.task_id },
        nextAt: from + 3 * minuteMs,
      });
    });

    test('run each occurrence once, whenever the process dies', async () => {
      const clock = new DrivenClock();
      const from = clock.now();
      let home = factory.home();
      const began: number[] = [];
      // A death before each occurrence, right after it, and while its run is on its way.
      for (const [stepMs, settles] of [
        [minuteMs - 500, true],
        [500, false],
        [0, true],
        [minuteMs, true],
        [500, true],
        [minuteMs, false],
        [minuteMs, true],
      ] as const) {
        const bench = await open(home, clock, [catchingUp(everyMinute)]);
        await bench.settle();
        if (settles) await bench.pass(stepMs);
        else await clock.goOn(stepMs);
        const next = home.crash();
        await bench.close();
        began.push(...starts(bench));
        home = next;
      }
      const last = await open(home, clock, [catchingUp(everyMinute)]);
      await last.settle();
      await last.pass(1000);
      // Which runs there are is on disk: events of one that was committed as its process died came out twice or never.
      const runs = await last.engine.list({ client: null, state: 'lab', limit: 100, active: true });
      expect(runs).toEqual([]);
      const minutes = Math.floor((clock.now() - from) / minuteMs);
      expect(new Set([...began, ...starts(last)].map((at) => Math.floor((at - from) / minuteMs))).size).toBe(
        minutes,
      );
      const [schedule] = await last.engine.schedules();
      expect(schedule?.last?.at).toBe(from + minutes * minuteMs);
      expect(schedule?.nextAt).toBe(from + (minutes + 1) * minuteMs);
    });

    test('do not run an occurrence again after a crash, catching up or not', async () => {
      for (const schedule of [everyMinute, catchingUp(everyMinute)]) {
        const clock = new DrivenClock();
        const home = factory.home();
        const bench = await open(home, clock, [schedule]);
        await bench.pass(minuteMs);
        expect(starts(bench)).toHaveLength(1);
        const after = await open(home.crash(), clock, [schedule]);
        await after.pass(5000);
        expect(starts(after)).toEqual([]);
        const [state] = await after.engine.schedules();
        expect(state?.last?.id).toBe(bench.events[0]?.snapshot.task_id);
        await after.pass(minuteMs - 5000);
        expect(starts(after)).toHaveLength(1);
      }
    });

    for (const [downtime, downMs] of [
      ['minutes', 7 * minuteMs],
      ['years', 3 * yearMs],
    ] as const) {
      test(`pass over what was missed in ${downtime}, or run it once for all`, async () => {
        for (const [schedule, runs] of [
          [everyMinute, 0],
          [catchingUp(everyMinute), 1],
        ] as const) {
          const clock = new DrivenClock();
          const home = factory.home();
          const bench = await open(home, clock, [schedule]);
          await bench.pass(minuteMs);
          const next = home.crash();
          clock.wallTime += downMs + 30_000;
          const from = Math.floor(clock.now() / minuteMs) * minuteMs;
          const after = await open(next, clock, [schedule]);
          await after.settle();
          await after.pass(2000);
          expect(starts(after)).toHaveLength(runs);
          const [state] = await after.engine.schedules();
          if (runs === 1) expect(state?.last?.at).toBe(from);
          expect(state?.nextAt).toBe(from + minuteMs);
          await after.pass(minuteMs);
          expect(starts(after)).toHaveLength(runs + 1);
          // The same after another crash: what was missed is missed once.
          const last = await open(next.crash(), clock, [schedule]);
          await last.pass(1000);
          expect(starts(last)).toEqual([]);
        }
      });
    }

    test('catch nothing up that was before a schedule was first seen', async () => {
      const clock = new DrivenClock();
      clock.wallTime += 30 * minuteMs;
      const bench = await open(factory.home(), clock, [catchingUp(hourly)]);
      await bench.pass(5000);
      expect(starts(bench)).toEqual([]);
    });

    test('begin anew where they were changed', async () => {
      const clock = new DrivenClock();
      const home = factory.home();
      const bench = await open(home, clock, [catchingUp(hourly)]);
      await bench.close();
      clock.wallTime += 90 * minuteMs;
      const changed = { ...catchingUp(hourly), cron: '30 * * * *' };
      const next = await open(home, clock, [changed]);
      await next.pass(5000);
      expect(starts(next)).toEqual([]);
      expect(await next.engine.schedules()).toMatchObject([{ last: null, schedule: changed }]);
      await next.close();
      // The old one is forgotten: when it is back, it begins anew too.
      clock.wallTime += 90 * minuteMs;
      const back = await open(home, clock, [catchingUp(hourly)]);
      await back.pass(5000);
      expect(starts(back)).toEqual([]);
    });

    test('do not catch up what was passed over, when they begin to catch up', async () => {
      const clock = new DrivenClock();
      const home = factory.home();
      const bench = await open(home, clock, [hourly]);
      await bench.close();
      clock.wallTime += 90 * minuteMs;
      const next = await open(home, clock, [hourly]);
      await next.pass(5000);
      await next.close();
      const last = await open(home, clock, [catchingUp(hourly)]);
      await last.pass(5000);
      expect(starts(last)).toEqual([]);
    });

    test('run every occurrence under a timer that is late, for as long as somebody is there', async () => {
      const clock = new DrivenClock();
      const from = clock.now();
      const bench = await open(factory.home(), clock, [{ ...everyMinute, cron: '*/10 * * * * *' }]);
      await bench.pass(5000);
      clock.wallTime += 45_000;
      await bench.pass(3000);
      expect(starts(bench)).toHaveLength(5);
      const [state] = await bench.engine.schedules();
      expect(state).toMatchObject({ last: { at: from + 50_000 }, nextAt: from + minuteMs });
    });

    test('take a clock that is set forward by an hour for an hour in which nobody was there', async () => {
      for (const [schedule, runs] of [
        [everyMinute, 0],
        [catchingUp(everyMinute), 1],
      ] as const) {
        const clock = new DrivenClock();
        const bench = await open(factory.home(), clock, [schedule]);
        await bench.pass(10_000);
        clock.wallTime += hourMs;
        await bench.pass(3000);
        expect(starts(bench)).toHaveLength(runs);
        await bench.pass(minuteMs);
        expect(starts(bench)).toHaveLength(runs + 1);
      }
    });

    test('run nothing twice when the clock is set back by an hour, and go on from where they were', async () => {
      const clock = new DrivenClock();
      const home = factory.home();
      const warnings: unknown[] = [];
      const log: EngineLog = (level, message, fields) => {
        if (level === 'warn') warnings.push([message, fields?.until]);
      };
      const bench = await open(home, clock, [catchingUp(everyMinute)], { log });
      await bench.pass(3 * minuteMs);
      expect(starts(bench)).toHaveLength(3);
      const reached = clock.now();
      expect(warnings).toEqual([]);
      clock.wallTime -= hourMs;
      await bench.pass(2 * minuteMs);
      const told = [expect.stringContaining('set back'), new Date(reached).toISOString()];
      expect(warnings).toEqual([told]);
      const next = home.crash();
      const after = await open(next, clock, [catchingUp(everyMinute)], { log });
      expect(warnings).toEqual([told, told]);
      await after.pass(2 * minuteMs);
      expect(starts(after)).toEqual([]);
      clock.wallTime = reached + 30_000;
      await after.pass(2000);
      await after.pass(minuteMs);
      expect(starts(after)).toHaveLength(1);
    });

    test('run what comes after the clock was set forward by mistake, and back again', async () => {
      const clock = new DrivenClock();
      const from = clock.now();
      const bench = await open(factory.home(), clock, [hourly]);
      await bench.pass(10_000);
      clock.wallTime += 90 * minuteMs;
      await bench.pass(3000);
      clock.wallTime -= 90 * minuteMs;
      await bench.pass(3000);
      expect(starts(bench)).toEqual([]);
      // That at one o'clock was missed by nobody in truth.
      expect((await bench.engine.schedules())[0]?.nextAt).toBe(from + hourMs);
      clock.wallTime = from + hourMs - 5000;
      await bench.pass(10_000);
      expect(starts(bench)).toHaveLength(1);
    });

    test('leave out what occurs while their task is drained, for good', async () => {
      const clock = new DrivenClock();
      const home = factory.home();
      const bench = await open(home, clock, [catchingUp(hourly)]);
      await bench.engine.setMode({ state: 'lab', task: 'ok' }, 'drain');
      clock.wallTime += hourMs - 30_000;
      await bench.pass(minuteMs);
      expect(starts(bench)).toEqual([]);
      await bench.engine.setMode({ state: 'lab', task: 'ok' }, 'run');
      await bench.pass(5000);
      const after = await open(home.crash(), clock, [catchingUp(hourly)]);
      await after.pass(5000);
      expect(starts(after)).toEqual([]);
      clock.wallTime += hourMs - minuteMs;
      await after.pass(minuteMs);
      expect(starts(after)).toHaveLength(1);
    });

    test('let the runs of a paused task wait', async () => {
      const clock = new DrivenClock();
      const bench = await open(factory.home(), clock, [everyMinute]);
      await bench.engine.setMode({ state: 'lab' }, 'pause');
      await bench.pass(2 * minuteMs);
      const ids = bench.events.map(({ snapshot }) => snapshot.task_id);
      expect(ids).toHaveLength(2);
      for (const id of ids) expect(await bench.read(id)).toMatchObject({ status: PENDING, attempt: 0 });
      await bench.engine.setMode({ state: 'lab' }, 'run');
      for (const id of ids) expect(await bench.end(id)).toMatchObject({ status: COMPLETED });
    });

    test('start runs that expire as those of their task do', async () => {
      const clock = new DrivenClock();
      const policies = { ok: { schedules: [everyMinute], expiresInMs: 30_000 } };
      const bench = await open(factory.home(), clock, [], { policies });
      await bench.engine.setMode({ state: 'lab' }, 'pause');
      await bench.pass(minuteMs + 31_000);
      const [first] = bench.events;
      expect(await bench.read(first?.snapshot.task_id as string)).toMatchObject({
        error: { name: 'ExpiredError' },
      });
    });

    test('do not start before the engine does, nor after it stops', async () => {
      const clock = new DrivenClock();
      const home = factory.home();
      const bench = await Bench.open(home, null, { clock, policies: { ok: { schedules: [everyMinute] } } });
      await bench.pass(2 * minuteMs);
      expect(bench.events).toEqual([]);
      bench.engine.start(modes);
      await bench.pass(minuteMs);
      const { length } = starts(bench);
      expect(length).toBeGreaterThanOrEqual(1);
      await bench.engine.drain(0);
      await bench.pass(2 * minuteMs);
      expect(starts(bench)).toHaveLength(length);
    });
  });
}
