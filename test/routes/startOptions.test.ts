import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import type { StartRequest } from '../../src/engine.ts';
import { SqliteEngine } from '../../src/engines/sqlite/engine.ts';
import { defaultPolicy } from '../../src/policy.ts';
import { Registry } from '../../src/registry.ts';
import { parseTime } from '../../src/routes/startOptions.ts';
import type { Snapshot } from '../../src/run.ts';
import { defineState, defineTask, type StateDefinition } from '../../src/task.ts';
import { embed } from '../support/embedded.ts';
import { post, problem } from './asking.ts';

const ok = defineTask({}, () => 'fine');
const day = 86_400_000;

/** What the engine is asked for by a start with this query; it is not started. */
async function asked(url: string, query: string, path = 'task/start/ok'): Promise<StartRequest> {
  const { accept } = SqliteEngine.prototype;
  let request: StartRequest | undefined;
  SqliteEngine.prototype.accept = async (requests) => {
    request = requests[0];
    return [];
  };
  try {
    await (await post(`${url}/api/lab/${path}${query}`)).text();
  } finally {
    SqliteEngine.prototype.accept = accept;
  }
  return request as StartRequest;
}

/** Serves one task whose definition is changed in a way that is not yet declared. */
async function embedWith(changes: Partial<NonNullable<ReturnType<Registry['task']>>>, input?: z.ZodType) {
  const registry = new Registry();
  const task = input ? defineTask({ input }, () => 'fine') : ok;
  const state = registry.add(defineState('lab', { ok: task })) as StateDefinition;
  const definition = state.tasks.get('ok') as object;
  (state.tasks as Map<string, object>).set(
    'ok',
    Object.assign(Object.create(definition), definition, changes),
  );
  return embed({ ok }, { registry });
}

describe('A start without a query', () => {
  test('asks the engine for nothing but the run', async () => {
    const { url } = await embed({ ok });
    expect(await asked(url, '')).toEqual({ state: 'lab', task: 'ok', client: null, input: null });
    expect(await asked(url, '?')).toEqual({ state: 'lab', task: 'ok', client: null, input: null });
  });
});

describe('A start that is put off', () => {
  test('begins so many milliseconds from now', async () => {
    const { url } = await embed({ ok });
    const before = Date.now();
    const { runAt = 0 } = await asked(url, '?delay_ms=60000');
    expect(runAt).toBeGreaterThanOrEqual(before + 60_000);
    expect(runAt).toBeLessThanOrEqual(Date.now() + 60_000);
    expect(await asked(url, '?delay_ms=0')).not.toHaveProperty('runAt');
  });

  test('begins at a time, or at once when that has passed', async () => {
    const { url } = await embed({ ok });
    const soon = Math.ceil(Date.now() / 1000) * 1000 + day;
    const shifted = new Date(soon + 5_400_000).toISOString().slice(0, 19);
    for (const text of [new Date(soon).toISOString(), `${shifted}%2B01:30`, `${shifted}+01:30`]) {
      expect((await asked(url, `?run_at=${text}`)).runAt).toBe(soon);
    }
    expect(await asked(url, '?run_at=2020-01-01T00:00:00Z')).not.toHaveProperty('runAt');
  });

  test('is not put off for more than ten years, nor in two ways', async () => {
    const { url } = await embed({ ok });
    const beyond = new Date(Date.now() + 3651 * day).toISOString();
    for (const query of [
      ...[
        'delay_ms=-1',
        'delay_ms=1.5',
        'delay_ms=',
        'delay_ms=1e3',
        'delay_ms=315360000001',
        'delay_ms=NaN',
      ],
      ...['run_at=', 'run_at=tomorrow', 'run_at=2027-01-01', `run_at=${beyond}`],
      ...['delay_ms=1&run_at=2027-01-01T00:00:00Z', 'delay_ms=1&delay_ms=2', 'delay=1'],
    ]) {
      const { errors } = await problem(await post(`${url}/api/lab/task/start/ok?${query}`), 'invalid-query');
      expect(errors).toHaveLength(1);
    }
    expect((await asked(url, '?delay_ms=315360000000')).runAt).toBeGreaterThan(Date.now() + 3649 * day);
  });
});

describe('A time', () => {
  test.for<[text: string, same: string | null]>([
    ['2026-11-23T15:30:00Z', '2026-11-23T15:30:00.000Z'],
    ['2026-11-23t15:30:00z', '2026-11-23T15:30:00.000Z'],
    ['2026-11-23 15:30:00.5Z', '2026-11-23T15:30:00.500Z'],
    ['2026-11-23T15:30:00.123456789Z', '2026-11-23T15:30:00.123Z'],
    ['2026-11-23T15:30:00+01:00', '2026-11-23T14:30:00.000Z'],
    ['2026-11-23T15:30:00 01:00', '2026-11-23T14:30:00.000Z'],
    ['2026-11-23T15:30:00-05:45', '2026-11-23T21:15:00.000Z'],
    ['2024-02-29T00:00:00Z', '2024-02-29T00:00:00.000Z'],
    ['2026-12-31T23:59:60Z', '2027-01-01T00:00:00.000Z'],
    ['2026-02-29T00:00:00Z', null],
    ['2026-04-31T00:00:00Z', null],
    ['2026-13-01T00:00:00Z', null],
    ['2026-00-10T00:00:00Z', null],
    ['2026-11-23T24:00:00Z', null],
    ['2026-11-23T15:60:00Z', null],
    ['2026-11-23T15:30:61Z', null],
    ['2026-11-23T15:30:00+24:00', null],
    ['2026-11-23T15:30:00', null],
    ['2026-11-23T15:30Z', null],
    ['1764000000000', null],
    ['', null],
  ])('is one of RFC 3339 with its offset: %s', ([text, same]) => {
    const ms = parseTime(text);
    expect(ms === undefined ? null : new Date(ms).toISOString()).toBe(same);
  });
});

describe('A start', () => {
  test('has a priority from 0 to 9', async () => {
    const { url } = await embed({ ok });
    expect((await asked(url, '?priority=0')).priority).toBe(0);
    expect((await asked(url, '?priority=9')).priority).toBe(9);
    for (const priority of ['10', '-1', '1.5', 'high', '']) {
      await problem(await post(`${url}/api/lab/task/start/ok?priority=${priority}`), 'invalid-query');
    }
  });

  test('may take away from the time that the author gives an attempt, and not add to it', async () => {
    const { url } = await embedWith({ policy: { ...defaultPolicy, timeoutMs: 5000 } });
    expect((await asked(url, '?timeout_ms=5000')).timeoutMs).toBe(5000);
    expect((await asked(url, '?timeout_ms=1')).timeoutMs).toBe(1);
    const { detail } = await problem(
      await post(`${url}/api/lab/task/start/ok?timeout_ms=5001`),
      'invalid-query',
    );
    expect(detail).toContain('5000 ms');
    for (const timeout of ['0', '-1', 'x', '']) {
      await problem(await post(`${url}/api/lab/task/start/ok?timeout_ms=${timeout}`), 'invalid-query');
    }
    const free = await embed({ ok });
    expect((await asked(free.url, '?timeout_ms=86400000')).timeoutMs).toBe(day);
  });

  test('has the keys that the author makes of its input, its default too', async () => {
    const seen: unknown[] = [];
    const { url } = await embedWith(
      {
        keyOf: (input) => {
          seen.push(input);
          return 'customer 7';
        },
        uniqueOf: () => ({ key: 'order 7', forMs: null }),
      },
      z.object({ customer: z.number() }).default({ customer: 7 }),
    );
    expect(await asked(url, '')).toMatchObject({
      input: null,
      key: 'customer 7',
      unique: { key: 'order 7', forMs: null },
    });
    expect(seen).toEqual([{ customer: 7 }]);
  });

  test('is a 400 when the author cannot make a key of it', async () => {
    const { url } = await embedWith({
      keyOf: () => {
        throw new TypeError('there is no customer');
      },
    });
    for (const path of ['start/ok', 'start/ok/bulk']) {
      const body = path.endsWith('bulk') ? { inputs: [null] } : undefined;
      const { detail, errors } = await problem(
        await post(`${url}/api/lab/task/${path}`, body),
        'invalid-input',
      );
      expect(detail).toContain('The task ok cannot make its key of this input: there is no customer');
      expect(errors).toHaveLength(1);
    }
  });
});

/** The engine's side of it. */
describe('A run that was put off', () => {
  test('waits until it is due, and shows when that is', async () => {
    const { url } = await embed({ ok });
    const response = await post(`${url}/api/lab/task/start/ok?delay_ms=400`);
    const snapshot = (await response.json()) as Snapshot;
    expect(snapshot).toMatchObject({ status: 'Pending', position: null });
    const due = Date.parse(snapshot.starts_at ?? '');
    const result = await fetch(`${url}/api/lab/task/result/${snapshot.task_id}?wait=30`);
    const end = (await result.json()) as Snapshot;
    expect(end).toMatchObject({ status: 'Completed' });
    expect(Date.parse(end.timestamp)).toBeGreaterThanOrEqual(due);
    expect(end).not.toHaveProperty('starts_at');
  });
});
