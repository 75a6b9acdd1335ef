import { expect, test } from 'vitest';
import { defineTask } from '../../src/task.ts';
import { embed } from '../support/embedded.ts';
import { expectCommonHeaders, problem } from './asking.ts';

const tasks = {
  ok: defineTask({}, () => 'fine'),
  /** Heeds nothing until it is told to end. */
  stubborn: defineTask({}, () => stubbornEnd.promise),
};

const stubbornEnd = (() => {
  let end = () => {};
  const promise = new Promise<void>((resolve) => {
    end = resolve;
  });
  return { promise, end };
})();

test('A server that is up says so', async () => {
  const { url } = await embed(tasks);
  for (const [path, body] of [
    ['/healthz', { status: 'ok' }],
    ['/readyz', { status: 'ready' }],
  ] as const) {
    const response = await fetch(url + path);
    expect(response.status).toBe(200);
    expectCommonHeaders(response.headers);
    expect(await response.json()).toEqual(body);
    await problem(await fetch(`${url}${path}?x=1`), 'invalid-query');
  }
});

test('A server that is stopping is alive and not ready', async () => {
  const { url, server, start } = await embed(tasks);
  await start('stubborn');
  const stopped = server.stop(60_000);
  const response = await fetch(`${url}/readyz`);
  expect(response.headers.get('retry-after')).toMatch(/^\d+$/);
  await problem(response, 'stopping');
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
  stubbornEnd.end();
  await stopped;
});
