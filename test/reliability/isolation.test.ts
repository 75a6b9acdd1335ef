import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Snapshot } from '../../src/run.ts';
import { Home, processesWith } from '../support/serverProcess.ts';
import { faultOfWholeStream } from '../support/story.ts';
import { Watcher } from '../support/watcher.ts';

const folder = resolve(import.meta.dirname, 'isolated');

function isWorking({ message }: Snapshot): boolean {
  return message !== null;
}

function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(Math.floor(sorted.length * share), sorted.length - 1)] as number;
}

describe('four attempts that compute at once', () => {
  test('leave the server answering, and the progress of others flowing', async () => {
    const ms = 3000;
    const server = await new Home().serve({ folder, flags: ['--threads', '4'] });
    const { api, url, ws } = server;
    // Threads that are there already, as in a server that has been at work for a while.
    await Promise.all(Array.from({ length: 4 }, async () => api.end((await api.started('where')).task_id)));
    const spinning = await Promise.all(
      Array.from({ length: 4 }, () => api.started('spin', { input: { ms } })),
    );
    for (const { task_id: id } of spinning) await api.until(id, isWorking);
    const steady = await api.started('steady', { input: { ms: ms / 2 } });
    const watcher = await new Watcher(`${ws}/ws/lab/task/ws/${steady.task_id}`).open();

    const times: number[] = [];
    for (const end = performance.now() + ms / 2; performance.now() < end; ) {
      const from = performance.now();
      expect((await fetch(`${url}/healthz`)).status).toBe(200);
      times.push(performance.now() - from);
    }
    expect((await api.result((spinning[0] as Snapshot).task_id)).status).toBe('Processing');
    times.sort((a, b) => a - b);
    expect(quantile(times, 0.99), `p99 of ${times.length} answers, in ms`).toBeLessThan(50);
    expect(await watcher.close()).toMatchObject({ code: 1000 });
    expect(watcher.messages.length).toBeGreaterThan(30);
    for (const { task_id: id } of spinning) {
      expect(await api.end(id)).toMatchObject({ status: 'Completed', result: 'spun', progress: 100 });
    }
    expect(server.log.filter(({ message }) => message.includes('blocked the event loop'))).toEqual([]);
    expect((await server.stop()).code).toBe(0);
    expect(server.errors).toBe('');
  }, 60_000);
});

describe('an isolated run', () => {
  test('tells its whole story, though its loop never turns', async () => {
    const { api, ws } = await new Home().serve({ folder });
    const { task_id: id } = await api.started('turns', { input: { count: 1000 } });
    const watcher = await new Watcher(`${ws}/ws/lab/task/ws/${id}?since=0`).open();
    await watcher.close();
    expect(faultOfWholeStream(watcher.messages)).toBeNull();
    const lines = watcher.messages.filter(({ type }) => type === 'log');
    expect(lines.map(({ text }) => text)).toEqual(Array.from({ length: 1000 }, (_, i) => `line ${i + 1}`));
  });

  test('is cancelled at once when it heeds its signal', async () => {
    const { api } = await new Home().serve({ folder });
    for (const task of ['heeding', 'endless']) {
      const { task_id: id } = await api.started(task);
      await api.until(id, isWorking);
      const from = performance.now();
      expect((await api.cancel(id)).status).toBe(200);
      expect(await api.end(id)).toMatchObject({ status: 'Cancelled' });
      expect(performance.now() - from).toBeLessThan(2000);
    }
  });

  test('is cancelled after 5 s when it does not', async () => {
    const { api } = await new Home().serve({ folder });
    const { task_id: id } = await api.started('forever');
    await api.until(id, isWorking);
    const from = performance.now();
    await api.cancel(id);
    expect(await api.end(id)).toMatchObject({ status: 'Cancelled' });
    const tookMs = performance.now() - from;
    expect(tookMs).toBeGreaterThan(4900);
    expect(tookMs).toBeLessThan(7000);
  });

  test('ends in an error when its time is over, be it by the kill of its thread', async () => {
    const { api } = await new Home().serve({ folder });
    const runs = [await api.started('brief'), await api.started('stubborn')];
    for (const { task_id: id } of runs) {
      expect(await api.end(id)).toMatchObject({
        status: 'Error',
        error: { name: 'TimeoutError', message: 'The attempt took longer than its time limit of 300 ms' },
      });
    }
  });

  test('has what it left behind logged', async () => {
    const server = await new Home().serve({ folder });
    const { task_id: id } = await server.api.started('stray');
    expect(await server.api.end(id)).toMatchObject({ status: 'Completed', result: 'stray' });
    for (const what of ['promise', 'timer']) {
      const line = await server.line(
        ({ error }) => JSON.stringify(error)?.includes(`a ${what} of ${id}`) ?? false,
      );
      expect(line).toMatchObject({ level: 'error', task_id: id, state: 'lab', task: 'stray' });
    }
  });
});

describe('a stop', () => {
  test('hands back what still computes, and is not held up', async () => {
    const home = new Home();
    const server = await home.serve({ folder, flags: ['--grace', '100ms'] });
    const runs = [await server.api.started('forever'), await server.api.started('endless')];
    for (const { task_id: id } of runs) await server.api.until(id, isWorking);
    const from = performance.now();
    expect(await server.stop()).toEqual({ code: 0, signal: null });
    expect(performance.now() - from).toBeLessThan(4000);
    const next = await home.serve({ folder });
    for (const { task_id: id } of runs) {
      expect(await next.api.until(id, ({ attempt }) => attempt === 2)).toMatchObject({ task_id: id });
    }
  });

  test('ends the process even when a thread is inside of a call that nothing interrupts', async () => {
    const home = new Home();
    const server = await home.serve({ folder, flags: ['--grace', '0ms'] });
    const gate = join(home.root, 'gate');
    await server.api.started('frozen', { input: { gate, seconds: 5 } });
    await expect.poll(() => existsSync(gate), { timeout: 10_000 }).toBe(true);
    const from = performance.now();
    expect((await server.stop()).signal).toBe('SIGKILL');
    expect(performance.now() - from).toBeLessThan(4500);
    expect(server.log.at(-1)).toMatchObject({ message: expect.stringMatching(/cannot be interrupted/) });
    // What the task had started in its turn is nobody's to kill, and ends by itself.
    await expect
      .poll(() => processesWith(`SPYGLASS_TEST_HOME=${home.root}`), { timeout: 10_000 })
      .toEqual([]);
  });
});

// What follows a death is the engine's.
describe('an attempt whose thread dies', () => {
  test('is followed by another, and after three deaths the run ends in an error that says why', async () => {
    const { api } = await new Home().serve({ folder });
    const other = await api.started('spin', { input: { ms: 2000 } });
    for (const [task, input, reason] of [
      ['exits', { code: 7 }, /exit code 7/],
      ['hungry', undefined, /memoryMb/],
      ['hoards', 'push', /memoryMb/],
    ] as const) {
      const { task_id: id } = await api.started(task, { input });
      expect(await api.end(id)).toMatchObject({
        status: 'Error',
        attempt: 3,
        error: { name: 'ThreadDiedError', message: expect.stringMatching(reason) },
      });
    }
    expect(await api.end(other.task_id)).toMatchObject({ status: 'Completed', attempt: 1 });
  }, 60_000);
});
