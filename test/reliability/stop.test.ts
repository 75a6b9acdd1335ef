import { describe, expect, test } from 'vitest';
import { isTerminal, type Snapshot } from '../../src/run.ts';
import type { Answer } from '../support/api.ts';
import { Follower } from '../support/follower.ts';
import { Home, type ServerProcess } from '../support/serverProcess.ts';
import { faultOfPart, faultOfStream, faultOfWholeStream } from '../support/story.ts';
import { Watcher } from '../support/watcher.ts';

/** Answers to starts that go on until the server is gone. */
function startUntilGone({ api }: ServerProcess, token: string): Promise<Answer[]> {
  const answers: Answer[] = [];
  const lane = async () => {
    for (;;) {
      try {
        answers.push(await api.start('progress', answers.length % 2 === 0 ? { token } : {}));
      } catch {
        return;
      }
    }
  };
  return Promise.all([lane(), lane(), lane()]).then(() => answers);
}

function snapshots(answers: readonly Answer[]): Snapshot[] {
  return answers.filter(({ status }) => status === 200).map(({ body }) => body as unknown as Snapshot);
}

function isWorking({ status }: Snapshot): boolean {
  return status === 'Processing';
}

describe('a signal to stop', () => {
  test('under load refuses starts, lets runs end, hands the rest back, and exits with 0', async () => {
    const home = new Home();
    const token = await home.token();
    const server = await home.serve({ flags: ['--grace', '1500ms'] });
    const { api, ws } = server;
    const ending = await api.started('work', { input: { ms: 900 } });
    const endless = await api.started('endless', { token });
    const deaf = await api.started('deaf');
    for (const [run, owner] of [[ending], [endless, token], [deaf]] as [Snapshot, string?][]) {
      await api.until(run.task_id, isWorking, owner);
    }
    const followers = [
      { run: endless, address: `/ws/lab/tasks/${token}/${endless.task_id}`, follower: new Follower() },
      { run: deaf, address: `/ws/lab/task/ws/${deaf.task_id}`, follower: new Follower() },
    ];
    const cutOff = Promise.all(followers.map(({ address, follower }) => follower.listen(ws + address)));
    const endsInTime = await new Watcher(`${ws}/ws/lab/task/ws/${ending.task_id}`).open();
    const all = await new Watcher(`${ws}/ws/lab/tasks/${token}`).open();
    const load = startUntilGone(server, token);

    server.signal('SIGTERM');
    await server.line(({ message }) => message.includes('stopping'));
    const refused = await api.start('quick');
    expect(refused.status).toBe(503);
    expect(refused.headers.get('content-type')).toMatch(/^application\/problem\+json/);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(refused.body.type).toMatch(/stopping$/);
    expect((await fetch(`${server.url}/readyz`)).status).toBe(503);
    expect((await api.result(ending.task_id)).status).toBe('Processing');
    expect((await endsInTime.close()).code).toBe(1000);
    expect(endsInTime.messages.at(-1)).toMatchObject({ status: 'Completed', result: 'work', attempt: 1 });
    expect(await cutOff).toEqual([1001, 1001]);
    expect((await all.close()).code).toBe(1001);
    expect(await server.exited).toEqual({ code: 0, signal: null });
    expect(server.errors).toBe('');
    expect(faultOfPart(all.of(endless.task_id))).toBeNull();

    const answers = await load;
    for (const { status, body } of answers) {
      expect(status === 200 || (status === 503 && String(body.type).endsWith('stopping'))).toBe(true);
    }
    const next = await home.serve();
    for (const { run, follower } of followers) {
      expect(faultOfStream(follower.messages)).toBeNull();
      const owner = run === endless ? token : undefined;
      expect((await next.api.until(run.task_id, isWorking, owner)).attempt).toBe(2);
      expect((await next.api.cancel(run.task_id, owner)).status).toBe(200);
    }
    expect((await next.api.end(endless.task_id, token)).status).toBe('Cancelled');
    // A method that does not heed its signal goes on, cancelled or not; its cancel outlives a crash.
    expect((await next.api.result(deaf.task_id)).status).toBe('Processing');
    await next.kill();
    const last = await home.serve();
    expect((await last.api.end(deaf.task_id)).status).toBe('Cancelled');
    for (const { address, follower } of followers) {
      const { messages } = await follower.listenToEnd(last.ws + address);
      expect(faultOfWholeStream(messages)).toBeNull();
      expect(messages.at(-1)).toMatchObject({ status: 'Cancelled', attempt: 2 });
    }
    const runs = new Map((await last.api.list(token)).map((run) => [run.task_id, run]));
    for (const { task_id: id } of snapshots(answers)) {
      const run = runs.get(id) ?? (await last.api.end(id));
      expect([run.status, run.result]).toEqual(['Completed', 'progress']);
    }
  }, 60_000);

  test('may be SIGINT, too', async () => {
    const home = new Home();
    const server = await home.serve({ flags: ['--grace', '100ms'] });
    const { task_id: id } = await server.api.started('endless');
    await server.api.until(id, isWorking);
    const watcher = await new Watcher(`${server.ws}/ws/lab/task/ws/${id}`).open();
    server.signal('SIGINT');
    await server.line(({ message }) => message.includes('stopping'));
    expect((await server.api.start('quick')).status).toBe(503);
    expect((await watcher.close()).code).toBe(1001);
    expect(faultOfStream(watcher.messages)).toBeNull();
    expect(watcher.messages.at(-1)).toMatchObject({ status: 'Pending', attempt: 1 });
    expect(await server.exited).toEqual({ code: 0, signal: null });
  });
});

describe('a run that a stop hands back', () => {
  test('has not died, and was not tried in vain, however often', async () => {
    const home = new Home();
    const flags = ['--grace', '0ms'];
    let server = await home.serve({ flags });
    const runs = [await server.api.started('endless'), await server.api.started('brittle')];
    for (let attempt = 1; attempt <= 4; attempt++) {
      for (const { task_id: id } of runs) {
        const run = await server.api.until(id, isWorking);
        expect([run.attempt, run.message]).toEqual([attempt, `attempt ${attempt}`]);
      }
      expect((await server.stop()).code).toBe(0);
      server = await home.serve({ flags });
    }
    // The first death that is one.
    for (const { task_id: id } of runs) await server.api.until(id, isWorking);
    await server.kill();
    server = await home.serve({ flags });
    const [endless, brittle] = runs.map(({ task_id }) => task_id) as [string, string];
    expect(await server.api.end(brittle)).toMatchObject({ attempt: 5, error: { name: 'ProcessDiedError' } });
    expect((await server.api.until(endless, isWorking)).attempt).toBe(6);
  }, 60_000);

  test('stays cancelled when its cancel was answered while the server stopped', async () => {
    const home = new Home();
    const flags = ['--grace', '50ms', '--concurrency', '300'];
    const server = await home.serve({ flags });
    const runs = await Promise.all(Array.from({ length: 300 }, () => server.api.started('endless')));
    for (const { task_id: id } of runs) await server.api.until(id, isWorking);
    const waiting = runs.map(({ task_id }) => task_id);
    const cancelled: string[] = [];
    const lane = async () => {
      for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
        // Once the server is gone nothing is promised any more.
        const answer = await server.api.cancel(id).catch(() => undefined);
        if (answer?.status === 200) cancelled.push(id);
      }
    };
    server.signal('SIGTERM');
    await server.line(({ message }) => message.includes('stopping'));
    await Promise.all([lane(), lane(), lane(), lane(), lane(), lane()]);
    expect((await server.exited).code).toBe(0);
    const next = await home.serve({ flags });
    for (const id of cancelled) {
      const run = await next.api.until(id, ({ status }) => status !== 'Pending' && status !== 'Starting');
      expect(run).toMatchObject({ status: 'Cancelled' });
    }
  }, 60_000);
});

test('a second signal exits at once, and the runs are as after a crash', async () => {
  const home = new Home();
  const server = await home.serve({ flags: ['--grace', '1h'] });
  const { task_id: id } = await server.api.started('endless');
  await server.api.until(id, isWorking);
  server.signal('SIGTERM');
  await server.line(({ message }) => message.includes('stopping'));
  expect(server.exit).toBeUndefined();
  const from = performance.now();
  // One signal may reach a server twice in a moment, from the terminal and from npm: whoever means it repeats it.
  const impatience = setInterval(() => server.signal('SIGTERM'), 50);
  expect(await server.exited).toEqual({ code: 1, signal: null });
  clearInterval(impatience);
  expect(performance.now() - from, 'ms until it was gone').toBeLessThan(1000);
  const next = await home.serve();
  expect(await next.api.until(id, isWorking)).toMatchObject({ attempt: 2 });
});

test('what a task leaves behind, thrown or rejected, is logged with its run and takes nobody down', async () => {
  const server = await new Home().serve();
  const { api } = server;
  const other = await api.started('work');
  const strays = await Promise.all(Array.from({ length: 20 }, () => api.started('stray')));
  for (const { task_id: id } of strays) {
    expect(await api.end(id)).toMatchObject({ status: 'Completed', result: 'stray' });
    for (const what of ['promise', 'timer']) {
      const line = await server.line(
        ({ error }) => JSON.stringify(error)?.includes(`a ${what} of ${id}`) ?? false,
      );
      expect(line).toMatchObject({ level: 'error', task_id: id, state: 'lab', task: 'stray' });
    }
  }
  const end = await api.end(other.task_id);
  expect(isTerminal(end.status)).toBe(true);
  expect(end).toMatchObject({ status: 'Completed', attempt: 1 });
  expect((await server.stop()).code).toBe(0);
});
