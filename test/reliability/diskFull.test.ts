import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, type TestContext, test } from 'vitest';
import { isTerminal, type Snapshot } from '../../src/run.ts';
import type { Answer, Api } from '../support/api.ts';
import { Follower } from '../support/follower.ts';
import { Home, type ServerProcess } from '../support/serverProcess.ts';
import { SmallDisk } from '../support/smallDisk.ts';
import { faultOfWholeStream } from '../support/story.ts';
import { Watcher } from '../support/watcher.ts';

/** What a server needs to find out that there is space again. */
const healMs = 5000;

/** A server whose data folder is on a disk of its own. */
async function onSmallDisk(context: TestContext) {
  const home = new Home();
  const disk = await SmallDisk.mount(context, home, 16);
  const serve = () => home.serve({ data: join(disk.path, 'data'), through: disk.through });
  return { home, disk, serve, server: await serve() };
}

/** Starts until one is refused; that refusal, and those that were accepted. */
async function startUntilRefused(api: Api): Promise<{ accepted: Snapshot[]; refusal: Answer }> {
  const accepted: Snapshot[] = [];
  for (;;) {
    const answer = await api.start('quick');
    if (answer.status !== 200) return { accepted, refusal: answer };
    accepted.push(answer.body as unknown as Snapshot);
    expect(accepted.length, 'starts that a full disk took').toBeLessThan(1000);
  }
}

/** Starts until one is accepted; how many milliseconds that took. */
async function startUntilAccepted(api: Api): Promise<number> {
  const from = performance.now();
  for (;;) {
    const answer = await api.start('quick');
    if (answer.status === 200) return performance.now() - from;
    expectRefused(answer);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function expectRefused({ status, headers, body }: Answer): void {
  expect(status).toBe(503);
  expect(headers.get('content-type')).toMatch(/^application\/problem\+json/);
  expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
  expect(body).toMatchObject({ status: 503, type: expect.stringContaining('engine-unavailable') });
  expect(body.detail).toMatch(/full/);
}

async function healthOf({ url }: ServerProcess): Promise<[healthz: number, readyz: number]> {
  const [health, ready] = await Promise.all([fetch(`${url}/healthz`), fetch(`${url}/readyz`)]);
  return [health.status, ready.status];
}

test('a disk that fills up refuses starts, and nothing else; then the server heals by itself', async (context) => {
  const { disk, server } = await onSmallDisk(context);
  const { api, ws } = server;
  const before = await api.end((await api.started('progress')).task_id);
  const working = await api.started('work', { input: { ms: 1500 } });
  const endless = await api.started('endless');
  const watcher = await new Watcher(`${ws}/ws/lab/task/ws/${working.task_id}`).open();

  disk.fill();
  const { accepted, refusal } = await startUntilRefused(api);
  expectRefused(refusal);
  expect(await healthOf(server)).toEqual([200, 503]);
  expect(await api.result(before.task_id)).toEqual(before);
  const history = new Watcher(`${ws}/ws/lab/task/ws/${before.task_id}`);
  expect(await history.close()).toEqual({ code: 1000, reason: '' });
  expect(faultOfWholeStream(history.messages)).toBeNull();

  // The end of a run is stored in the space that was kept for it.
  expect(await watcher.close()).toEqual({ code: 1000, reason: '' });
  expect(faultOfWholeStream(watcher.messages)).toBeNull();
  const end = await api.result(working.task_id);
  expect(end).toMatchObject({ status: 'Completed', result: 'work' });
  expect(watcher.messages.at(-1)).toEqual({ type: 'update', ...end });
  for (const { task_id: id } of accepted) expect((await api.end(id)).status).toBe('Completed');
  expectRefused(await api.start('quick'));

  disk.clear();
  expect(await startUntilAccepted(api), 'ms to heal').toBeLessThan(healMs);
  expect(await healthOf(server)).toEqual([200, 200]);
  expect((await api.cancel(endless.task_id)).status).toBe(200);
  expect((await api.end(endless.task_id)).status).toBe('Cancelled');
  expect(await api.result(working.task_id)).toEqual(end);
  expect((await server.stop()).code).toBe(0);
});

test('the end of a run that finds no space at all is kept until there is some, and told then', async (context) => {
  const { home, disk, server } = await onSmallDisk(context);
  const { api, ws } = server;
  const before = (await api.started('quick')).task_id;
  const gate = join(home.root, 'gate');
  const { task_id: id } = await api.started('gated', { input: { gate } });
  const watcher = await new Watcher(`${ws}/ws/lab/task/ws/${id}`).open();
  disk.fill();
  expectRefused((await startUntilRefused(api)).refusal);
  // Whoever fills the disk takes what the server lets go of, too.
  disk.fill();
  writeFileSync(gate, '');
  await expect.poll(() => existsSync(`${gate}.passed`), { timeout: 10_000 }).toBe(true);
  // The store takes turns: by then it has been asked to keep the end, and could not.
  for (let read = 0; read < 20; read++) await api.result(before);
  expect(isTerminal((await api.result(id)).status)).toBe(false);
  expect(watcher.closed).toBeUndefined();

  disk.clear();
  expect(await watcher.close()).toEqual({ code: 1000, reason: '' });
  expect(faultOfWholeStream(watcher.messages)).toBeNull();
  expect(watcher.messages.at(-1)).toMatchObject({ type: 'update', status: 'Completed', result: 'gated' });
  expect(await startUntilAccepted(api), 'ms to heal').toBeLessThan(healMs);
});

test('a server that is killed on a full disk comes back on it, answers reads, and loses nothing', async (context) => {
  const { disk, serve, server } = await onSmallDisk(context);
  const done = await server.api.end((await server.api.started('progress')).task_id);
  const endless = await server.api.started('endless');
  const short = await server.api.started('work', { input: { ms: 1000 } });
  disk.fill();
  const { accepted, refusal } = await startUntilRefused(server.api);
  expectRefused(refusal);
  disk.fill();
  await server.kill();
  disk.fill();
  expect(disk.freeBytes).toBe(0);

  const next = await serve();
  const { api, ws } = next;
  expect(await healthOf(next)).toEqual([200, 503]);
  expectRefused(await api.start('quick'));
  expect(await api.result(done.task_id)).toEqual(done);
  for (const { task_id: id } of [endless, short, ...accepted])
    expect((await api.result(id)).task_id).toBe(id);
  const follower = new Follower().listenToEnd(`${ws}/ws/lab/task/ws/${short.task_id}`);

  disk.clear();
  expect(await startUntilAccepted(api), 'ms to heal').toBeLessThan(healMs);
  expect(await api.end(short.task_id)).toMatchObject({ status: 'Completed', result: 'work' });
  expect(faultOfWholeStream((await follower).messages)).toBeNull();
  for (const { task_id: id } of accepted) expect((await api.end(id)).status).toBe('Completed');
  await api.until(endless.task_id, ({ attempt, status }) => attempt === 2 && status === 'Processing');
  await api.cancel(endless.task_id);
  expect((await api.end(endless.task_id)).status).toBe('Cancelled');
  expect((await next.stop()).code).toBe(0);
});
