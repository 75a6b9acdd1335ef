import { connect } from 'node:net';
import { describe, expect, test } from 'vitest';
import { openTokens } from '../../src/engines/open.ts';
import { defineTask, type TaskContext } from '../../src/task.ts';
import { tokenDigest } from '../../src/token.ts';
import { embed } from '../support/embedded.ts';
import { refusedUpgrade, unexplained, Watcher } from '../support/watcher.ts';

const ok = defineTask({}, () => 'fine');
const steps = defineTask({}, async (task: TaskContext) => {
  for (const progress of [25, 50, 75]) {
    await task.update({ progress });
    await task.sleep(5);
  }
  await task.log('nearly there', { left: 1 });
  return 'done';
});
const hang = defineTask({}, async (task: TaskContext) => {
  await task.update({ progress: 1 });
  await task.sleep(600_000);
});

/** A task that the test steps through. */
function stepped() {
  const contexts: TaskContext[] = [];
  const ends: (() => void)[] = [];
  const task = defineTask({}, (context: TaskContext) => {
    contexts.push(context);
    return new Promise<string>((resolve) => ends.push(() => resolve('stepped')));
  });
  return { task, contexts, ends };
}

const floodLines = 2000;

/** Far more than a connection buffers, in log lines, no faster than `reader` gets them. */
async function flood(context: TaskContext | undefined, reader: Watcher): Promise<void> {
  const text = 'x'.repeat(16_000);
  for (let line = 1; line <= floodLines; line++) {
    context?.log(text);
    if (line % 50 === 0) await reader.until(() => (reader.messages.at(-1)?.seq ?? 0) >= line);
  }
}

describe('the stream of one run', () => {
  test('tells its whole history, then ends with one terminal message and 1000', async () => {
    const { ws, start } = await embed({ steps });
    const { task_id: id } = await start('steps');
    const live = new Watcher(`${ws}/ws/lab/task/ws/${id}`);
    expect(await live.close()).toEqual({ code: 1000, reason: '' });
    const late = new Watcher(`${ws}/ws/lab/task/ws/${id}`);
    expect(await late.close()).toEqual({ code: 1000, reason: '' });
    expect(late.messages).toEqual(live.messages);
    expect(unexplained(live.messages)).toBeNull();
    expect(live.messages.map(({ type, status, progress }) => [type, status, progress])).toEqual([
      ['update', 'Pending', 0],
      ['update', 'Starting', 0],
      ['update', 'Processing', 25],
      ['update', 'Processing', 50],
      ['update', 'Processing', 75],
      ['log', 'Processing', 75],
      ['update', 'Completed', 100],
    ]);
    expect(live.messages.at(-2)).toMatchObject({ text: 'nearly there', fields: { left: 1 } });
    expect(live.messages.at(-2)).not.toHaveProperty('result');
    expect(live.messages.at(-1)).toMatchObject({ result: 'done', error: null });
  });

  test('goes on after ?since', async () => {
    const { ws, start } = await embed({ steps });
    const { task_id: id } = await start('steps');
    const whole = new Watcher(`${ws}/ws/lab/task/ws/${id}`);
    await whole.close();
    const rest = new Watcher(`${ws}/ws/lab/task/ws/${id}?since=4`);
    await rest.close();
    expect(rest.messages).toEqual(whole.messages.slice(4));
    const nothing = new Watcher(`${ws}/ws/lab/task/ws/${id}?since=7`);
    expect((await nothing.close()).code).toBe(1000);
    expect(nothing.messages).toEqual([]);
  });

  test('follows a run that is pending until it is leased', async () => {
    const { task, contexts, ends } = stepped();
    const { ws, start } = await embed({ task }, { concurrency: 1 });
    await start('task');
    const second = await start('task');
    expect(second).toMatchObject({ status: 'Pending', seq: 1, attempt: 0 });
    const watcher = await new Watcher(`${ws}/ws/lab/task/ws/${second.task_id}`).open();
    await watcher.until(() => watcher.messages.length >= 1);
    ends[0]?.();
    await watcher.until(() => contexts.length === 2);
    ends[1]?.();
    await watcher.close();
    expect(unexplained(watcher.messages)).toBeNull();
    expect(watcher.messages.at(-1)).toMatchObject({ status: 'Completed', result: 'stepped' });
  });

  test('brings what one tick said as separate messages, to everybody the same', async () => {
    const { task, contexts, ends } = stepped();
    const { ws, start } = await embed({ task });
    const { task_id: id } = await start('task');
    const watchers = await Promise.all([1, 2, 3].map(() => new Watcher(`${ws}/ws/lab/task/ws/${id}`).open()));
    for (const watcher of watchers) await watcher.until(() => watcher.messages.length >= 3);
    for (let line = 1; line <= 10; line++) contexts[0]?.log(`line ${line}`);
    ends[0]?.();
    for (const watcher of watchers) {
      expect((await watcher.close()).code).toBe(1000);
      expect(watcher.messages).toEqual(watchers[0]?.messages);
      expect(unexplained(watcher.messages)).toBeNull();
      expect(watcher.messages.filter(({ type }) => type === 'log').map(({ text }) => text)).toEqual(
        Array.from({ length: 10 }, (_, place) => `line ${place + 1}`),
      );
    }
  });

  test('passes over what a reader is too slow for, with a gap that adds up and one terminal message', async () => {
    const { task, contexts, ends } = stepped();
    const { ws, start } = await embed({ task });
    const { task_id: id } = await start('task');
    const slow = await new Watcher(`${ws}/ws/lab/task/ws/${id}`).open();
    const quick = await new Watcher(`${ws}/ws/lab/task/ws/${id}`).open();
    await slow.until(() => slow.messages.length >= 3);
    slow.socket.pause();
    await flood(contexts[0], quick);
    ends[0]?.();
    await quick.close();
    expect(quick.messages.some(({ type }) => type === 'gap')).toBe(false);
    slow.socket.resume();
    expect((await slow.close()).code).toBe(1000);
    expect(slow.messages.some(({ type }) => type === 'gap')).toBe(true);
    expect(unexplained(slow.messages)).toBeNull();
    expect(slow.messages.filter(({ status }) => status === 'Completed')).toHaveLength(1);
    expect(slow.messages.at(-1)).toEqual(quick.messages.at(-1));
  });

  test('answers a frame from the watcher with 1003, and a large one with 1009', async () => {
    const { ws, start } = await embed({ hang });
    const { task_id: id } = await start('hang');
    const chatty = await new Watcher(`${ws}/ws/lab/task/ws/${id}`).open();
    chatty.socket.send('hello?');
    expect(await chatty.close()).toEqual({ code: 1003, reason: expect.stringContaining('only sends') });
    const loud = await new Watcher(`${ws}/ws/lab/task/ws/${id}`).open();
    loud.socket.send('x'.repeat(5000));
    expect((await loud.close()).code).toBe(1009);
  });

  test('is refused with a problem document where there is nothing to watch', async () => {
    const { ws, start, token } = await embed({ hang });
    const { task_id: id } = await start('hang');
    const secret = await token({ states: ['lab'] });
    const elsewhere = await token({ states: ['lab', 'elsewhere'] });
    const refusals: [path: string, status: number, code: string][] = [
      ['/ws/lab/task/ws/0000000000000000000000', 404, 'unknown-run'],
      [`/ws/nowhere/task/ws/${id}`, 404, 'unknown-state'],
      [`/ws/lab/tasks/${secret}/${id}`, 404, 'unknown-run'],
      [`/ws/lab/tasks/st_wrong/${id}`, 401, 'unknown-token'],
      ['/ws/lab/tasks/st_wrong', 401, 'unknown-token'],
      [`/ws/other/tasks/${secret}`, 403, 'token-scope'],
      [`/ws/elsewhere/tasks/${elsewhere}`, 404, 'unknown-state'],
      [`/ws/lab/task/ws/${id}?since=99`, 400, 'invalid-query'],
      [`/ws/lab/task/ws/${id}?since=-1`, 400, 'invalid-query'],
      [`/ws/lab/task/ws/${id}?sinse=1`, 400, 'invalid-query'],
      [`/api/lab/task/result/${id}`, 404, 'not-found'],
      ['/nothing/here', 404, 'not-found'],
    ];
    for (const [path, status, code] of refusals) {
      const refusal = await refusedUpgrade(`${ws}${path}`);
      expect({ path, status: refusal.status, type: refusal.body.type }).toEqual({
        path,
        status,
        type: `urn:spyglass-tasks:problem:${code}`,
      });
      expect(refusal.type).toContain('application/problem+json');
      expect(JSON.stringify(refusal.body)).not.toContain(secret);
    }
  });

  test('is refused for a page of somewhere else', async () => {
    const { ws, start } = await embed({ hang });
    const { task_id: id } = await start('hang');
    const refusal = await refusedUpgrade(`${ws}/ws/lab/task/ws/${id}`, { origin: 'https://evil.example' });
    expect(refusal).toMatchObject({
      status: 403,
      body: { type: 'urn:spyglass-tasks:problem:foreign-origin' },
    });
  });

  test('is refused past the rate limit, and a plain GET is told to upgrade', async () => {
    const { url, ws, start } = await embed({ hang }, { rateLimit: 3 });
    const { task_id: id } = await start('hang');
    const answers: number[] = [];
    for (let attempt = 0; attempt < 6; attempt++) {
      const watcher = new Watcher(`${ws}/ws/lab/task/ws/${id}`);
      answers.push(
        await watcher.open().then(
          () => 101,
          (error: Error) => Number(/\d+$/.exec(error.message)?.[0]),
        ),
      );
    }
    expect(answers).toContain(101);
    expect(answers).toContain(429);
    const plain = await fetch(`${url}/ws/lab/task/ws/${id}`);
    expect(plain.status).toBe(426);
    expect(plain.headers.get('content-type')).toContain('application/problem+json');
  });
});

describe('the stream of all runs of a client', () => {
  test('says where each stands that is active or ended lately, then what happens, and nothing of others', async () => {
    const { ws, start, token } = await embed({ ok, steps, hang });
    const secret = await token();
    const other = await token();
    const active = await start('hang', secret);
    const ended = await start('ok', secret);
    await new Watcher(`${ws}/ws/lab/tasks/${secret}/${ended.task_id}`).close();
    await start('ok', other);
    await start('ok');
    const watcher = await new Watcher(`${ws}/ws/lab/tasks/${secret}`).open();
    await watcher.until(() => watcher.messages.length >= 2);
    expect(watcher.messages.slice(0, 2).map(({ type, task_id, status }) => [type, task_id, status])).toEqual([
      ['snapshot', active.task_id, 'Processing'],
      ['snapshot', ended.task_id, 'Completed'],
    ]);
    const fresh = await start('steps', secret);
    await start('steps', other);
    await start('steps');
    await watcher.until(() => watcher.of(fresh.task_id).at(-1)?.status === 'Completed');
    expect(unexplained(watcher.of(fresh.task_id))).toBeNull();
    expect(new Set(watcher.messages.map(({ task_id }) => task_id))).toEqual(
      new Set([active.task_id, ended.task_id, fresh.task_id]),
    );
    expect(watcher.closed).toBeUndefined();
  });

  test('closes with 1008 when its token is revoked', async () => {
    const { ws, data, start, token } = await embed({ hang });
    const secret = await token();
    const { task_id: id } = await start('hang', secret);
    const all = await new Watcher(`${ws}/ws/lab/tasks/${secret}`).open();
    const one = await new Watcher(`${ws}/ws/lab/tasks/${secret}/${id}`).open();
    const tokens = await openTokens({ data });
    await tokens.revoke(tokenDigest(secret), Date.now());
    tokens.close();
    expect((await all.close()).code).toBe(1008);
    expect((await one.close()).code).toBe(1008);
    expect((await refusedUpgrade(`${ws}/ws/lab/tasks/${secret}`)).status).toBe(401);
  });

  test('closes with 1008 when its token expires', async () => {
    const { ws, token } = await embed({ hang });
    const secret = await token({ expiresAt: Date.now() + 1500 });
    const all = await new Watcher(`${ws}/ws/lab/tasks/${secret}`).open();
    expect((await all.close()).code).toBe(1008);
  });

  test('tells a reader who was slow where each run stands, behind a gap', async () => {
    const { task, contexts, ends } = stepped();
    const { ws, start, token } = await embed({ task, ok });
    const secret = await token();
    const slow = await new Watcher(`${ws}/ws/lab/tasks/${secret}`).open();
    const { task_id: id } = await start('task', secret);
    await slow.until(() => slow.messages.length >= 3);
    const quick = await new Watcher(`${ws}/ws/lab/tasks/${secret}`).open();
    await quick.until(() => quick.of(id).length > 0);
    slow.socket.pause();
    await flood(contexts[0], quick);
    const { task_id: second } = await start('ok', secret);
    await quick.until(() => quick.of(second).at(-1)?.status === 'Completed');
    ends[0]?.();
    await quick.until(() => quick.of(id).at(-1)?.status === 'Completed');
    slow.socket.resume();
    await slow.until(() => [id, second].every((each) => slow.of(each).at(-1)?.status === 'Completed'));
    for (const each of [id, second]) {
      expect(unexplained(slow.of(each))).toBeNull();
      expect(slow.of(each).filter(({ status }) => status === 'Completed')).toHaveLength(1);
    }
    expect(slow.of(id).some(({ type }) => type === 'gap')).toBe(true);
  });
});

test('a peer that no longer answers pings is let go', async () => {
  const { url, ws, start } = await embed({ hang }, { clock: hurriedClock() });
  const { task_id: id } = await start('hang');
  const healthy = await new Watcher(`${ws}/ws/lab/task/ws/${id}`).open();
  const { hostname, port } = new URL(url);
  // Upgrades, and then never answers anything.
  const dead = connect(Number(port), hostname);
  dead.write(
    `GET /ws/lab/task/ws/${id} HTTP/1.1\r\nHost: ${hostname}:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  );
  dead.on('error', () => {});
  dead.resume();
  await new Promise((resolve) => dead.on('close', resolve));
  expect(healthy.closed).toBeUndefined();
});

/** A clock on which half a minute takes 0.3 s. */
function hurriedClock() {
  const speed = 100;
  const born = Date.now();
  return {
    now: () => born + (Date.now() - born) * speed,
    elapsed: () => performance.now() * speed,
    after(delayMs: number, callback: () => void) {
      const timer = setTimeout(callback, delayMs / speed);
      return () => clearTimeout(timer);
    },
    every(periodMs: number, callback: () => void) {
      const timer = setInterval(callback, periodMs / speed);
      return () => clearInterval(timer);
    },
  };
}
