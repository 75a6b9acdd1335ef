import { describe, expect, test } from 'vitest';
import { defineTask } from '../../src/task.ts';
import { embed } from '../support/embedded.ts';
import { refusedUpgrade, Watcher } from '../support/watcher.ts';
import { exchange, problem, request } from './asking.ts';

const tasks = { ok: defineTask({}, () => 'fine'), hold: defineTask({}, (task) => task.sleep(600_000)) };
const app = 'https://app.example';

/** One request to each kind of address there is. */
const everywhere = [
  'GET /api/tasks',
  'GET /healthz',
  'GET /docs/',
  'GET /docs/json',
  'POST /api/lab/task/start/ok',
  'POST /api/lab/task/cancel/x',
  'POST /api/lab/task/start/ok/bulk',
  'POST /api/lab/task/retry/x',
  'GET /api/lab/task/result/x',
  'GET /api/lab/task/events/x',
  'GET /api/lab/task/logs/x',
  'GET /api/lab/task/schedules',
  'GET /api/lab/tasks/x/events',
  'GET /api/lab/tasks/x',
  'GET /nowhere',
  'GET /%zz',
  'DELETE /api/tasks',
  'OPTIONS /api/tasks',
];

describe('A foreign Host or Origin', () => {
  test('is refused on every route', async () => {
    const { url } = await embed(tasks);
    for (const line of everywhere) {
      await problem(await exchange(url, request(line, { Host: 'rebound.example' })), 'foreign-host');
      await problem(await exchange(url, request(line, { Origin: 'http://evil.example' })), 'foreign-origin');
      await problem(await exchange(url, request(line, { Origin: 'null' })), 'foreign-origin');
    }
  });

  test('is refused on every upgrade', async () => {
    const server = await embed(tasks);
    const token = await server.token();
    const { task_id } = await server.start('hold', token);
    const direct = await server.start('hold');
    for (const path of [`task/ws/${direct.task_id}`, `tasks/${token}`, `tasks/${token}/${task_id}`]) {
      const address = `${server.ws}/ws/lab/${path}`;
      for (const headers of [
        { host: 'rebound.example' },
        { origin: 'http://evil.example' },
        { 'sec-fetch-site': 'same-site' },
        { 'sec-fetch-site': 'cross-site' },
      ] as Record<string, string>[]) {
        expect(await refusedUpgrade(address, headers)).toMatchObject({
          status: 403,
          type: expect.stringContaining('problem+json'),
        });
      }
      await new Watcher(address, { origin: server.url }).open();
    }
  });
});

describe('An origin that was allowed', () => {
  test('may start, read and watch, and its browser is told so', async () => {
    const server = await embed(tasks, { allowOrigin: [app] });
    const response = await fetch(`${server.url}/api/lab/task/start/hold`, {
      method: 'POST',
      headers: { origin: app, 'sec-fetch-site': 'cross-site' },
    });
    expect(response.status).toBe(200);
    expect(response.headers.get('access-control-allow-origin')).toBe(app);
    expect(response.headers.get('access-control-expose-headers')).toBe(
      'Link, Location, Preference-Applied, Retry-After, Spyglass-Deduplicated',
    );
    expect(response.headers.get('vary')).toBe('Origin');
    const { task_id } = (await response.json()) as { task_id: string };
    await new Watcher(`${server.ws}/ws/lab/task/ws/${task_id}`, {
      origin: app,
      'sec-fetch-site': 'cross-site',
    }).open();
  });

  test('may also read why it was refused', async () => {
    const { url } = await embed(tasks, { allowOrigin: [app] });
    const response = await fetch(`${url}/api/lab/task/start/nope`, {
      method: 'POST',
      headers: { origin: app },
    });
    expect(response.headers.get('access-control-allow-origin')).toBe(app);
    await problem(response, 'unknown-task');
  });

  test('is answered when its browser asks first', async () => {
    const { url } = await embed(tasks, { allowOrigin: [app] });
    const response = await fetch(`${url}/api/lab/task/start/ok`, {
      method: 'OPTIONS',
      headers: {
        origin: app,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'content-type',
      },
    });
    expect(response.status).toBe(204);
    expect(response.headers.get('access-control-allow-origin')).toBe(app);
    expect(response.headers.get('access-control-allow-methods')).toContain('POST');
    expect(response.headers.get('access-control-allow-headers')).toBe(
      'Content-Type, Idempotency-Key, Last-Event-ID, Prefer',
    );
  });

  test('lets no other in', async () => {
    const { url } = await embed(tasks, { allowOrigin: [app] });
    const response = await fetch(`${url}/api/tasks`, { headers: { origin: 'https://other.example' } });
    expect(response.headers.get('access-control-allow-origin')).toBeNull();
    expect(response.headers.get('vary')).toBe('Origin');
    await problem(response, 'foreign-origin');
  });
});

describe('Where no origin was allowed', () => {
  test('there is nothing of CORS in any answer', async () => {
    const { url } = await embed(tasks);
    const response = await fetch(`${url}/api/tasks`, { headers: { origin: url } });
    expect(response.status).toBe(200);
    expect(
      [...response.headers.keys()].filter((name) => name.startsWith('access-control') || name === 'vary'),
    ).toEqual([]);
  });
});
