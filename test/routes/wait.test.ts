import { request } from 'node:http';
import { describe, expect, test } from 'vitest';
import { openTokens } from '../../src/engines/open.ts';
import { preferredWait } from '../../src/routes/prefer.ts';
import type { Snapshot } from '../../src/run.ts';
import { defineTask } from '../../src/task.ts';
import { tokenDigest } from '../../src/token.ts';
import { Waiters } from '../../src/waiters.ts';
import { embed } from '../support/embedded.ts';
import { post, problem } from './asking.ts';

/** A task that ends when the test says so. */
function held() {
  const ends: ((result: string) => void)[] = [];
  const task = defineTask({}, () => new Promise<string>((resolve) => ends.push(resolve)));
  return { task, ends };
}

const ok = defineTask({}, () => 'fine');
const hang = defineTask({}, (task) => task.sleep(600_000));

/** The room of those who wait, of whatever server is asked next. */
async function watchingWaiters<T>(work: (waiting: () => number) => Promise<T>): Promise<T> {
  const { add } = Waiters.prototype;
  let waiters: Waiters | undefined;
  Waiters.prototype.add = function (...args) {
    waiters = this;
    return add.apply(this, args);
  };
  try {
    return await work(() => waiters?.size ?? 0);
  } finally {
    Waiters.prototype.add = add;
  }
}

describe('A read that waits', () => {
  test('is answered as soon as the run has ended', async () => {
    const { task, ends } = held();
    const server = await embed({ task });
    const token = await server.token();
    await watchingWaiters(async (waiting) => {
      const [direct, hers] = [await server.start('task'), await server.start('task', token)];
      const answers = [
        fetch(`${server.url}/api/lab/task/result/${direct.task_id}?wait=60`),
        fetch(`${server.url}/api/lab/tasks/${token}/result/${hers.task_id}?wait=60`),
        fetch(`${server.url}/api/lab/tasks/${token}/${hers.task_id}`, { headers: { prefer: 'wait=60' } }),
      ];
      await expect.poll(waiting).toBe(3);
      for (const end of ends) end('done');
      for (const answer of answers) {
        const response = await answer;
        expect(response.status).toBe(200);
        expect(await response.json()).toMatchObject({ status: 'Completed', result: 'done' });
      }
      expect(waiting()).toBe(0);
    });
  });

  test('is answered with where the run stands when the time is over', async () => {
    const { url, start } = await embed({ hang });
    const { task_id: id } = await start('hang');
    const address = `${url}/api/lab/task/result/${id}`;
    const begun = Date.now();
    const response = await fetch(`${address}?wait=1`);
    expect(Date.now() - begun).toBeGreaterThanOrEqual(950);
    expect(await response.json()).toMatchObject({ task_id: id, status: 'Processing' });
    expect(response.headers.get('preference-applied')).toBeNull();
    expect(((await (await fetch(`${address}?wait=0`)).json()) as Snapshot).task_id).toBe(id);
  });

  test('of a run that has ended is answered at once', async () => {
    const { url, start } = await embed({ ok });
    const { task_id: id } = await start('ok');
    for (let i = 0; i < 2; i++) {
      const response = await fetch(`${url}/api/lab/task/result/${id}?wait=60`);
      expect(await response.json()).toMatchObject({ status: 'Completed', result: 'fine' });
    }
  });

  test('takes a whole number of seconds up to 60, and sees no more than any other', async () => {
    const { url, start } = await embed({ ok });
    const { task_id: id } = await start('ok');
    for (const wait of ['61', '-1', '1.5', '1s', '', '9'.repeat(20)]) {
      const { errors } = await problem(
        await fetch(`${url}/api/lab/task/result/${id}?wait=${wait}`),
        'invalid-query',
      );
      const message = `wait must be a whole number of seconds from 0 to 60, and not "${wait}".`;
      expect(errors).toEqual([{ path: 'wait', message }]);
    }
    await problem(await fetch(`${url}/api/lab/task/result/nobody?wait=60`), 'unknown-run');
    await problem(await fetch(`${url}/api/nope/task/result/${id}?wait=60`), 'unknown-state');
  });

  test('ends with a 401 when its token is revoked meanwhile', async () => {
    const server = await embed({ hang });
    const token = await server.token();
    const { task_id: id } = await server.start('hang', token);
    await watchingWaiters(async (waiting) => {
      const answer = fetch(`${server.url}/api/lab/tasks/${token}/result/${id}?wait=60`);
      await expect.poll(waiting).toBe(1);
      const tokens = await openTokens({ data: server.data });
      await tokens.revoke(tokenDigest(token), Date.now());
      tokens.close();
      await problem(await answer, 'unknown-token');
    });
  });

  test('is answered with where the run stands when the server stops', async () => {
    const server = await embed({ hang });
    const { task_id: id } = await server.start('hang');
    await watchingWaiters(async (waiting) => {
      const answers = Array.from({ length: 50 }, () =>
        fetch(`${server.url}/api/lab/task/result/${id}?wait=60`),
      );
      await expect.poll(waiting).toBe(50);
      await server.server.stop(0);
      for (const answer of answers) {
        const response = await answer;
        expect(response.status).toBe(200);
        expect(await response.json()).toMatchObject({ task_id: id, status: 'Pending' });
      }
    });
  });

  test('leaves nothing behind when its caller hangs up', async () => {
    const { url, start } = await embed({ hang });
    const { task_id: id } = await start('hang');
    await watchingWaiters(async (waiting) => {
      const requests = Array.from({ length: 20 }, () => {
        const one = request(`${url}/api/lab/task/result/${id}?wait=60`, { agent: false });
        one.on('error', () => {});
        one.end();
        return one;
      });
      await expect.poll(waiting).toBe(20);
      for (const one of requests) one.destroy();
      await expect.poll(waiting).toBe(0);
    });
  });
});

describe('A start that waits', () => {
  test('is answered with the result, and says for how long it would have waited', async () => {
    const { url } = await embed({ ok });
    const response = await post(`${url}/api/lab/task/start/ok`, undefined, {
      prefer: 'respond-async, wait=30',
    });
    expect(response.headers.get('preference-applied')).toBe('wait=30');
    const snapshot = (await response.json()) as Snapshot;
    expect(snapshot).toMatchObject({ status: 'Completed', result: 'fine' });
    expect(response.headers.get('location')).toBe(`/api/lab/task/result/${snapshot.task_id}`);
  });

  test('waits for 60 s at the most, and is answered when its time is over', async () => {
    const { url } = await embed({ ok, hang });
    const long = await post(`${url}/api/lab/task/start/ok`, undefined, { prefer: 'wait=3600' });
    expect(long.headers.get('preference-applied')).toBe('wait=60');
    const short = await post(`${url}/api/lab/task/start/hang`, undefined, { prefer: 'wait=1' });
    expect(await short.json()).toMatchObject({ status: 'Processing' });
  });

  test('does not wait for what it does not understand', async () => {
    const { url } = await embed({ hang });
    const response = await post(`${url}/api/lab/task/start/hang`, undefined, { prefer: 'wait=soon' });
    expect(response.status).toBe(200);
    expect(response.headers.get('preference-applied')).toBeNull();
    await problem(await post(`${url}/api/lab/task/start/hang?wait=5`), 'invalid-query');
  });
});

describe('The header Prefer', () => {
  test.for<[header: string, seconds: number | null]>([
    ['wait=30', 30],
    ['WAIT = 30', 30],
    ['wait="30"', 30],
    ['wait=0', 0],
    ['wait=61', 60],
    ['wait=9999999999999999', 60],
    [`wait="${'9'.repeat(400)}"`, 60],
    ['wait=30; foo=bar', 30],
    ['respond-async, wait=7', 7],
    ['handling="a, wait=5", wait=7', 7],
    ['handling="a\\", wait=5", wait=7', 7],
    ['wait=7, wait=5', 7],
    ['wait=x, wait=5', null],
    ['wait', null],
    ['wait=', null],
    ['wait=-1', null],
    ['wait=1.5', null],
    ['wait="30', null],
    ['await=30', null],
    ['return=minimal', null],
    [',,;;==""', null],
    ['', null],
  ])('asks for a wait or for none: %s', ([header, seconds]) => {
    expect(preferredWait(header)).toBe(seconds);
  });

  test('takes no longer to read, however it is made', () => {
    const begun = performance.now();
    for (const piece of [' ', ',', '"', '=', ';', 'wait', '\\"', ' ,"= '])
      preferredWait(piece.repeat(16_000));
    expect(performance.now() - begun).toBeLessThan(1000);
  });
});
