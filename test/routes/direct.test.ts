import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import type { Snapshot } from '../../src/run.ts';
import { defineTask } from '../../src/task.ts';
import { type Embedded, embed } from '../support/embedded.ts';
import { exchange, expectCommonHeaders, post, problem, request } from './asking.ts';

const person = z.object({ name: z.string(), age: z.number().int() });

const tasks = {
  ok: defineTask({}, () => 'fine'),
  greet: defineTask({ input: person }, (_task, { name, age }) => `${name}, ${age}`),
  polite: defineTask({ input: person.default({ name: 'MATT', age: 25 }) }, (_task, { name }) => name),
  anything: defineTask({ input: z.unknown() }, (_task, value) => value ?? null),
  hold: defineTask({}, (task) => task.sleep(600_000)),
};

const lab = () => embed(tasks);

/** Asks until the run has ended. */
async function ended({ url }: Embedded, { task_id }: Snapshot): Promise<Snapshot> {
  for (;;) {
    const snapshot = (await (await fetch(`${url}/api/lab/task/result/${task_id}`)).json()) as Snapshot;
    if (['Completed', 'Error', 'Cancelled'].includes(snapshot.status)) return snapshot;
  }
}

describe('Starting a task directly', () => {
  test('is answered with the snapshot of its run, and where the result will be', async () => {
    const { url } = await lab();
    const response = await post(`${url}/api/lab/task/start/greet`, { name: 'Matt', age: 25 });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('application/json; charset=utf-8');
    expectCommonHeaders(response.headers);
    const snapshot = (await response.json()) as Snapshot;
    expect(Object.keys(snapshot)).toEqual(
      'task_id state task status progress message result error attempt seq timestamp'.split(' '),
    );
    expect(snapshot).toMatchObject({ state: 'lab', task: 'greet', result: null, error: null });
    expect(snapshot.task_id).toMatch(/^[0-9A-Za-z]{22}$/);
    expect(response.headers.get('location')).toBe(`/api/lab/task/result/${snapshot.task_id}`);
  });

  test('runs it with the input that was sent', async () => {
    const server = await lab();
    const response = await post(`${server.url}/api/lab/task/start/greet`, { name: 'Matt', age: 25 });
    const snapshot = await ended(server, (await response.json()) as Snapshot);
    expect(snapshot).toMatchObject({ status: 'Completed', progress: 100, result: 'Matt, 25' });
  });

  test('takes no body as the default of the schema', async () => {
    const server = await lab();
    for (const headers of [{}, { 'content-type': 'application/json' }, { 'content-type': 'text/plain' }]) {
      const response = await post(
        `${server.url}/api/lab/task/start/polite`,
        undefined,
        headers as Record<string, string>,
      );
      expect(response.status).toBe(200);
      expect(await ended(server, (await response.json()) as Snapshot)).toMatchObject({ result: 'MATT' });
    }
  });

  test('takes a chunked body, and one of nothing whatever its type', async () => {
    const { url } = await lab();
    const chunked = { 'Transfer-Encoding': 'chunked' };
    const body = '{"name":"Matt","age":25}';
    const half = `${(12).toString(16)}\r\n`;
    const full = await exchange(
      url,
      request('POST /api/lab/task/start/greet', { ...chunked, 'Content-Type': 'application/json' }),
      `${half}${body.slice(0, 12)}\r\n`,
      `${half}${body.slice(12)}\r\n0\r\n\r\n`,
    );
    expect(full.status).toBe(200);
    const empty = await exchange(
      url,
      request('POST /api/lab/task/start/ok', { ...chunked, 'Content-Type': 'text/plain' }, '0\r\n\r\n'),
    );
    expect(empty.status).toBe(200);
    const text = await exchange(
      url,
      request(
        'POST /api/lab/task/start/greet',
        { ...chunked, 'Content-Type': 'text/plain' },
        `${half}${body.slice(0, 12)}\r\n`,
      ),
    );
    await problem(text, 'unsupported-media-type');
  });

  test('says what is wrong with each field of a wrong input, and stores nothing', async () => {
    const { url } = await lab();
    const wrong = await problem(
      await post(`${url}/api/lab/task/start/greet`, { name: 7, age: '25' }),
      'invalid-input',
    );
    expect(wrong.errors).toEqual([
      { path: 'name', message: expect.stringContaining('string') },
      { path: 'age', message: expect.stringContaining('number') },
    ]);
    expect(wrong.detail).toContain('name');
  });

  test('needs the body that a task without a default asks for', async () => {
    const { url } = await lab();
    const { detail, errors } = await problem(await post(`${url}/api/lab/task/start/greet`), 'invalid-input');
    expect(detail).toContain('needs input');
    expect(errors).toHaveLength(1);
  });

  test('refuses any body, even {}, for a task without input', async () => {
    const { url } = await lab();
    for (const body of [{}, null, 'x', []]) {
      const text = JSON.stringify(body);
      const { detail } = await problem(await post(`${url}/api/lab/task/start/ok`, text), 'invalid-input');
      expect(detail).toContain('takes no input');
    }
  });

  test('says that no body is taken, and not to send JSON, to one of another type', async () => {
    const server = await lab();
    const { task_id } = await server.start('hold');
    const token = await server.token();
    const own = await server.start('hold', token);
    const direct = `${server.url}/api/lab/task`;
    const withToken = `${server.url}/api/lab/tasks/${token}`;
    const refusals = [
      ['start/ok', 'start/ok', 'invalid-input', 'The task ok takes no input. Send no body, not even {}.'],
      [`cancel/${task_id}`, `cancel/${own.task_id}`, 'bad-request', 'A cancel takes no body. Send none.'],
      [`retry/${task_id}`, `retry/${own.task_id}`, 'bad-request', 'A retry takes no body. Send none.'],
    ] as const;
    const form = { 'content-type': 'application/x-www-form-urlencoded' };
    for (const [directly, byToken, code, sentence] of refusals) {
      for (const address of [`${direct}/${directly}`, `${withToken}/${byToken}`]) {
        for (const headers of [form, { 'content-encoding': 'gzip' }, {}]) {
          expect((await problem(await post(address, '{}', headers), code)).detail).toBe(sentence);
        }
        const chunked = request(
          `POST ${new URL(address).pathname}`,
          { 'Transfer-Encoding': 'chunked', 'Content-Type': form['content-type'] },
          '2\r\n{}\r\n0\r\n\r\n',
        );
        expect((await problem(await exchange(server.url, chunked), code)).detail).toBe(sentence);
      }
    }
    // The list of a start of many is a body.
    const many = await post(`${direct}/start/ok/bulk`, '{"inputs":[null]}', form);
    expect((await problem(many, 'unsupported-media-type')).detail).toContain('Send JSON');
  });

  test('says where a body stops being JSON', async () => {
    const { url } = await lab();
    const { detail } = await problem(
      await post(`${url}/api/lab/task/start/greet`, '{"name": Matt}'),
      'invalid-json',
    );
    expect(detail).toContain('position 9 (line 1, column 10)');
  });

  test.for(['{"__proto__":{}}', '['.repeat(65) + ']'.repeat(65)])(
    'refuses JSON that could do harm: %s',
    async (text) => {
      const { url } = await lab();
      await problem(await post(`${url}/api/lab/task/start/anything`, text), 'refused-json');
    },
  );

  test.for([
    'text/plain',
    'application/x-www-form-urlencoded',
    'application/merge-patch+json',
    'application/json; charset=latin1',
    'application/jsonx',
    'garbage',
  ])('refuses a body that says it is %s', async (type) => {
    const { url } = await lab();
    const response = await post(`${url}/api/lab/task/start/polite`, '{"name":"a","age":1}', {
      'content-type': type,
    });
    await problem(response, 'unsupported-media-type');
  });

  test.for(['application/json; charset=utf-8', 'Application/JSON;charset="UTF-8"', 'application/json; x=y'])(
    'takes a body that says it is %s',
    async (type) => {
      const { url } = await lab();
      const response = await post(`${url}/api/lab/task/start/polite`, '{"name":"a","age":1}', {
        'content-type': type,
      });
      expect(response.status).toBe(200);
    },
  );

  test('refuses a compressed body', async () => {
    const { url } = await lab();
    const response = await post(`${url}/api/lab/task/start/polite`, '{}', { 'content-encoding': 'gzip' });
    expect((await problem(response, 'unsupported-media-type')).detail).toContain('gzip');
  });

  test('refuses a body of more than 1 MiB, and says so to a client that is still sending', async () => {
    const { url } = await lab();
    const most = JSON.stringify('x'.repeat(1024 * 1024 - 2));
    expect((await post(`${url}/api/lab/task/start/anything`, most)).status).toBe(200);
    await problem(await post(`${url}/api/lab/task/start/anything`, `${most} `), 'body-too-large');
    const huge = JSON.stringify('x'.repeat(8_000_000));
    for (let i = 0; i < 5; i++)
      await problem(await post(`${url}/api/lab/task/start/anything`, huge), 'body-too-large');
  });

  test('names what there is when the state or the task is not known', async () => {
    const { url } = await lab();
    const state = await problem(await post(`${url}/api/lib/task/start/ok`), 'unknown-state');
    expect(state.detail).toContain('"lib"');
    expect(state.detail).toContain('lab');
    const task = await problem(await post(`${url}/api/lab/task/start/okay`), 'unknown-task');
    expect(task.detail).toContain('"okay"');
    expect(task.detail).toContain('ok, greet, polite, anything, hold');
  });

  test('keeps an error short, however long the name', async () => {
    const { url } = await lab();
    const { detail } = await problem(
      await post(`${url}/api/lab/task/start/${'x'.repeat(10_000)}`),
      'unknown-task',
    );
    expect(detail.length).toBeLessThan(400);
  });

  test('refuses query parameters that mean nothing', async () => {
    const { url } = await lab();
    const { errors } = await problem(await post(`${url}/api/lab/task/start/ok?delay=5`), 'invalid-query');
    expect(errors).toEqual([{ path: 'delay', message: expect.stringContaining('delay') }]);
  });

  test('checks existence, content type and size in this order, from the head of the request alone', async () => {
    const { url } = await lab();
    const ask = (task: string, type: string) =>
      exchange(
        url,
        request(`POST /api/lab/task/start/${task}`, { 'Content-Length': '2000000', 'Content-Type': type }),
      );
    await problem(await ask('nope', 'text/plain'), 'unknown-task');
    await problem(await ask('greet', 'text/plain'), 'unsupported-media-type');
    await problem(await ask('greet', 'application/json'), 'body-too-large');
  });
});

describe('Reading a run directly', () => {
  test('gives its snapshot while it runs and after it', async () => {
    const server = await lab();
    const held = await server.start('hold');
    const response = await fetch(`${server.url}/api/lab/task/result/${held.task_id}`);
    expectCommonHeaders(response.headers);
    expect(await response.json()).toMatchObject({ task_id: held.task_id, task: 'hold' });
  });

  test('does not find an unknown id, or one in another state', async () => {
    const server = await lab();
    const { task_id } = await server.start('ok');
    const unknown = await problem(await fetch(`${server.url}/api/lab/task/result/nope`), 'unknown-run');
    expect(unknown.detail).toContain('"nope"');
    await problem(await fetch(`${server.url}/api/other/task/result/${task_id}`), 'unknown-state');
  });

  test('does not find a run that was started with a client token', async () => {
    const server = await lab();
    const { task_id } = await server.start('ok', await server.token());
    const theirs = await problem(await fetch(`${server.url}/api/lab/task/result/${task_id}`), 'unknown-run');
    const nobodys = await problem(
      await fetch(`${server.url}/api/lab/task/result/${'x'.repeat(22)}`),
      'unknown-run',
    );
    expect(theirs.detail.replace(task_id, 'x'.repeat(22))).toBe(nobodys.detail);
    await problem(await post(`${server.url}/api/lab/task/cancel/${task_id}`), 'unknown-run');
  });
});

describe('Cancelling a run directly', () => {
  test('ends it, and says so again and again until it has', async () => {
    const server = await lab();
    const held = await server.start('hold');
    const cancel = `${server.url}/api/lab/task/cancel/${held.task_id}`;
    const response = await post(cancel);
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ task_id: held.task_id });
    expect(await ended(server, held)).toMatchObject({ status: 'Cancelled' });
    const { detail } = await problem(await post(cancel), 'already-ended');
    expect(detail).toMatch(/ended with status Cancelled at \d{4}-/);
  });

  test('takes no body, and no query', async () => {
    const server = await lab();
    const { task_id } = await server.start('hold');
    const cancel = `${server.url}/api/lab/task/cancel/${task_id}`;
    await problem(await post(cancel, {}), 'bad-request');
    await problem(await post(`${cancel}?why=x`), 'invalid-query');
    await problem(await post(`${server.url}/api/lab/task/cancel/nope`), 'unknown-run');
  });
});

describe('With --direct off', () => {
  test('the direct routes are not there', async () => {
    const server = await embed(tasks, { direct: false });
    await problem(await post(`${server.url}/api/lab/task/start/ok`), 'not-found');
    await problem(await fetch(`${server.url}/api/lab/task/result/x`), 'not-found');
    await problem(await post(`${server.url}/api/lab/task/cancel/x`), 'not-found');
    expect((await server.start('ok', await server.token())).task).toBe('ok');
  });
});
