/**
 * The schedules of a state, as the engine tells them.
 */
import { describe, expect, test } from 'vitest';
import type { ScheduleState } from '../../src/engine.ts';
import { SqliteEngine } from '../../src/engines/sqlite/engine.ts';
import { defineTask } from '../../src/task.ts';
import { embed } from '../support/embedded.ts';
import { expectCommonHeaders, problem } from './asking.ts';

const tasks = { ok: defineTask({}, () => 'fine') };

const schedule = {
  cron: '0 3 * * *',
  timeZone: 'Europe/Berlin',
  input: '{"deep":true}',
  catchUp: 'one',
} as const;
const known: ScheduleState[] = [
  {
    ...{ state: 'lab', task: 'ok', schedule, nextAt: Date.UTC(2026, 10, 24, 2) },
    last: { at: Date.UTC(2026, 10, 23, 2), id: '8fKq2LwX0vYbT5sRzN3mJd' },
  },
  {
    state: 'lab',
    task: 'ok',
    schedule: { ...schedule, input: null, catchUp: 'none' },
    last: null,
    nextAt: null,
  },
  { state: 'other', task: 'ok', schedule, last: null, nextAt: 0 },
];

describe('The schedules of a state', () => {
  test('are listed with their last and next times', async () => {
    const { url } = await embed(tasks);
    const { schedules } = SqliteEngine.prototype;
    SqliteEngine.prototype.schedules = async () => known;
    try {
      const response = await fetch(`${url}/api/lab/task/schedules`);
      expect(response.status).toBe(200);
      expectCommonHeaders(response.headers);
      const common = { task: 'ok', cron: '0 3 * * *', time_zone: 'Europe/Berlin' };
      expect(await response.json()).toEqual({
        schedules: [
          {
            ...common,
            ...{ args: { deep: true }, catch_up: 'one', last_at: '2026-11-23T02:00:00.000Z' },
            ...{ last_task_id: '8fKq2LwX0vYbT5sRzN3mJd', next_at: '2026-11-24T02:00:00.000Z' },
          },
          { ...common, args: null, catch_up: 'none', last_at: null, last_task_id: null, next_at: null },
        ],
      });
    } finally {
      SqliteEngine.prototype.schedules = schedules;
    }
  });

  test('are asked for of a state that there is, and with nothing else', async () => {
    const { url } = await embed(tasks);
    await problem(await fetch(`${url}/api/nope/task/schedules`), 'unknown-state');
    await problem(await fetch(`${url}/api/lab/task/schedules?task=ok`), 'invalid-query');
    const closed = await embed(tasks, { direct: false });
    await problem(await fetch(`${closed.url}/api/lab/task/schedules`), 'not-found');
  });

  /** The engine's side of it. */
  test('are none where no task has one', async () => {
    const { url } = await embed(tasks);
    expect(await (await fetch(`${url}/api/lab/task/schedules`)).json()).toEqual({ schedules: [] });
  });
});
