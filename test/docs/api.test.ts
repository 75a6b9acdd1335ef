import { mkdtempSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openAdmin } from '../../src/engines/open.ts';
import { openDatabase } from '../../src/engines/sqlite/driver.ts';
import { type ErrorCode, errorTable, problemType } from '../../src/errors.ts';
import { sharedSchemas } from '../../src/openapi/schemas.ts';
import { loadRegistry } from '../../src/registry.ts';
import { type Snapshot, taskStatuses } from '../../src/run.ts';
import type { ServerOptions } from '../../src/server.ts';
import { defineTask } from '../../src/task.ts';
import { type Embedded, embed } from '../support/embedded.ts';
import { requireCommand } from '../support/requires.ts';
import { faultOfWholeStream } from '../support/story.ts';
import type { WireMessage } from '../support/watcher.ts';
import { stepsOf } from './commands.ts';
import { constant, grouped, mebibytes, seconds } from './constants.ts';
import { checkout, code, Document } from './document.ts';
import { project, serve, startServer } from './served.ts';

const document = new Document('docs/api.md');
const errors = document.table('code', 'status', 'when', '`detail`, for example');

describe('Every command of docs/api.md', () => {
  test('prints what the document says', { timeout: 180_000 }, async (context) => {
    requireCommand(context, 'curl', ['--version']);
    const { shell } = await serve(join(checkout, 'tasks'), document.files);
    for (const step of stepsOf(document)) await shell.check(step);
  });
});

describe('The client that reconnects', () => {
  test('follows a run through kill -9 and a restart, to its end', { timeout: 120_000 }, async () => {
    const { root, environment } = project(document.files);
    const tasks = join(checkout, 'tasks');
    const first = await startServer(root, [tasks, '--port', '0'], environment);
    const port = first.address.split(':')[1] as string;
    const path = 'example_task2/task';
    const start = await fetch(`http://${first.address}/api/${path}/start/task1`, { method: 'POST' });
    const { task_id: id } = (await start.json()) as Snapshot;

    const { watchRun } = (await import(join(root, 'watchRun.js'))) as {
      watchRun(stream: string, result: string, onMessage: (message: WireMessage) => void): Promise<Snapshot>;
    };
    const messages: WireMessage[] = [];
    let atWork = () => {};
    const isAtWork = new Promise<void>((resolve) => {
      atWork = resolve;
    });
    const watched = watchRun(
      `ws://${first.address}/ws/${path}/ws/${id}`,
      `http://${first.address}/api/${path}/result/${id}`,
      (message) => {
        messages.push(message);
        if (message.status === 'Processing') atWork();
      },
    );
    await isAtWork;
    first.child.kill('SIGKILL');
    await first.exited;
    await startServer(root, [tasks, '--port', port], environment);

    expect(await watched).toMatchObject({
      task_id: id,
      status: 'Completed',
      result: '<Task1 Result>',
      attempt: 2,
    });
    expect(faultOfWholeStream(messages)).toBeNull();
    expect(messages.map(({ type }) => type)).toContain('gap');
  });

  test('gives up on a run that it may not see, with the reason', async () => {
    const { root } = project(document.files);
    const server = await embed({ quick });
    const { watchRun } = await import(join(root, 'watchRun.js'));
    const nobodys = '8fKq2LwX0vYbT5sRzN3mJd';
    const watched = watchRun(
      `${server.ws}/ws/lab/task/ws/${nobodys}`,
      `${server.url}/api/lab/task/result/${nobodys}`,
      () => {},
    );
    await expect(watched).rejects.toThrow(`There is no run "${nobodys}"`);
  });
});

describe('The snapshot', () => {
  const keys = document.table('key', 'type', 'meaning').map(([key]) => code(key as string));

  test('has the keys that the document has, in that order', async () => {
    const server = await embed({ quick });
    expect(Object.keys(await server.start('quick'))).toEqual(keys);
  });

  test('has no other keys than the document has, where they apply', () => {
    const sometimes = document.table('key there at times', 'type', 'when, and meaning');
    const { properties, required } = sharedSchemas.Snapshot as {
      properties: object;
      required: string[];
    };
    expect(sometimes.map(([key]) => code(key as string))).toEqual(
      Object.keys(properties).filter((key) => !required.includes(key)),
    );
  });

  test('has the statuses that the document has', () => {
    const statuses = document.table('`status`', 'meaning').map(([status]) => code(status as string));
    expect(statuses).toEqual(taskStatuses);
  });
});

describe('The messages', () => {
  test('are of the types that the document has', () => {
    const types = document
      .table('`type`', 'what it says', 'what it has')
      .map(([type]) => code(type as string));
    const { mapping } = (sharedSchemas.RunMessage as { discriminator: { mapping: object } }).discriminator;
    expect(types).toEqual(Object.keys(mapping));
  });
});

describe('A schedule', () => {
  test('has the keys that the document has', () => {
    const keys = document.table('key of a schedule', 'meaning').map(([key]) => code(key as string));
    expect(keys).toEqual((sharedSchemas.Schedule as { required: string[] }).required);
  });
});

describe('The errors', () => {
  test('are all in the document, and no others, with their status', () => {
    const documented = errors.map(([name, status]) => [code(name as string), Number(status)]);
    expect(documented).toEqual(Object.entries(errorTable).map(([name, [status]]) => [name, status]));
  });

  test.for(errors.map(([name, , , detail]) => [code(name as string), detail] as [ErrorCode, string]))(
    'of the kind %s are as the document shows them',
    { timeout: 60_000 },
    async ([name, detail]) => {
      const provoke = provocations[name];
      if (provoke === null) return;
      const { status, problem } = await provoke();
      expect(status).toBe(errorTable[name][0]);
      expect(problem).toMatchObject({ type: problemType(name), status, title: errorTable[name][1] });
      expect(withoutNames(problem.detail)).toBe(withoutNames(detail));
    },
  );
});

const quick = defineTask({}, () => 'quick');

interface Refusal {
  status: number;
  problem: { type: string; title: string; status: number; detail: string };
}

/** Ids and times are others each time. */
function withoutNames(text: string): string {
  return text.replace(/\b[0-9A-Za-z]{22}\b/g, '<id>').replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, '<time>');
}

/** The server of this repository, inside of the test. */
async function examples(options: ServerOptions = {}): Promise<Embedded> {
  return embed({ quick }, { registry: await loadRegistry(join(checkout, 'tasks')), ...options });
}

async function ask(url: string, init?: RequestInit): Promise<Refusal> {
  const response = await fetch(url, init);
  return { status: response.status, problem: (await response.json()) as Refusal['problem'] };
}

/** Asks the examples' server for a path. */
async function askExamples(path: string, init?: RequestInit): Promise<Refusal> {
  return ask(`${(await examples()).url}${path}`, init);
}

function postJson(body: string, type = 'application/json'): RequestInit {
  return { method: 'POST', body, headers: { 'content-type': type } };
}

/** What a server says to bytes that no HTTP client would send. */
async function say(url: string, text: string): Promise<Refusal> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  onTestFinished(() => {
    socket.destroy();
  });
  socket.write(text);
  let answer = '';
  for await (const chunk of socket.setEncoding('utf8')) answer += chunk;
  const [head = '', body = ''] = answer.split('\r\n\r\n');
  return { status: Number(head.split(' ')[1]), problem: JSON.parse(body) };
}

const startWithArgs = '/api/example_task2/task/start/task2_with_args';
const nobodysRun = '8fKq2LwX0vYbT5sRzN3mJd';

/** Gets each error from a real server; null for the one that no request gets. */
const provocations: Record<ErrorCode, (() => Promise<Refusal>) | null> = {
  async 'bad-request'() {
    const { url } = await examples();
    const start = await fetch(`${url}/api/example_task/task/start/example_task`, { method: 'POST' });
    const { task_id } = (await start.json()) as Snapshot;
    return ask(`${url}/api/example_task/task/cancel/${task_id}`, postJson('{}'));
  },
  'invalid-json': () => askExamples(startWithArgs, postJson('{"name": "Matt"')),
  'refused-json': () => askExamples(startWithArgs, postJson('['.repeat(65) + ']'.repeat(65))),
  'invalid-input': () => askExamples(startWithArgs, postJson('{"name": "Matt", "age": "25"}')),
  async 'invalid-query'() {
    const server = await examples();
    const secret = await tokenOf(server);
    return ask(`${server.url}/api/example_task2/tasks/${secret}?limit=0`);
  },
  'unknown-token': () => askExamples('/api/example_task2/tasks/st_nobodys'),
  async 'foreign-host'() {
    const { url } = await examples();
    return say(url, 'GET /api/tasks HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n');
  },
  'foreign-origin': () => askExamples('/api/tasks', { headers: { origin: 'https://evil.example' } }),
  async 'token-scope'() {
    const server = await examples();
    const secret = await tokenOf(server, ['example_task2']);
    return ask(`${server.url}/api/example_task/tasks/${secret}`);
  },
  'not-found': () => askExamples('/api/nothing'),
  'unknown-state': () => askExamples('/api/nothing/task/start/task1', { method: 'POST' }),
  'unknown-task': () => askExamples('/api/example_task2/task/start/task3', { method: 'POST' }),
  'unknown-run': () => askExamples(`/api/example_task2/task/result/${nobodysRun}`),
  'method-not-allowed': () => askExamples('/api/tasks', { method: 'DELETE' }),
  async 'request-timeout'() {
    const timeouts = { headersMs: 100, requestMs: 200, keepAliveMs: 1000, checkMs: 50 };
    const { url } = await examples({ timeouts });
    return say(url, 'GET /api/tasks HTTP/1.1\r\n');
  },
  async 'already-ended'() {
    const { url, start } = await embed({ quick });
    const { task_id } = await start('quick');
    for (;;) {
      const refusal = await ask(`${url}/api/lab/task/cancel/${task_id}`, { method: 'POST' });
      if (refusal.status !== 200) return refusal;
    }
  },
  async 'not-ended'() {
    const { url, start } = await embed({ long: defineTask({}, (task) => task.sleep(60_000)) });
    const { task_id } = await start('long');
    const address = `${url}/api/lab/task`;
    await expect
      .poll(async () => ((await (await fetch(`${address}/result/${task_id}`)).json()) as Snapshot).status)
      .toBe('Processing');
    return ask(`${address}/retry/${task_id}`, { method: 'POST' });
  },
  'body-too-large': () => askExamples(startWithArgs, postJson(' '.repeat(1024 * 1024 + 1))),
  'unsupported-media-type': () => askExamples(startWithArgs, postJson('Matt', 'text/plain')),
  async 'idempotency-conflict'() {
    const { url } = await examples();
    const headers = { 'content-type': 'application/json', 'idempotency-key': 'a' };
    const start = (body: string) => ask(`${url}${startWithArgs}`, { method: 'POST', headers, body });
    await start('{"name": "Matt", "age": 25}');
    return start('{"name": "Matt", "age": 26}');
  },
  'upgrade-required': () => askExamples(`/ws/example_task2/task/ws/${nobodysRun}`),
  async 'rate-limited'() {
    const { url } = await embed({ quick }, { rateLimit: 1 });
    for (;;) {
      const refusal = await ask(`${url}/api/lab/task/start/quick`, { method: 'POST' });
      if (refusal.status !== 200) return refusal;
    }
  },
  'headers-too-large': () => askExamples('/api/tasks', { headers: { 'x-long': 'x'.repeat(17_000) } }),
  'internal-error': null,
  async stopping() {
    const server = await embed({
      long: defineTask({}, (task) => task.sleep(60_000)),
    });
    const { task_id } = await server.start('long');
    const stopped = server.server.stop(30_000);
    const refusal = await ask(`${server.url}/api/lab/task/start/long`, { method: 'POST' });
    await fetch(`${server.url}/api/lab/task/cancel/${task_id}`, { method: 'POST' });
    await stopped;
    return refusal;
  },
  async draining() {
    const { url, data } = await examples();
    const admin = await openAdmin({ data });
    admin.setMode({ state: 'example_task2', task: 'task1' }, 'drain');
    admin.close();
    for (;;) {
      const refusal = await ask(`${url}/api/example_task2/task/start/task1`, { method: 'POST' });
      if (refusal.status !== 200) return refusal;
    }
  },
  async 'engine-unavailable'() {
    const data = mkdtempSync(join(tmpdir(), 'spyglass-docs-'));
    const { url } = await embed({ quick }, { data });
    const other = openDatabase(join(data, 'spyglass.db'));
    other.exec('BEGIN EXCLUSIVE');
    try {
      // The first that finds the database locked says it in SQLite's words.
      await ask(`${url}/api/lab/task/start/quick`, { method: 'POST' });
      return await ask(`${url}/api/lab/task/start/quick`, { method: 'POST' });
    } finally {
      other.exec('ROLLBACK');
      other.close();
    }
  },
};

/** A token that the server knows already. */
async function tokenOf(server: Embedded, states?: string[]): Promise<string> {
  return server.token(states ? { states } : {});
}

describe('The limits', () => {
  test('are those of the code', () => {
    const limits = document.table('what', 'limit', 'what happens beyond it');
    const documented = Object.fromEntries(limits.map(([what, limit]) => [what, limit]));
    expect(documented).toEqual({
      'a body': mebibytes(constant('routes/body.ts', 'bodyLimitBytes')),
      'a body of many starts': `${mebibytes(constant('routes/bulk.ts', 'bulkLimitBytes'))}, and ${mebibytes(constant('routes/body.ts', 'bodyLimitBytes'))} for each input`,
      'starts in one request': grouped(constant('routes/bulk.ts', 'mostInputs')),
      'nesting of a body': `${constant('json.ts', 'maxDepth')} levels`,
      'errors reported for one input': String(constant('schema.ts', 'maxErrors')),
      'request line and headers': '16 KiB',
      'time for the headers, for a request': `${constant('http.ts', 'headersMs') / 1000} s, ${constant('http.ts', 'requestMs') / 1000} s`,
      'an idle connection': `${constant('http.ts', 'keepAliveMs') / 1000} s`,
      'a result': `${mebibytes(constant('taskContext.ts', 'resultLimitBytes'))} as JSON`,
      "a message, a log line's text": `64 kB (${grouped(constant('taskContext.ts', 'textLimitBytes'))} bytes)`,
      "a log line's fields": `${grouped(constant('taskContext.ts', 'textLimitBytes'))} characters as JSON`,
      'history of a run': `${grouped(constant('engines/sqlite/history.ts', 'historyEvents'))} events or ${mebibytes(constant('engines/sqlite/history.ts', 'historyBytes'))}`,
      "unsent in a watcher's connection": `${constant('channel.ts', 'bufferLimitBytes') / 1024} kB`,
      'a message from a watcher': `${constant('http.ts', 'framePayloadLimitBytes') / 1024} KiB`,
      'a page of runs': `${constant('routes/limit.ts', 'defaultLimit')}, at the most ${grouped(constant('routes/limit.ts', 'maxLimit'))}, and ${mebibytes(constant('engines/sqlite/runTable.ts', 'listBytes')).replace('MiB', 'MiB of results')}`,
      'a page of log lines': `${constant('routes/limit.ts', 'defaultLimit')}, at the most ${grouped(constant('routes/limit.ts', 'maxLimit'))}`,
      'a wait': `${constant('routes/prefer.ts', 'longestWaitSeconds')} s`,
      'putting off': `${constant('policy.ts', 'longestSpanMs') / 365 / 86_400_000} years`,
      'an idempotency key': `${constant('routes/idempotency.ts', 'longestKey')} characters; remembered for ${constant('engine.ts', 'idempotencyMs') / 3_600_000} h`,
      'starts and watches a second': '100 for each address and token; none on localhost; `--rate-limit`',
      'attempts at once': '100; `--concurrency`',
      'finished runs': '30 days, 1,000,000; `--keep-for`, `--keep-runs`',
      "deaths of a run's process": String(constant('engines/sqlite/verdict.ts', 'mostDeaths')),
      'the name of a state or a task': `${constant('state.ts', 'maxNameLength')} characters`,
    });
  });

  test('of streams are those of the code, where the document speaks of them', () => {
    const prose = document.prose.replace(/\s+/g, ' ');
    expect(prose).toContain(`ended in the last ${constant('clientStream.ts', 'endedWithinMs') / 1000} s`);
    expect(prose).toContain(`(${constant('clientStream.ts', 'endedShown')} at the most)`);
    expect(prose).toContain(
      `more than ${grouped(constant('clientStream.ts', 'mostPassedOver'))} runs have changed`,
    );
    expect(prose).toContain(`pings every ${constant('routes/heartbeat.ts', 'periodMs') / 1000} s`);
    expect(prose).toContain(`comes every ${seconds(constant('routes/eventStreams.ts', 'periodMs'))}`);
    const patience = `${constant('routes/outflow.ts', 'patienceMs') / 60_000} minutes`;
    expect(prose).toContain(`taken nothing of what lies unsent for ${patience}`);
    expect(prose).toContain(`for ${patience} has neither answered nor taken anything`);
    expect(prose).toContain(`once a second at the most`);
    expect(constant('positions.ts', 'periodMs')).toBe(1000);
    expect(prose).toContain(`${grouped(constant('clientStream.ts', 'mostPositions'))} of those that wait`);
    expect(prose).toContain(`has run for ${constant('engines/sqlite/leaser.ts', 'silentStartMs')} ms`);
  });
});
