import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import type { StartRequest } from '../../src/engine.ts';
import { SqliteEngine } from '../../src/engines/sqlite/engine.ts';
import type { Snapshot } from '../../src/run.ts';
import { defineTask } from '../../src/task.ts';
import { embed } from '../support/embedded.ts';
import { EventReader } from '../support/eventReader.ts';
import { exchange, post, problem, request } from './asking.ts';

const tasks = {
  ok: defineTask({}, () => 'fine'),
  other: defineTask({}, () => 'fine, too'),
  echo: defineTask({ input: z.object({ n: z.number() }) }, (_task, { n }) => n),
};

const keyed = (key: string) => ({ 'idempotency-key': key });

/** What the engine is asked for while `work` is done. */
async function asking(work: () => Promise<unknown>): Promise<StartRequest[]> {
  const { accept } = SqliteEngine.prototype;
  const requests: StartRequest[] = [];
  SqliteEngine.prototype.accept = function (batch) {
    requests.push(...batch);
    return accept.call(this, batch);
  };
  try {
    await work();
  } finally {
    SqliteEngine.prototype.accept = accept;
  }
  return requests;
}

describe('An idempotency key', () => {
  test.for<[header: string, key: string]>([
    ['"8e03978e-40d5-43dd-bc93-6894a57f9324"', '8e03978e-40d5-43dd-bc93-6894a57f9324'],
    ['8e03978e-40d5-43dd-bc93-6894a57f9324', '8e03978e-40d5-43dd-bc93-6894a57f9324'],
    ['"a \\"b\\" \\\\c"', 'a "b" \\c'],
    ['"a";v=1', 'a'],
    ['order 7, again', 'order 7, again'],
    ['x'.repeat(255), 'x'.repeat(255)],
    [`"${'x'.repeat(255)}"`, 'x'.repeat(255)],
  ])('is a string of a structured field, or bare: %s', async ([header, key]) => {
    const { url } = await embed(tasks);
    const [start] = await asking(() => post(`${url}/api/lab/task/start/ok`, undefined, keyed(header)));
    expect(start?.idempotency?.key).toBe(key);
  });

  test.for(['', '""', '"', '"a', '"a\\b"', '"a" b', 'é', 'x'.repeat(256), `"${'x'.repeat(256)}"`])(
    'is not: %s',
    async (header) => {
      const { url } = await embed(tasks);
      for (const path of ['start/ok', 'start/ok/bulk', 'retry/nobody']) {
        const lines = { 'Idempotency-Key': Buffer.from(header).toString('latin1') };
        const response = await exchange(url, request(`POST /api/lab/task/${path}`, lines));
        expect((await problem(response, 'bad-request')).detail).toContain('Idempotency-Key');
      }
    },
  );

  test('is one: two in a request are refused', async () => {
    const { url } = await embed(tasks);
    const twice = request('POST /api/lab/task/start/ok', { 'Idempotency-Key': 'a\r\nIdempotency-Key: a' });
    await problem(await exchange(url, twice), 'bad-request');
  });

  test('stands for the request: its task, its options, its body to the letter', async () => {
    const { url } = await embed(tasks);
    const base = `${url}/api/lab/task/start`;
    const requests = await asking(async () => {
      await post(`${base}/echo`, '{"n":1}', keyed('a'));
      await post(`${base}/echo`, '{"n":1}', keyed('a'));
      await post(`${base}/echo?priority=1&delay_ms=0`, '{"n":1}', keyed('a'));
      await post(`${base}/echo?delay_ms=0&priority=1`, '{"n":1}', keyed('b'));
      await post(`${base}/echo`, '{"n":2}', keyed('a'));
      await post(`${base}/echo`, '{"n": 1}', keyed('a'));
      await post(`${base}/ok`, undefined, keyed('a'));
      await post(`${base}/other`, undefined, keyed('a'));
      await post(`${base}/echo/bulk`, '{"inputs":[{"n":1}]}', keyed('a'));
    });
    const prints = requests.map(({ idempotency }) => idempotency?.fingerprint ?? '');
    expect(prints[1]).toBe(prints[0]);
    expect(prints[3]).toBe(prints[2]);
    const others = prints.filter((_, index) => index !== 1 && index !== 3);
    expect(new Set(others).size).toBe(7);
    for (const print of prints) expect(print).toMatch(/^[0-9a-f]{64}$/);
  });
});

/** The engine's side of it. */
describe('A start that is sent again under its key', () => {
  test('is answered with the run that there is, as it stands now', async () => {
    const server = await embed(tasks);
    const token = await server.token();
    for (const base of ['task', `tasks/${token}`]) {
      const start = (headers = {}) =>
        post(`${server.url}/api/lab/${base}/start/echo`, { n: 7 }, { ...keyed('a'), ...headers });
      const first = await start();
      expect(first.headers.get('spyglass-deduplicated')).toBeNull();
      const { task_id: id } = (await first.json()) as Snapshot;
      const again = await start({ prefer: 'wait=30' });
      expect(again.status).toBe(200);
      expect(again.headers.get('spyglass-deduplicated')).toBe('true');
      expect(again.headers.get('location')).toBe(`/api/lab/${base}/result/${id}`);
      expect(await again.json()).toMatchObject({ task_id: id, status: 'Completed', result: 7 });
      const third = await start();
      expect(await third.json()).toMatchObject({ task_id: id, status: 'Completed', result: 7 });
    }
  });

  test('may follow that run', async () => {
    const { url } = await embed(tasks);
    const address = `${url}/api/lab/task/start/ok`;
    const { task_id: id } = (await (await post(address, undefined, keyed('a'))).json()) as Snapshot;
    const headers = { ...keyed('a'), accept: 'text/event-stream' };
    const reader = new EventReader(address, { method: 'POST', headers });
    await reader.end();
    expect(reader.response?.headers['spyglass-deduplicated']).toBe('true');
    expect(reader.messages.at(-1)).toMatchObject({ task_id: id, status: 'Completed' });
  });

  test('with something else is refused, and makes no run', async () => {
    const server = await embed(tasks);
    const base = `${server.url}/api/lab/tasks/${await server.token()}`;
    await post(`${base}/start/echo`, { n: 7 }, keyed('a'));
    const answers = [
      await post(`${base}/start/echo`, { n: 8 }, keyed('a')),
      await post(`${base}/start/echo?priority=1`, { n: 7 }, keyed('a')),
      await post(`${base}/start/echo/bulk`, { inputs: [{ n: 7 }] }, keyed('a')),
    ];
    for (const answer of answers) {
      expect((await problem(answer, 'idempotency-conflict')).detail).toContain('new key');
    }
    const list = (await (await fetch(base)).json()) as { all_tasks: object };
    expect(Object.keys(list.all_tasks)).toHaveLength(1);
  });

  test('at the same time waits for the first, and gets its run', async () => {
    const { url } = await embed(tasks);
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => post(`${url}/api/lab/task/start/ok`, undefined, keyed('a'))),
    );
    const runs = await Promise.all(answers.map(async (answer) => (await answer.json()) as Snapshot));
    expect(new Set(runs.map(({ task_id }) => task_id)).size).toBe(1);
    const repeats = answers.filter(({ headers }) => headers.get('spyglass-deduplicated') === 'true');
    expect(repeats).toHaveLength(19);
  });

  test("is nobody else's: a key is of its token, or of direct access", async () => {
    const server = await embed(tasks);
    const bases = ['task', `tasks/${await server.token()}`, `tasks/${await server.token()}`];
    const ids = bases.map(async (base) => {
      const answer = await post(`${server.url}/api/lab/${base}/start/ok`, undefined, keyed('a'));
      return ((await answer.json()) as Snapshot).task_id;
    });
    expect(new Set(await Promise.all(ids)).size).toBe(3);
  });

  test('may be many starts at once, which are then told that no run is new', async () => {
    const { url } = await embed(tasks);
    const start = (inputs: object[]) => post(`${url}/api/lab/task/start/echo/bulk`, { inputs }, keyed('a'));
    const first = await start([{ n: 1 }, { n: 2 }]);
    expect(first.headers.get('spyglass-deduplicated')).toBeNull();
    const again = await start([{ n: 1 }, { n: 2 }]);
    expect(again.headers.get('spyglass-deduplicated')).toBe('true');
    expect(await again.json()).toEqual(await first.json());
    await problem(await start([{ n: 1 }, { n: 3 }]), 'idempotency-conflict');
    const single = (key: string) => post(`${url}/api/lab/task/start/echo`, { n: 1 }, keyed(key));
    await problem(await single('a'), 'idempotency-conflict');
    // No key of a single start is one of those that the rest of a bulk start has.
    for (const key of ['a#0', 'a#1', 'a1']) expect((await single(key)).status).toBe(200);
  });
});
