import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { openTokens } from '../../src/engines/open.ts';
import type { Snapshot } from '../../src/run.ts';
import { defineTask } from '../../src/task.ts';
import { makeToken, tokenDigest } from '../../src/token.ts';
import { embed } from '../support/embedded.ts';
import { Watcher } from '../support/watcher.ts';
import { exchange, expectCommonHeaders, post, problem, request } from './asking.ts';

const tasks = {
  ok: defineTask({}, () => 'fine'),
  who: defineTask({}, (task) => task.client),
  greet: defineTask({ input: z.object({ name: z.string() }) }, (_task, { name }) => name),
  hold: defineTask({}, (task) => task.sleep(600_000)),
};

const lab = () => embed(tasks);

type List = { all_tasks: Record<string, Snapshot> };

async function list(url: string): Promise<Snapshot[]> {
  const response = await fetch(url);
  expect(response.status).toBe(200);
  const { all_tasks } = (await response.json()) as List;
  for (const [id, snapshot] of Object.entries(all_tasks)) expect(snapshot.task_id).toBe(id);
  return Object.values(all_tasks);
}

describe('With a client token', () => {
  test('a start is answered with the snapshot, and where the result will be for that token', async () => {
    const server = await lab();
    const token = await server.token();
    const base = `${server.url}/api/lab/tasks/${token}`;
    const response = await post(`${base}/start/greet`, { name: 'Ann' });
    expect(response.status).toBe(200);
    expectCommonHeaders(response.headers);
    const { task_id } = (await response.json()) as Snapshot;
    const location = response.headers.get('location') ?? '';
    expect(location).toBe(`/api/lab/tasks/${token}/result/${task_id}`);
    for (const address of [server.url + location, `${base}/${task_id}`]) {
      expect(await (await fetch(address)).json()).toMatchObject({ task_id, task: 'greet' });
    }
  });

  test('a task knows the label of the token', async () => {
    const server = await lab();
    const token = await server.token({ label: 'Ann' });
    const { task_id } = await server.start('who', token);
    const watcher = new Watcher(`${server.ws}/ws/lab/tasks/${token}/${task_id}`);
    await watcher.close();
    expect(watcher.messages.at(-1)).toMatchObject({ status: 'Completed', result: 'Ann' });
  });

  test('a run is seen, listed and cancelled with that token only', async () => {
    const server = await lab();
    const [ann, ben] = [await server.token(), await server.token()];
    const { task_id } = await server.start('hold', ann);
    for (const path of [task_id, `result/${task_id}`]) {
      await problem(await fetch(`${server.url}/api/lab/tasks/${ben}/${path}`), 'unknown-run');
    }
    await problem(await post(`${server.url}/api/lab/tasks/${ben}/cancel/${task_id}`), 'unknown-run');
    expect(await list(`${server.url}/api/lab/tasks/${ben}`)).toEqual([]);
    expect(await list(`${server.url}/api/lab/tasks/${ann}`)).toMatchObject([{ task_id }]);
    expect((await post(`${server.url}/api/lab/tasks/${ann}/cancel/${task_id}`)).status).toBe(200);
  });

  test('a run that was started directly is not seen', async () => {
    const server = await lab();
    const { task_id } = await server.start('ok');
    await problem(
      await fetch(`${server.url}/api/lab/tasks/${await server.token()}/${task_id}`),
      'unknown-run',
    );
  });

  test('all runs are listed newest first, a page at a time', async () => {
    const server = await lab();
    const token = await server.token();
    const all = `${server.url}/api/lab/tasks/${token}`;
    const started: string[] = [];
    for (let i = 0; i < 5; i++) started.unshift((await server.start('ok', token)).task_id);
    const ids = async (query: string) => (await list(all + query)).map(({ task_id }) => task_id);
    expect(await ids('')).toEqual(started);
    expect(await ids('?limit=2')).toEqual(started.slice(0, 2));
    expect(await ids(`?limit=2&before=${started[1]}`)).toEqual(started.slice(2, 4));
    expect(await ids(`?before=${started[4]}`)).toEqual([]);
    expect(await ids('?limit=1000&before=unknown')).toEqual([]);
  });

  test('a page of runs is asked for with limit and before, and nothing else', async () => {
    const server = await lab();
    const all = `${server.url}/api/lab/tasks/${await server.token()}`;
    for (const limit of ['0', '1001', '-1', '1.5', 'ten', '']) {
      const { errors } = await problem(await fetch(`${all}?limit=${limit}`), 'invalid-query');
      expect(errors).toEqual([{ path: 'limit', message: expect.stringContaining('1 to 1000') }]);
    }
    await problem(await fetch(`${all}?before=`), 'invalid-query');
    await problem(await fetch(`${all}?limit=1&limit=2`), 'invalid-query');
    const { detail } = await problem(await fetch(`${all}?offset=2`), 'invalid-query');
    expect(detail).toContain('limit, before');
  });

  test('states and tasks that are not there are named', async () => {
    const server = await lab();
    const token = await server.token();
    await problem(await fetch(`${server.url}/api/lib/tasks/${token}`), 'unknown-state');
    await problem(await fetch(`${server.url}/api/lib/tasks/${token}/x`), 'unknown-state');
    await problem(await post(`${server.url}/api/lib/tasks/${token}/start/ok`), 'unknown-state');
    await problem(await post(`${server.url}/api/lab/tasks/${token}/start/nope`), 'unknown-task');
  });
});

describe('A bad client token', () => {
  /** Every route that takes one. */
  const routes: [method: string, path: string][] = [
    ['GET', ''],
    ['GET', '/some_id'],
    ['GET', '/result/some_id'],
    ['POST', '/start/ok'],
    ['GET', '/events'],
    ['GET', '/events/some_id'],
    ['GET', '/logs/some_id'],
    ['POST', '/start/ok/bulk'],
    ['POST', '/retry/some_id'],
    ['POST', '/cancel/some_id'],
  ];

  test('gets the same 401 on every route, whether malformed, unknown, revoked or expired', async () => {
    const server = await lab();
    const tokens = await openTokens({ data: server.data });
    const revoked = await server.token();
    await tokens.revoke(tokenDigest(revoked), Date.now());
    const expired = makeToken({ expiresAt: Date.now() - 1 }, 0);
    await tokens.create(expired.token);
    tokens.close();
    await expect.poll(async () => (await fetch(`${server.url}/api/lab/tasks/${revoked}`)).status).toBe(401);
    const answers = new Set<string>();
    for (const secret of [revoked, expired.secret, makeToken({}, 0).secret, 'x', '%00', 'x'.repeat(9000)]) {
      for (const [method, path] of routes) {
        const response = await fetch(`${server.url}/api/lab/tasks/${secret}${path}`, { method });
        expect(response.headers.get('www-authenticate')).toMatch(/^ClientToken /);
        answers.add(JSON.stringify(await problem(response, 'unknown-token')));
      }
    }
    expect(answers.size).toBe(1);
  });

  test('comes before everything else that could be wrong', async () => {
    const { url } = await lab();
    await problem(
      await post(`${url}/api/nope/tasks/x/start/nope?a=b`, 'x'.repeat(2_000_000), {
        'content-type': 'text/plain',
      }),
      'unknown-token',
    );
    // Answered from the head alone: the body never comes.
    const head = { 'Content-Length': '100', 'Content-Type': 'application/json' };
    await problem(await exchange(url, request('POST /api/lab/tasks/x/start/ok', head)), 'unknown-token');
  });
});

describe('A token for some states', () => {
  test('is a 403 in all others, before it is said whether they exist', async () => {
    const server = await lab();
    const token = await server.token({ states: ['lab'] });
    expect((await server.start('ok', token)).task).toBe('ok');
    for (const path of ['', '/some_id', '/result/some_id']) {
      await problem(await fetch(`${server.url}/api/other/tasks/${token}${path}`), 'token-scope');
    }
    await problem(await post(`${server.url}/api/other/tasks/${token}/start/ok`), 'token-scope');
    await problem(await post(`${server.url}/api/other/tasks/${token}/cancel/x`), 'token-scope');
  });
});

describe('A token that is revoked beside the running server', () => {
  test('stops working at once, and its open streams are closed with 1008', async () => {
    const server = await lab();
    const [ann, ben] = [await server.token(), await server.token()];
    const { task_id } = await server.start('hold', ann);
    const one = await new Watcher(`${server.ws}/ws/lab/tasks/${ann}/${task_id}`).open();
    const all = await new Watcher(`${server.ws}/ws/lab/tasks/${ann}`).open();
    const others = await new Watcher(`${server.ws}/ws/lab/tasks/${ben}`).open();
    const tokens = await openTokens({ data: server.data });
    await tokens.revoke(tokenDigest(ann), Date.now());
    tokens.close();
    for (const watcher of [one, all]) {
      expect(await watcher.close()).toEqual({
        code: 1008,
        reason: 'The client token was revoked or has expired',
      });
    }
    await problem(await fetch(`${server.url}/api/lab/tasks/${ann}`), 'unknown-token');
    expect(others.closed).toBeUndefined();
  });

  test.for(['start/hold', 'cancel/'])(
    'starts and cancels nothing any more, though the request had begun before: %s',
    async (what) => {
      const seen = { starts: 0, aborts: 0 };
      const hold = defineTask({}, async (task) => {
        seen.starts++;
        task.signal.addEventListener('abort', () => seen.aborts++);
        await task.sleep(600_000);
      });
      const server = await embed({ hold });
      const token = await server.token();
      const { task_id } = await server.start('hold', token);
      await expect.poll(() => seen.starts).toBe(1);
      const path = `/api/lab/tasks/${token}/${what.startsWith('cancel') ? what + task_id : what}`;
      const { hostname, port } = new URL(server.url);
      const socket = connect(Number(port), hostname);
      await once(socket, 'connect');
      const chunked = {
        'Transfer-Encoding': 'chunked',
        'Content-Type': 'application/json',
        Expect: '100-continue',
      };
      socket.write(request(`POST ${path}`, chunked));
      // The head has been looked at, and the token found good.
      const [head] = await once(socket, 'data');
      expect(String(head)).toContain('100 Continue');
      const tokens = await openTokens({ data: server.data });
      await tokens.revoke(tokenDigest(token), Date.now());
      tokens.close();
      await expect.poll(async () => (await fetch(`${server.url}/api/lab/tasks/${token}`)).status).toBe(401);
      socket.write('0\r\n\r\n');
      let text = '';
      for await (const chunk of socket) text += chunk;
      expect(text).toMatch(/^HTTP\/1\.1 401 .*\r\nwww-authenticate: ClientToken /s);
      expect(seen).toEqual({ starts: 1, aborts: 0 });
    },
  );

  test('is the same when it expires', async () => {
    const server = await lab();
    const token = await server.token({ expiresAt: Date.now() + 1500 });
    const watcher = await new Watcher(`${server.ws}/ws/lab/tasks/${token}`).open();
    expect(await watcher.close()).toMatchObject({ code: 1008 });
    await problem(await fetch(`${server.url}/api/lab/tasks/${token}`), 'unknown-token');
  });
});
