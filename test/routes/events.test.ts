import { describe, expect, test } from 'vitest';
import { openTokens } from '../../src/engines/open.ts';
import { EventStreams } from '../../src/routes/eventStreams.ts';
import type { Snapshot } from '../../src/run.ts';
import { defineTask, type TaskContext } from '../../src/task.ts';
import { tokenDigest } from '../../src/token.ts';
import { embed } from '../support/embedded.ts';
import { EventReader } from '../support/eventReader.ts';
import { unexplained, Watcher } from '../support/watcher.ts';
import { expectCommonHeaders, post, problem } from './asking.ts';

const ok = defineTask({}, () => 'fine');
const steps = defineTask({}, async (task: TaskContext) => {
  for (const progress of [25, 50, 75]) {
    await task.update({ progress });
    await task.sleep(5);
  }
  await task.log('nearly\u2028there\n', { left: 1 });
  return 'done';
});
const hang = defineTask({}, async (task: TaskContext) => {
  await task.update({ progress: 1 });
  await task.sleep(600_000);
});
const tasks = { ok, steps, hang };

/** A task that floods its run when it is told to. */
function floodable() {
  const contexts: TaskContext[] = [];
  const task = defineTask({}, (context: TaskContext) => {
    contexts.push(context);
    return context.sleep(600_000);
  });
  return { task, contexts };
}

const eventStream = { accept: 'text/event-stream' };

describe('The events of one run', () => {
  test('are the messages of its WebSocket, each with its seq as id, and end with the run', async () => {
    const { url, ws, start } = await embed(tasks);
    const { task_id: id } = await start('steps');
    const reader = await new EventReader(`${url}/api/lab/task/events/${id}`).open();
    expect(reader.response?.statusCode).toBe(200);
    expect(reader.response?.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
      'x-accel-buffering': 'no',
    });
    expect(await reader.end()).toBe(true);
    const watcher = new Watcher(`${ws}/ws/lab/task/ws/${id}`);
    await watcher.close();
    expect(reader.messages).toEqual(watcher.messages);
    expect(reader.events.map((event) => Number(event.id))).toEqual(reader.messages.map(({ seq }) => seq));
    expect(unexplained(reader.messages)).toBeNull();
    expect(reader.messages.at(-1)).toMatchObject({ status: 'Completed', result: 'done' });
  });

  test('go on behind Last-Event-ID, which is stronger than ?since', async () => {
    const { url, start } = await embed(tasks);
    const { task_id: id } = await start('steps');
    const address = `${url}/api/lab/task/events/${id}`;
    const whole = new EventReader(address);
    await whole.end();
    const rest = new EventReader(`${address}?since=1`, { headers: { 'last-event-id': '4' } });
    await rest.end();
    expect(rest.messages).toEqual(whole.messages.slice(4));
    const since = new EventReader(`${address}?since=5`);
    await since.end();
    expect(since.messages).toEqual(whole.messages.slice(5));
    const anew = new EventReader(address, { headers: { 'last-event-id': '' } });
    await anew.end();
    expect(anew.messages).toEqual(whole.messages);
  });

  test('are a 204 when all has been told, so that nobody comes back for ever', async () => {
    const { url, start } = await embed(tasks);
    const { task_id: id } = await start('ok');
    const reader = new EventReader(`${url}/api/lab/task/events/${id}`);
    await reader.end();
    const last = reader.events.at(-1)?.id as string;
    const response = await fetch(`${url}/api/lab/task/events/${id}`, { headers: { 'last-event-id': last } });
    expect(response.status).toBe(204);
    expectCommonHeaders(response.headers);
    expect(await response.text()).toBe('');
  });

  test('are refused like any other read where there is nothing to be read', async () => {
    const server = await embed(tasks);
    const { task_id: id } = await server.start('hang');
    const address = `${server.url}/api/lab/task/events`;
    await problem(await fetch(`${address}/nobody`), 'unknown-run');
    await problem(await fetch(`${address}/${id}?since=999`), 'invalid-query');
    await problem(await fetch(`${address}/${id}?from=1`), 'invalid-query');
    for (const [lastId, what] of [
      ['x', 'a whole number, and not "x"'],
      ['999', 'Last-Event-ID is 999, but'],
    ] as const) {
      const response = await fetch(`${address}/${id}`, { headers: { 'last-event-id': lastId } });
      expect((await problem(response, 'bad-request')).detail).toContain(what);
    }
    const token = await server.token();
    await problem(await fetch(`${server.url}/api/lab/tasks/${token}/events/${id}`), 'unknown-run');
    await problem(await fetch(`${server.url}/api/lab/tasks/x/events/${id}`), 'unknown-token');
    await problem(await fetch(`${server.url}/api/lab/tasks/x/events`), 'unknown-token');
    await problem(await fetch(`${server.url}/api/lab/tasks/${token}/events?since=1`), 'invalid-query');
  });

  test('have a head, which is all that HEAD gets', async () => {
    const { url, start } = await embed(tasks);
    const { task_id: id } = await start('hang');
    const response = await fetch(`${url}/api/lab/task/events/${id}`, { method: 'HEAD' });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    expect(await response.text()).toBe('');
  });

  test('count as a watch for the rate limit', async () => {
    const { url, start } = await embed(tasks, { rateLimit: 5 });
    const { task_id: id } = await start('ok');
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => fetch(`${url}/api/lab/task/events/${id}?since=1`)),
    );
    expect(answers.map(({ status }) => status)).toContain(429);
    for (const answer of answers) await answer.body?.cancel();
  });

  test('may be read by a page of an origin that was allowed', async () => {
    const app = 'https://app.example';
    const { url, start } = await embed(tasks, { allowOrigin: [app] });
    const { task_id: id } = await start('ok');
    const reader = new EventReader(`${url}/api/lab/task/events/${id}`, { headers: { origin: app } });
    await reader.end();
    expect(reader.response?.headers['access-control-allow-origin']).toBe(app);
    const foreign = { headers: { origin: 'https://evil.example' } };
    await problem(await fetch(`${url}/api/lab/task/events/${id}`, foreign), 'foreign-origin');
  });
});

describe('A start that asks for events', () => {
  test('is answered with the events of its run, until it has ended', async () => {
    const server = await embed(tasks);
    const token = await server.token();
    for (const [path, results] of [
      ['task', 'task'],
      [`tasks/${token}`, `tasks/${token}`],
    ]) {
      const address = `${server.url}/api/lab/${path}/start/steps`;
      const reader = new EventReader(address, { method: 'POST', headers: eventStream });
      expect(await reader.end()).toBe(true);
      expect(reader.messages[0]).toMatchObject({ type: 'update', status: 'Pending', seq: 1 });
      expect(reader.messages.at(-1)).toMatchObject({ status: 'Completed', result: 'done' });
      const id = reader.messages[0]?.task_id as string;
      expect(reader.response?.headers.location).toBe(`/api/lab/${results}/result/${id}`);
    }
  });

  test.for([
    ['text/event-stream', true],
    ['Text/Event-Stream;q=0.9, application/json;q=0.2', true],
    ['text/event-stream, */*;q=0.1', true],
    ['*/*', false],
    ['text/*', false],
    ['application/json, text/event-stream', false],
    ['text/event-stream;q=0', false],
    ['application/json;q=0.9, text/event-stream;q=0.8', false],
    ['text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8', false],
    [';;;,,=', false],
  ] as const)('is told by its Accept: %s', async ([accept, isStream]) => {
    const { url } = await embed(tasks);
    const response = await post(`${url}/api/lab/task/start/ok`, undefined, { accept });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toMatch(
      isStream ? /^text\/event-stream/ : /^application\/json/,
    );
    await response.text();
  });

  test('is refused with a problem document like any other', async () => {
    const { url } = await embed(tasks);
    await problem(await post(`${url}/api/lab/task/start/nope`, undefined, eventStream), 'unknown-task');
    await problem(await post(`${url}/api/lab/task/start/ok`, {}, eventStream), 'invalid-input');
  });
});

describe('The events of all runs of a token', () => {
  test('are what its WebSocket tells, without ids', async () => {
    const server = await embed(tasks);
    const [ann, ben] = [await server.token(), await server.token()];
    const held = await server.start('hang', ann);
    const reader = await new EventReader(`${server.url}/api/lab/tasks/${ann}/events`).open();
    await reader.until(() => reader.events.length > 0);
    expect(reader.messages[0]).toMatchObject({ type: 'snapshot', task_id: held.task_id });
    await server.start('ok', ben);
    const { task_id: id } = await server.start('ok', ann);
    await reader.until(() => reader.of(id).at(-1)?.status === 'Completed');
    expect(unexplained(reader.of(id))).toBeNull();
    expect(reader.events.map((event) => event.id).filter((each) => each !== null)).toEqual([]);
    expect(new Set(reader.messages.map(({ task_id }) => task_id))).toEqual(new Set([held.task_id, id]));
  });

  test('do not hide a run: an id is never "events" or "logs"', async () => {
    const server = await embed(tasks);
    const token = await server.token();
    const { task_id: id } = await server.start('ok', token);
    const one = await fetch(`${server.url}/api/lab/tasks/${token}/${id}`);
    expect(((await one.json()) as Snapshot).task_id).toBe(id);
  });
});

describe('A stream of events', () => {
  test('ends with the reason when its token is revoked, and the next try is a 401', async () => {
    const server = await embed(tasks);
    const token = await server.token();
    const { task_id: id } = await server.start('hang', token);
    const base = `${server.url}/api/lab/tasks/${token}/events`;
    const readers = [await new EventReader(base).open(), await new EventReader(`${base}/${id}`).open()];
    const tokens = await openTokens({ data: server.data });
    await tokens.revoke(tokenDigest(token), Date.now());
    tokens.close();
    for (const reader of readers) {
      expect(await reader.end()).toBe(true);
      expect(reader.comments.at(-1)).toBe('The client token was revoked or has expired');
    }
    await problem(await fetch(base), 'unknown-token');
  });

  test('ends when the server stops, and goes on where it was after a restart', async () => {
    const server = await embed(tasks);
    const { task_id: id } = await server.start('hang');
    const reader = new EventReader(`${server.url}/api/lab/task/events/${id}`);
    await reader.until(() => reader.messages.at(-1)?.status === 'Processing');
    await server.server.stop(0);
    expect(await reader.end()).toBe(true);
    expect(reader.comments.at(-1)).toContain('stopping');
    const again = await embed(tasks, { data: server.data });
    const rest = new EventReader(`${again.url}/api/lab/task/events/${id}`, {
      headers: { 'last-event-id': String(reader.events.at(-1)?.id) },
    });
    await rest.until(() => rest.messages.at(-1)?.attempt === 2);
    expect(unexplained([...reader.messages, ...rest.messages])).toBeNull();
  });

  test('leaves nothing behind when its reader hangs up', async () => {
    let streams: EventStreams | undefined;
    const { open } = EventStreams.prototype;
    EventStreams.prototype.open = function (...args) {
      streams = this;
      return open.apply(this, args);
    };
    try {
      const { url, start } = await embed(tasks);
      const { task_id: id } = await start('hang');
      const readers = Array.from({ length: 20 }, () => new EventReader(`${url}/api/lab/task/events/${id}`));
      for (const reader of readers) await reader.until(() => reader.events.length > 0);
      expect(streams?.size).toBe(20);
      for (const reader of readers) reader.hangUp();
      await expect.poll(() => streams?.size).toBe(0);
    } finally {
      EventStreams.prototype.open = open;
    }
  });

  test('passes over a reader who does not read: nobody waits, and what was missed is one gap', async () => {
    const { task, contexts } = floodable();
    const { url, start } = await embed({ task });
    const { task_id: id } = await start('task');
    const address = `${url}/api/lab/task/events/${id}`;
    const [slow, quick] = [new EventReader(address), new EventReader(address)];
    await slow.until(() => slow.messages.at(-1)?.status === 'Processing');
    slow.pause();
    const text = 'x'.repeat(16_000);
    for (let line = 1; line <= 2000; line++) {
      contexts[0]?.log(text);
      if (line % 50 === 0) await quick.until(() => (quick.messages.at(-1)?.seq ?? 0) >= line);
    }
    await post(`${url}/api/lab/task/cancel/${id}`);
    expect(await quick.end()).toBe(true);
    expect(unexplained(quick.messages)).toBeNull();
    slow.resume();
    expect(await slow.end()).toBe(true);
    expect(unexplained(slow.messages)).toBeNull();
    const gaps = slow.events.filter(({ data }) => data.type === 'gap');
    expect(gaps.length).toBeGreaterThan(0);
    // Who comes back after it is told of it again.
    for (const gap of gaps) expect(gap.id).toBeNull();
    expect(slow.messages.at(-1)).toMatchObject({ type: 'update', status: 'Cancelled' });
  });
});
