import { describe, expect, test } from 'vitest';
import { defineTask } from '../../src/task.ts';
import { embed } from '../support/embedded.ts';
import { refusedUpgrade } from '../support/watcher.ts';
import { post, problem } from './asking.ts';

const tasks = { ok: defineTask({}, () => 'fine') };

/** Asks until it is too much, which must be within two seconds' worth of asking. */
async function exhaust(
  ask: () => Promise<Response>,
  perSecond: number,
): Promise<{ taken: number; refused: Response }> {
  for (let taken = 0; taken < 20 * perSecond; taken++) {
    const response = await ask();
    if (response.status !== 200) return { taken, refused: response };
    await response.text();
  }
  throw new Error('There is no limit');
}

describe('A rate limit', () => {
  test('answers the starts that are too many with a 429 that says when to come back', async () => {
    const { url } = await embed(tasks, { rateLimit: 20 });
    const { taken, refused } = await exhaust(() => post(`${url}/api/lab/task/start/ok`), 20);
    expect(taken).toBeGreaterThanOrEqual(20);
    expect(refused.headers.get('retry-after')).toBe('1');
    expect((await problem(refused, 'rate-limited')).detail).toContain('20 starts');
    await expect
      .poll(async () => (await post(`${url}/api/lab/task/start/ok`)).status, { timeout: 5000 })
      .toBe(200);
  });

  test('counts upgrades too, and leaves reading alone', async () => {
    const server = await embed(tasks, { rateLimit: 10 });
    const { task_id } = await server.start('ok');
    await exhaust(() => post(`${server.url}/api/lab/task/start/ok`), 10);
    const { status, body } = await refusedUpgrade(`${server.ws}/ws/lab/task/ws/${task_id}`);
    expect({ status, type: body.type }).toEqual({
      status: 429,
      type: 'urn:spyglass-tasks:problem:rate-limited',
    });
    for (let i = 0; i < 30; i++) {
      expect((await fetch(`${server.url}/api/lab/task/result/${task_id}`)).status).toBe(200);
    }
  });

  test('counts what a bad token tries, like any other start', async () => {
    const { url } = await embed(tasks, { rateLimit: 10 });
    for (;;) {
      const response = await post(`${url}/api/lab/tasks/x/start/ok`);
      if (response.status === 401) continue;
      await problem(response, 'rate-limited');
      break;
    }
  });

  test('is for each token, wherever it is used from', async () => {
    // Addresses of loopback are as many as one likes: each request comes from another one.
    const server = await embed(tasks, { rateLimit: 5 });
    const token = await server.token();
    const { Agent, request } = await import('node:http');
    let from = 2;
    const start = () =>
      new Promise<Response>((resolve, reject) => {
        const localAddress = `127.0.0.${from++}`;
        const options = { method: 'POST', agent: new Agent(), localAddress };
        request(`${server.url}/api/lab/tasks/${token}/start/ok`, options, async (response) => {
          const chunks = await response.toArray();
          const headers = response.headers as Record<string, string>;
          resolve(new Response(Buffer.concat(chunks), { status: response.statusCode ?? 0, headers }));
        })
          .on('error', reject)
          .end();
      });
    const { taken, refused } = await exhaust(start, 5);
    expect(taken).toBeGreaterThanOrEqual(5);
    expect((await problem(refused, 'rate-limited')).detail).toContain('token');
  });

  test('is none on loopback unless there is said to be one', async () => {
    const { url } = await embed(tasks);
    const answers = await Promise.all(
      Array.from({ length: 300 }, () => post(`${url}/api/lab/task/start/ok`)),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
  });
});
