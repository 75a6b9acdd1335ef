import { execFile, spawn } from 'node:child_process';
import { EventEmitter, on, once } from 'node:events';
import { createReadStream, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import ts from 'typescript';
import { describe, expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import { nextOccurrence } from '../../src/cron.ts';
import { loadRegistry } from '../../src/registry.ts';
import { isTerminal, type Snapshot } from '../../src/run.ts';
import { toInputSchema } from '../../src/schema.ts';
import { defineTask, type TaskContext } from '../../src/task.ts';
import { type RetryOptions, type ScheduleOptions, taskOptionNames } from '../../src/taskOptions.ts';
import { makeProject } from '../fixtures/project.ts';
import { type Embedded, embed } from '../support/embedded.ts';
import { requireCommand } from '../support/requires.ts';
import { stepsOf } from './commands.ts';
import { checkout, code, Document } from './document.ts';
import { project, serve } from './served.ts';

const document = new Document('docs/writing-tasks.md');
/** Two projects: what says `require` belongs into one of CommonJS. */
const isCommonJs = (text: string) => text.includes('require(');
const files = Object.fromEntries(Object.entries(document.files).filter(([, text]) => !isCommonJs(text)));

describe('Every command of docs/writing-tasks.md', () => {
  test('prints what the document says', { timeout: 180_000 }, async (context) => {
    requireCommand(context, 'curl', ['--version']);
    const { shell } = await serve('tasks', files);
    for (const step of stepsOf(document)) await shell.check(step);
  });
});

describe('The files of docs/writing-tasks.md', () => {
  test.for([false, true])('compile with experimentalDecorators: %s', (experimentalDecorators) => {
    const { root } = project(files);
    const shown = document.blocks.find(({ language }) => language === 'json')?.text ?? '';
    const { options, errors } = ts.parseJsonConfigFileContent(JSON.parse(shown), ts.sys, root);
    expect(errors).toEqual([]);
    const names = Object.keys(files).filter((path) => path.endsWith('.ts') && !path.startsWith('broken/'));
    const program = ts.createProgram(
      names.map((path) => join(root, path)),
      { ...options, experimentalDecorators, typeRoots: [join(checkout, 'node_modules/@types')] },
    );
    const found = ts.getPreEmitDiagnostics(program).map(({ file, messageText }) => {
      return `${file?.fileName}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
    });
    expect(found).toEqual([]);
  });

  test('give what they say', async () => {
    const { url } = await served();
    const orders = await end(url, 'orders/task', 'export');
    expect(orders).toMatchObject({ status: 'Completed', result: `exports/${orders.task_id}.csv` });
    const due = { number: '7', due: '2026-12-01' };
    expect(await end(url, 'invoice/task', 'send', due)).toMatchObject({
      result: 'Invoice 7, due 2026-12-01',
    });
    expect(await end(url, 'counter/task', 'add', { a: 1, b: 2 })).toMatchObject({ result: 3 });
    expect(await end(url, 'primes/task', 'count', { below: 10_000 })).toMatchObject({ result: 1229 });
    expect(await end(url, 'orders/task', 'remind')).toMatchObject({ result: 'sent' });
  });

  test('work with require in a CommonJS project', async () => {
    const [text] = Object.values(document.files).filter(isCommonJs);
    using commonJs = makeProject({ 'counter.js': text ?? '' });
    const add = (await loadRegistry(commonJs.tasks)).task('counter', 'add');
    expect(add?.run({} as TaskContext, { a: 1, b: 2 })).toBe(3);
  });

  test('heed a cancel', async () => {
    const { url } = await served();
    const deaf = { url: await deafUrl() };
    for (const [task, input] of [['poll'], ['check'], ['fetch', deaf], ['limited', deaf]] as const) {
      const run = await cancelled(url, 'download/task', task, input);
      expect([task, run.status]).toEqual([task, 'Cancelled']);
    }
  });
});

describe('The options of docs/writing-tasks.md do what it says:', () => {
  test('retries, FatalError and RetryError', async () => {
    const { url } = await served();
    const paid = await end(url, 'bank/task', 'pay', { iban: 'DE02120300000000202051', cents: 990 });
    expect(paid).toMatchObject({ status: 'Completed', result: 'paid', attempt: 3 });
    const refused = await end(url, 'bank/task', 'pay', { iban: 'XX00', cents: 990 });
    const error = { name: 'FatalError', message: 'There is no account XX00' };
    expect(refused).toMatchObject({ status: 'Error', error, attempt: 1 });
  });

  test('timeoutMs, heartbeatMs and expiresInMs', async () => {
    const { url } = await served();
    const [page, archive, price] = await Promise.all(
      ['page', 'archive', 'price'].map((task) => end(url, 'scan/task', task)),
    );
    const timeout = {
      name: 'TimeoutError',
      message: 'The attempt took longer than its time limit of 300 ms',
    };
    expect(page).toMatchObject({ status: 'Error', error: timeout, attempt: 2 });
    const hung = { name: 'TimeoutError', message: 'The attempt said nothing, by update or log, for 300 ms' };
    expect(archive).toMatchObject({ status: 'Error', error: hung, attempt: 1 });
    expect(price).toMatchObject({ status: 'Completed', result: 9.9 });
  });

  test('priority, concurrency, rateLimit and key', async () => {
    const { url } = await served();
    const letter = { customer: 'Ann', text: 'hello' };
    const tasks = ['preview', 'print', 'post', 'file', 'translate'];
    const runs = await Promise.all(tasks.map((task) => end(url, 'letters/task', task, letter)));
    expect(runs.map(({ result }) => result)).toEqual(['HELLO', 5, 'posted', 'filed under Ann', 'hello']);
    const twice = [start(url, 'letters/task', 'file', letter), start(url, 'letters/task', 'file', letter)];
    const waiting = (await Promise.all(twice)).filter(({ status }) => status === 'Pending');
    expect(waiting).toHaveLength(1);
  });

  test('unique', async () => {
    const { url } = await served();
    const ids = new Set<string>();
    for (const email of ['ann@example.com', 'ann@example.com', 'ben@example.com']) {
      ids.add((await end(url, 'search/task', 'welcome', { email })).task_id);
    }
    expect(ids.size).toBe(2);
    const first = await start(url, 'search/task', 'reindex');
    expect((await start(url, 'search/task', 'reindex')).task_id).toBe(first.task_id);
    await until(url, 'search/task', first.task_id, ({ status }) => isTerminal(status));
    expect((await start(url, 'search/task', 'reindex')).task_id).not.toBe(first.task_id);
  });

  test('schedule', async () => {
    const { root } = project(files);
    const send = (await loadRegistry(join(root, 'tasks'))).task('report', 'send');
    expect(send?.policy.schedules).toEqual([
      { cron: '0 6 * * MON-FRI', timeZone: 'Europe/Berlin', input: null, catchUp: 'none' },
      { cron: '0 6 1 * *', timeZone: 'Europe/Berlin', input: '{"days":30}', catchUp: 'one' },
    ]);
    const { url } = await served();
    expect(await end(url, 'report/task', 'send')).toMatchObject({ result: 'sent, of 1 days' });
  });

  test('isolate', async () => {
    const { url } = await served();
    expect(await end(url, 'sieve/task', 'count', { below: 100 })).toMatchObject({ result: 25 });
  });
});

/** The tasks of the document, served inside of the test, in a project where they may write. */
async function served(): Promise<Embedded> {
  const { root } = project(files);
  const before = process.cwd();
  process.chdir(root);
  onTestFinished(() => process.chdir(before));
  return embed({ quick: defineTask({}, () => 1) }, { registry: await loadRegistry(join(root, 'tasks')) });
}

async function start(url: string, path: string, task: string, input?: unknown): Promise<Snapshot> {
  const body =
    input === undefined
      ? {}
      : { body: JSON.stringify(input), headers: { 'content-type': 'application/json' } };
  const response = await fetch(`${url}/api/${path}/start/${task}`, { method: 'POST', ...body });
  const answer = await response.text();
  if (response.status !== 200) throw new Error(answer);
  return JSON.parse(answer) as Snapshot;
}

async function until(
  url: string,
  path: string,
  id: string,
  ready: (run: Snapshot) => boolean,
): Promise<Snapshot> {
  for (;;) {
    const run = (await (await fetch(`${url}/api/${path}/result/${id}`)).json()) as Snapshot;
    if (ready(run)) return run;
    await pause(10);
  }
}

/** Starts a run and gives it as it ended. */
async function end(url: string, path: string, task: string, input?: unknown): Promise<Snapshot> {
  const { task_id } = await start(url, path, task, input);
  return until(url, path, task_id, ({ status }) => isTerminal(status));
}

/** Starts a run, cancels it when it is at work, and gives it as it ended. */
async function cancelled(url: string, path: string, task: string, input?: unknown): Promise<Snapshot> {
  const { task_id } = await start(url, path, task, input);
  await until(url, path, task_id, ({ status }) => status === 'Processing');
  await fetch(`${url}/api/${path}/cancel/${task_id}`, { method: 'POST' });
  return until(url, path, task_id, ({ status }) => isTerminal(status));
}

/** Of a server that never answers. */
async function deafUrl(): Promise<string> {
  const server = createServer(() => {});
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

describe('A function of Node that is given the signal', () => {
  const waiting: Record<string, (signal: AbortSignal) => Promise<unknown>> = {
    fetch: async (signal) => fetch(await deafUrl(), { signal }),
    'timers/promises': (signal) => pause(86_400_000, null, { signal }),
    async 'fs/promises'(signal) {
      for (;;) await readFile(join(checkout, 'package.json'), { signal });
    },
    async createReadStream(signal) {
      for await (const _ of createReadStream('/dev/zero', { signal }));
    },
    'stream/promises': (signal) =>
      pipeline(new Readable({ read() {} }), new Writable({ write() {} }), { signal }),
    'http.request': async (signal) => {
      const url = await deafUrl();
      return new Promise((resolve, reject) => request(url, { signal }, resolve).on('error', reject).end());
    },
    'events.once': (signal) => once(new EventEmitter(), 'never', { signal }),
    async 'events.on'(signal) {
      for await (const _ of on(new EventEmitter(), 'never', { signal }));
    },
    'child_process.spawn': (signal) => once(spawn(process.execPath, ['-i'], { signal }), 'exit'),
    execFile: (signal) => promisify(execFile)(process.execPath, ['-i'], { signal }),
  };

  test('is one that the document names, and the other way round', () => {
    const [, sentence = ''] = /Of Node, these were tried: ([^:]*?)\. Each/s.exec(document.prose) ?? [];
    const named = [...sentence.matchAll(/`([^`]+)`/g)].map(([, name]) => name);
    expect(named).toEqual(Object.keys(waiting));
  });

  test.for(Object.entries(waiting))('ends the run as Cancelled: %s', async ([, wait]) => {
    const { url } = await embed({
      wait: defineTask({}, async (task) => {
        await task.update({ progress: 1 });
        await wait(task.signal);
      }),
    });
    expect(await cancelled(url, 'lab/task', 'wait')).toMatchObject({ status: 'Cancelled', error: null });
  });
});

describe('What a method does after a cancel', () => {
  const ends: Record<string, [expected: string, onAbort: (signal: AbortSignal) => unknown]> = {
    'throws `signal.reason`, as `sleep` and `throwIfAborted` do': [
      'Cancelled',
      (signal) => signal.throwIfAborted(),
    ],
    'throws the `AbortError` that a function of Node throws because of the signal': [
      'Cancelled',
      (signal) => pause(1, null, { signal }),
    ],
    'throws anything else': [
      'Error',
      (signal) => Promise.reject(new Error('gave up', { cause: signal.reason })),
    ],
    returns: ['Completed', () => 'half'],
  };

  test.for(document.table('the method', 'the run').slice(0, 4))('decides: %s', async ([what, run]) => {
    const [expected, onAbort] = ends[what as string] as (typeof ends)[string];
    const { url } = await embed({
      wait: defineTask({}, async ({ signal }) => {
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        return onAbort(signal);
      }),
    });
    expect((await cancelled(url, 'lab/task', 'wait')).status).toBe(expected);
    expect(run).toContain(`\`${expected}\``);
  });
});

describe('The results', () => {
  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;
  const returned: Record<string, [value: unknown, result: unknown][]> = {
    'nothing, `undefined` or `null`': [
      [undefined, null],
      [null, null],
    ],
    'a `Date`': [[new Date(0), '1970-01-01T00:00:00.000Z']],
    'an object with `undefined` in it': [[{ a: undefined, b: 1 }, { b: 1 }]],
    'a `Map`, a `Set`': [
      [new Map([[1, 2]]), {}],
      [new Set([1]), {}],
    ],
    'a `BigInt`, a cycle, a function': [
      [1n, 'Error'],
      [cycle, 'Error'],
      [() => 1, 'Error'],
    ],
    'more than 1 MiB of JSON': [['x'.repeat(1024 * 1024), 'Error']],
  };

  test.for(document.table('returned', 'result'))('are as the document has them: %s', async ([what]) => {
    const cases = returned[what as string] ?? [];
    expect(cases.length).toBeGreaterThan(0);
    for (const [value, result] of cases) {
      const { url } = await embed({ give: defineTask({}, () => value) });
      const run = await end(url, 'lab/task', 'give');
      if (result === 'Error') expect(run).toMatchObject({ status: 'Error', error: { name: 'ResultError' } });
      else expect(run).toMatchObject({ status: 'Completed', result });
    }
  });
});

describe('The document names', () => {
  test('every option of a task', () => {
    const named = document
      .table('option', 'default', 'what it says')
      .map(([option]) => code(option as string));
    expect(named).toEqual(taskOptionNames);
  });

  test('every part of retries, and of an entry of schedule', () => {
    const parts: Record<keyof RetryOptions, true> = {
      attempts: true,
      backoff: true,
      delayMs: true,
      maxDelayMs: true,
      jitter: true,
    };
    const entry: Record<keyof ScheduleOptions, true> = {
      cron: true,
      timeZone: true,
      args: true,
      catchUp: true,
    };
    const named = (what: string) =>
      document.table(what, 'default', 'what it says').map(([name]) => code(name as string));
    expect(named('of `retries`')).toEqual(Object.keys(parts));
    expect(named('of an entry')).toEqual(Object.keys(entry));
  });

  test('when a schedule occurs as the clock changes', () => {
    const occurs = (cron: string, from: string) => {
      const at = nextOccurrence({ cron, timeZone: 'Europe/Berlin' }, Date.parse(from));
      return new Date(at as number).toISOString().slice(11, 16);
    };
    const rows = document.table(
      'the hour field',
      'the clock goes forward: a time that does not exist',
      'the clock goes back: a time that there is twice',
    );
    const [named, hourly] = rows.map(([field]) => /`(.+)`/.exec(field as string)?.[1] ?? '') as [
      string,
      string,
    ];
    // 03:00 in summer is 01:00 UTC; 02:30 is 00:30 UTC, and then 01:30 UTC.
    expect(occurs(named, '2026-03-29T00:00Z')).toBe('01:00');
    expect(occurs(named, '2026-10-25T00:00Z')).toBe('00:30');
    expect(occurs(named, '2026-10-25T00:30Z')).toBe('01:30');
    expect(nextOccurrence({ cron: named, timeZone: 'Europe/Berlin' }, Date.parse('2026-10-25T00:30Z'))).toBe(
      Date.parse('2026-10-26T01:30Z'),
    );
    expect(occurs(hourly, '2026-03-29T00:30Z')).toBe('01:30');
    expect(occurs(hourly, '2026-10-25T00:30Z')).toBe('01:30');
  });

  test('every member of the context', () => {
    const [, body = ''] =
      /export interface TaskContext \{\n(.*?)\n\}/s.exec(
        readFileSync(join(checkout, 'src/task.ts'), 'utf8'),
      ) ?? [];
    const members = [...body.matchAll(/^ {2}(?:readonly )?(\w+)[:(]/gm)].map(([, name]) => name);
    const named = document.table('member', 'what it is').map(([member]) => code(member as string));
    expect(named).toEqual(members);
  });

  test('how an example is given to a schema', () => {
    const schema = z.object({ name: z.string() }).meta({ examples: [{ name: 'Ann' }] });
    expect(toInputSchema(schema).example).toEqual({ name: 'Ann' });
  });
});
