import { monitorEventLoopDelay } from 'node:perf_hooks';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { SqliteEngine } from '../../src/engines/sqlite/engine.ts';
import type { Snapshot } from '../../src/run.ts';
import { defineTask } from '../../src/task.ts';
import { embed } from '../support/embedded.ts';
import { post, problem } from './asking.ts';

const person = z.object({ name: z.string(), age: z.number().int() });
const tasks = {
  ok: defineTask({}, () => 'fine'),
  greet: defineTask({ input: person }, (_task, { name, age }) => `${name}, ${age}`),
  polite: defineTask({ input: person.default({ name: 'MATT', age: 25 }) }, (_task, { name }) => name),
  nullable: defineTask({ input: z.string().nullable().default('none') }, (_task, value) => ({ value })),
  bulk: defineTask({}, () => 'a task may be called so'),
  any: defineTask({ input: z.unknown() }, () => null),
};

interface Ids {
  task_ids: string[];
}

async function results(url: string, base: string, ids: string[]): Promise<unknown[]> {
  const answers = ids.map(async (id) => {
    const response = await fetch(`${url}/api/lab/${base}/result/${id}?wait=30`);
    return ((await response.json()) as Snapshot).result;
  });
  return Promise.all(answers);
}

describe('Many starts at once', () => {
  test('make a run for each input, in order, directly and with a token', async () => {
    const server = await embed(tasks);
    const inputs = Array.from({ length: 50 }, (_, age) => ({ name: 'Matt', age }));
    for (const base of ['task', `tasks/${await server.token()}`]) {
      const response = await post(`${server.url}/api/lab/${base}/start/greet/bulk`, { inputs });
      expect(response.status).toBe(200);
      expect(response.headers.get('spyglass-deduplicated')).toBeNull();
      const body = (await response.json()) as Ids;
      expect(Object.keys(body)).toEqual(['task_ids']);
      expect(await results(server.url, base, body.task_ids)).toEqual(inputs.map(({ age }) => `Matt, ${age}`));
    }
  });

  test('are one batch for the engine, with the options that each start has', async () => {
    const { url } = await embed(tasks);
    const { accept } = SqliteEngine.prototype;
    const batches: Parameters<typeof accept>[0][] = [];
    SqliteEngine.prototype.accept = function (requests) {
      batches.push(requests);
      return accept.call(this, requests);
    };
    try {
      const before = Date.now();
      const body = '{"inputs": [{"name": "Ann", "age": 1.0}, {"age":2,"name":"Ben"}]}';
      await post(`${url}/api/lab/task/start/greet/bulk?priority=3&delay_ms=60000`, body, {
        'idempotency-key': 'order 7',
      });
      const [first, second] = batches[0] ?? [];
      // As they were sent.
      expect([first?.input, second?.input]).toEqual([
        '{"name": "Ann", "age": 1.0}',
        '{"age":2,"name":"Ben"}',
      ]);
      expect(first).toMatchObject({ state: 'lab', task: 'greet', client: null, priority: 3 });
      expect(first?.runAt).toBeGreaterThanOrEqual(before + 60_000);
      expect(second?.runAt).toBe(first?.runAt);
      expect([first?.idempotency?.key, second?.idempotency?.key]).toEqual(['order 7', 'order 7\n1']);
      expect(first?.idempotency?.fingerprint).toBe(second?.idempotency?.fingerprint);
      expect(batches).toHaveLength(1);
    } finally {
      SqliteEngine.prototype.accept = accept;
    }
  });

  test('take null for no body, unless the schema takes null', async () => {
    const { url } = await embed(tasks);
    const start = async (task: string, inputs: unknown[]) => {
      const response = await post(`${url}/api/lab/task/start/${task}/bulk`, { inputs });
      return results(url, 'task', ((await response.json()) as Ids).task_ids);
    };
    expect(await start('ok', [null, null])).toEqual(['fine', 'fine']);
    expect(await start('polite', [null, { name: 'Ann', age: 1 }])).toEqual(['MATT', 'Ann']);
    expect(await start('nullable', [null, 'x'])).toEqual([{ value: null }, { value: 'x' }]);
    const { errors } = await problem(
      await post(`${url}/api/lab/task/start/ok/bulk`, { inputs: [null, {}] }),
      'invalid-input',
    );
    expect(errors).toEqual([{ path: 'inputs[1]', message: expect.stringContaining('takes no input') }]);
    const needed = await problem(
      await post(`${url}/api/lab/task/start/greet/bulk`, { inputs: [null] }),
      'invalid-input',
    );
    expect(needed.errors).toEqual([{ path: 'inputs[0]', message: expect.stringContaining('object') }]);
  });

  test('are none at all when one input does not fit, and each that does not is named', async () => {
    const server = await embed(tasks);
    const token = await server.token();
    const inputs = [{ name: 'Ann', age: 1 }, { name: 7, age: 'x' }, { name: 'Ben', age: 2 }, 'x'];
    const { detail, errors } = await problem(
      await post(`${server.url}/api/lab/tasks/${token}/start/greet/bulk`, { inputs }),
      'invalid-input',
    );
    expect(errors?.map(({ path }) => path)).toEqual(['inputs[1].name', 'inputs[1].age', 'inputs[3]']);
    expect(detail).toContain('inputs[1].name');
    expect(await (await fetch(`${server.url}/api/lab/tasks/${token}`)).json()).toEqual({ all_tasks: {} });
  });

  test('are told of a hundred errors at the most', async () => {
    const { url } = await embed(tasks);
    const inputs = Array.from({ length: 1000 }, () => ({}));
    const { errors } = await problem(
      await post(`${url}/api/lab/task/start/greet/bulk`, { inputs }),
      'invalid-input',
    );
    expect(errors).toHaveLength(100);
  });

  test('are 1 to 10,000, in a body that has nothing else', async () => {
    const { url } = await embed(tasks);
    const ask = (body?: unknown) => post(`${url}/api/lab/task/start/ok/bulk`, body);
    for (const body of [undefined, {}, [], { inputs: [] }, { inputs: 1 }, { inputs: [null], more: 1 }]) {
      await problem(await ask(body), 'invalid-input');
    }
    await problem(await ask('{"inputs":[null'), 'invalid-json');
    const most = await ask({ inputs: Array(10_000).fill(null) });
    expect(((await most.json()) as Ids).task_ids).toHaveLength(10_000);
    const { detail } = await problem(await ask({ inputs: Array(10_001).fill(null) }), 'invalid-input');
    expect(detail).toContain('10000');
    await problem(await post(`${url}/api/lab/task/start/nope/bulk`, { inputs: [] }), 'unknown-task');
    await problem(await post(`${url}/api/lab/tasks/x/start/ok/bulk`, { inputs: [] }), 'unknown-token');
  });

  test('have a body limit of their own, and the others keep theirs', async () => {
    const { url } = await embed(tasks);
    const input = 'x'.repeat(1_000_000);
    const inputs = Array(32).fill(input);
    expect((await post(`${url}/api/lab/task/start/any/bulk`, { inputs })).status).toBe(200);
    const many = await problem(
      await post(`${url}/api/lab/task/start/any/bulk`, { inputs: [...inputs, ...inputs.slice(0, 2)] }),
      'body-too-large',
    );
    expect(many.detail).toContain('33554432 bytes');
    const one = await problem(await post(`${url}/api/lab/task/start/any`, input + input), 'body-too-large');
    expect(one.detail).toContain('1048576 bytes');
    const large = await problem(
      await post(`${url}/api/lab/task/start/any/bulk`, { inputs: [1, input + input] }),
      'body-too-large',
    );
    expect(large.detail).toContain('inputs[1]');
  });

  test('do not keep a task from being called bulk', async () => {
    const { url, start } = await embed(tasks);
    const { task_id: id } = await start('bulk');
    expect(await results(url, 'task', [id])).toEqual(['a task may be called so']);
    const response = await post(`${url}/api/lab/task/start/bulk/bulk`, { inputs: [null] });
    expect(((await response.json()) as Ids).task_ids).toHaveLength(1);
  });

  test('are checked a few at a time, so that others are answered meanwhile', async () => {
    const busy = z.string().refine((text) => {
      // Some tenths of a millisecond for each.
      let sum = 0;
      for (let i = 0; i < 100_000; i++) sum += (i * text.length) % 7;
      return sum < 0;
    });
    const { url } = await embed({ busy: defineTask({ input: busy.or(z.string()) }, () => null) });
    const { accept } = SqliteEngine.prototype;
    // What the engine makes of them is its own matter.
    SqliteEngine.prototype.accept = () => Promise.resolve([]);
    try {
      const body = JSON.stringify({ inputs: Array(5000).fill('some text') });
      const delay = monitorEventLoopDelay({ resolution: 1 });
      const begun = performance.now();
      delay.enable();
      expect((await post(`${url}/api/lab/task/start/busy/bulk`, body)).status).toBe(200);
      delay.disable();
      expect(performance.now() - begun).toBeGreaterThan(300);
      // A pause of the whole machine is not ours.
      expect(delay.percentile(95) / 1e6).toBeLessThan(40);
    } finally {
      SqliteEngine.prototype.accept = accept;
    }
  });
});
