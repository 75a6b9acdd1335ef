import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Snapshot } from '../src/run.ts';
import { makeProject, type Project } from './fixtures/project.ts';
import { post, problem } from './routes/asking.ts';
import { Watcher } from './support/watcher.ts';

const entry = resolve(import.meta.dirname, '../dist/cli.js');

const work = `
import { z } from 'zod';
import { defineState, defineTask } from 'spyglass-tasks';

export const work = defineState('work', {
  greet: defineTask({ input: z.object({ name: z.string() }) }, (_task, { name }) => 'Hello ' + name),
  ok: defineTask({}, () => 'fine'),
  hold: defineTask({}, (task) => task.sleep(600_000)),
  stubborn: defineTask({}, () => new Promise(() => {})),
  later: defineTask({}, async (task) => {
    setTimeout(() => { throw new Error('thrown in a timer'); }, 1);
    void Promise.reject(new Error('rejected and left'));
    await task.sleep(100);
    return 'survived';
  }),
  odd: defineTask({}, async (task) => {
    const trap = () => { throw new Error('nobody may look'); };
    const odd = [
      Object.create(null),
      new Proxy({}, { getPrototypeOf: trap }),
      Object.defineProperty(new Error(), 'stack', { get: trap }),
      Object.defineProperty(new Error(), 'stack', { value: Object.create(null) }),
    ];
    for (const thrown of odd) {
      setTimeout(() => { throw thrown; }, 1);
      void Promise.reject(thrown);
    }
    await task.sleep(100);
    return 'survived';
  }),
});
`;

function project(): Project {
  const made = makeProject({ 'work.ts': work });
  onTestFinished(() => made[Symbol.dispose]());
  return made;
}

interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** The environment of the tests without what it may say about a server. */
function environment(extra: Record<string, string> = {}): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(SPYGLASS_.*|PORT|NODE_OPTIONS)$/.test(name),
  );
  return { ...Object.fromEntries(inherited), ...extra };
}

/** Runs a command to its end. */
function cli(cwd: string, args: string[], env: Record<string, string> = {}): Promise<Ended> {
  return new Promise((done) => {
    const options = { cwd, env: environment(env), timeout: 25_000 };
    const child = execFile(process.execPath, [entry, ...args], options, (_error, stdout, stderr) =>
      done({ code: child.exitCode, stdout, stderr }),
    );
  });
}

interface Serving {
  url: string;
  child: ChildProcess;
  /** All that it has printed. */
  output(): string;
  ended: Promise<number | null>;
}

/** Serves the project's tasks in a process of its own, and waits until it says that it is ready. */
async function serve(
  { root }: Project,
  args: string[] = [],
  env: Record<string, string> = {},
): Promise<Serving> {
  const child = spawn(process.execPath, [entry, 'serve', '--port', '0', ...args], {
    cwd: root,
    env: environment(env),
  });
  onTestFinished(async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  });
  const ended = once(child, 'exit').then(([code]) => code as number | null);
  let output = '';
  const url = await new Promise<string>((ready, failed) => {
    const take = (chunk: Buffer) => {
      output += chunk;
      const found = /(?:address {2}|"url":")(http:\/\/[^\s"]+)/.exec(output)?.[1];
      if (found) ready(found);
    };
    child.stdout?.on('data', take);
    child.stderr?.on('data', take);
    ended.then((code) => failed(new Error(`It ended with ${code}: ${output}`)));
  });
  return { url, child, output: () => output, ended };
}

async function start(url: string, task: string): Promise<Snapshot> {
  const response = await post(`${url}/api/work/task/start/${task}`);
  expect(response.status).toBe(200);
  return (await response.json()) as Snapshot;
}

describe('spyglass-tasks', () => {
  test('prints its version, and help with every command and exit code', async () => {
    const { root } = project();
    const { version } = (await import('../package.json', { with: { type: 'json' } })).default;
    expect(await cli(root, ['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
    const { code, stdout } = await cli(root, ['--help']);
    expect(code).toBe(0);
    for (const word of ['serve', 'token', 'Examples', 'Exit codes', '0  ', '1  ', '2  ', '3  '])
      expect(stdout).toContain(word);
    // These are tasks and runs.
    expect(stdout + (await cli(root, ['serve', '--help'])).stdout).not.toMatch(/\bjobs?\b/);
  });

  test('helps with each flag of serve: its meaning, default and environment name', async () => {
    const { code, stdout } = await cli(project().root, ['serve', '--help']);
    expect(code).toBe(0);
    const text = stdout.replace(/\s+/g, ' ');
    for (const part of [
      '--port <number>',
      '(default: 8000)',
      '[SPYGLASS_PORT, PORT]',
      '--keep-runs',
      'SPYGLASS_KEEP_RUNS',
    ]) {
      expect(text).toContain(part);
    }
  });

  test('says of --data that the folder is made when missing where it is, and nowhere else', async () => {
    const { root } = project();
    const commands = [['serve'], ['token', 'create'], ['pause'], ['drain'], ['resume'], ['cancel']];
    const helps = await Promise.all(
      commands.map(async (command) => [command.join(' '), (await cli(root, [...command, '--help'])).stdout]),
    );
    for (const [command, help = ''] of helps) {
      const [, meaning] = /--data <folder> (.*?) \(default/.exec(help.replace(/\s+/g, ' ')) ?? [];
      const makesIt = command === 'serve' || command === 'token create';
      expect([command, meaning]).toEqual([
        command,
        makesIt
          ? 'folder of the database, made when missing'
          : 'folder of the database, which a server must have made',
      ]);
    }
  });

  test.for<[string[], string]>([
    [[], 'Usage'],
    [['sreve'], 'unknown command'],
    [['serve', '--nope'], "unknown option '--nope'"],
    [['serve', 'a', 'b'], 'too many arguments'],
    [['serve', '--port', '99999'], '--port: "99999" is not a whole number from 0 to 65535.'],
    [['serve', '--grace', 'soon'], '--grace: "soon" is not a duration'],
    [['serve', '--host', '0.0.0.0'], 'Say --direct off'],
    [['serve', 'no-such-folder'], 'no-such-folder'],
    [['token'], 'Usage'],
    [['token', 'create', '--expires', 'soon'], '--expires: "soon" is not a duration'],
    [['token', 'create', '--label', ''], '--label'],
    [['token', 'create', '--state', 'a,,b'], '--state'],
    [['token', 'revoke'], 'missing required argument'],
  ])('refuses wrong use with exit code 2 and a sentence: %j', async ([args, sentence]) => {
    const { code, stdout, stderr } = await cli(project().root, args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(sentence);
    expect(stderr).not.toContain('    at ');
  });

  test('names the environment variable that has a bad value', async () => {
    const { code, stderr } = await cli(project().root, ['serve'], { SPYGLASS_KEEP_FOR: 'ever' });
    expect(code).toBe(2);
    expect(stderr).toContain('SPYGLASS_KEEP_FOR: "ever" is not a duration');
  });
});

describe('spyglass-tasks serve', () => {
  test('says where it is, and a line to try that works', async () => {
    const { url, output } = await serve(project());
    expect(output()).toContain(`docs     ${url}/docs`);
    const [, tried] = /try {6}curl (.*)/.exec(output()) ?? [];
    expect(tried).toBe(`-X POST ${url}/api/work/task/start/ok`);
    const { stdout } = await new Promise<{ stdout: string }>((done) =>
      execFile('curl', ['-s', ...(tried ?? '').split(' ')], (_error, stdout) => done({ stdout })),
    );
    expect(JSON.parse(stdout)).toMatchObject({ task: 'ok' });
  });

  test('suggests a line with the example of a task that needs input, or with a token where one is needed', async () => {
    const input = `z.object({ name: z.string() }).meta({ examples: [{ name: "it's me" }] })`;
    const made = makeProject({
      'only.ts': `import { z } from 'zod'; import { defineState, defineTask } from 'spyglass-tasks';
        export const only = defineState('only', { greet: defineTask({ input: ${input} }, (_task, { name }) => name) });`,
    });
    onTestFinished(() => made[Symbol.dispose]());
    const open = await serve(made, ['--data', 'a']);
    const line = /try {6}(.*)/.exec(open.output())?.[1] ?? '';
    const answer = await new Promise<string>((done) =>
      execFile('sh', ['-c', `${line} -s`], (_error, stdout) => done(stdout)),
    );
    expect(JSON.parse(answer)).toMatchObject({ task: 'greet' });
    const closed = await serve(made, ['--data', 'b b', '--direct', 'off']);
    expect(closed.output()).toContain(
      `curl -X POST ${closed.url}/api/only/tasks/$(spyglass-tasks token create --data 'b b')/start/greet -H`,
    );
  });

  test('says it as one JSON object a line with --log-format json', async () => {
    const { child, ended, output } = await serve(project(), ['--log-format', 'json']);
    child.kill('SIGTERM');
    await ended;
    const lines = output()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { level: string; message: string });
    expect(lines.map(({ level, message }) => `${level} ${message.slice(0, 8)}`)).toEqual([
      'info Ready',
      'info SIGTERM:',
      'info Stopped',
    ]);
  });

  test('takes its settings from the environment too', async () => {
    const made = project();
    const { url } = await serve(made, [], { SPYGLASS_DIRECT: 'off', SPYGLASS_DATA: './kept' });
    await problem(await post(`${url}/api/work/task/start/ok`), 'not-found');
    expect(await cli(made.root, ['serve', '--port', '0', '--data', 'kept'])).toMatchObject({ code: 3 });
  });

  test('exits with 1 when the port is taken, and with 3 when the data folder is', async () => {
    const made = project();
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    onTestFinished(() => void other.close());
    const { port } = other.address() as AddressInfo;
    const taken = await cli(made.root, ['serve', '--port', String(port)]);
    expect(taken).toMatchObject({ code: 1, stdout: '' });
    expect(taken.stderr).toContain(`127.0.0.1:${port} is in use by another program`);
    await serve(made);
    const inUse = await cli(made.root, ['serve', '--port', '0']);
    expect(inUse.code).toBe(3);
    expect(inUse.stderr).toContain('in use by another spyglass-tasks server');
  });

  test.for(['SIGTERM', 'SIGINT'] as const)(
    'on %s refuses starts, waits for the grace time, hands back and exits with 0',
    async (signal) => {
      const made = project();
      const { url, child, ended } = await serve(made, ['--grace', '1500ms']);
      const held = await start(url, 'hold');
      const result = `/api/work/task/result/${held.task_id}`;
      child.kill(signal);
      await expect.poll(async () => (await fetch(`${url}/readyz`)).status).toBe(503);
      await problem(await post(`${url}/api/work/task/start/ok`), 'stopping');
      expect((await fetch(url + result)).status).toBe(200);
      expect(await ended).toBe(0);
      const next = await serve(made);
      await expect
        .poll(async () => (await (await fetch(next.url + result)).json()) as Snapshot)
        .toMatchObject({ attempt: 2 });
    },
  );

  test('exits at once on a second signal', async () => {
    const { url, child, ended } = await serve(project(), ['--grace', '10m']);
    await start(url, 'stubborn');
    child.kill('SIGTERM');
    await expect.poll(async () => (await fetch(`${url}/readyz`)).status).toBe(503);
    child.kill('SIGINT');
    expect(await ended).toBe(1);
  });

  test('takes one Ctrl-C for one, though npm repeats it', async () => {
    const { url, child, ended } = await serve(project(), ['--grace', '300ms']);
    await start(url, 'stubborn');
    child.kill('SIGINT');
    await once(child.stdout as Readable, 'data');
    child.kill('SIGINT');
    expect(await ended).toBe(0);
  });

  test('outlives what a task throws where nobody catches it, and names the run', async () => {
    const { url, output } = await serve(project());
    const { task_id } = await start(url, 'later');
    const result = `${url}/api/work/task/result/${task_id}`;
    await expect
      .poll(async () => (await (await fetch(result)).json()) as Snapshot)
      .toMatchObject({ result: 'survived' });
    for (const said of ['thrown in a timer', 'rejected and left']) await expect.poll(output).toContain(said);
    expect(
      output().match(new RegExp(`ERROR .* in a task .*task_id=${task_id} state=work task=later`, 'g')),
    ).toHaveLength(2);
  });

  test.for(['pretty', 'json'])('outlives what cannot even be shown, in a log that is %s', async (format) => {
    const { url, output } = await serve(project(), ['--log-format', format]);
    const { task_id } = await start(url, 'odd');
    const result = `${url}/api/work/task/result/${task_id}`;
    await expect
      .poll(async () => (await (await fetch(result)).json()) as Snapshot)
      .toMatchObject({ result: 'survived' });
    await expect.poll(() => output().match(new RegExp(`in a task.*${task_id}`, 'g'))).toHaveLength(8);
    expect(output()).toContain('cannot be shown');
  });

  test('goes on when nobody reads its output any more', async () => {
    const { url, child } = await serve(project(), ['--log-level', 'debug']);
    child.stdout?.destroy();
    child.stderr?.destroy();
    for (let i = 0; i < 20; i++) expect((await fetch(`${url}/healthz`)).status).toBe(200);
    expect(child.exitCode).toBeNull();
  });
});

describe('The database', () => {
  test('is for its own user alone, also in a folder that others can read', async () => {
    const made = project();
    const data = join(made.root, 'data');
    mkdirSync(data);
    chmodSync(data, 0o755);
    await cli(made.root, ['token', 'create', '--data', data]);
    const modes = () =>
      readdirSync(data).map((name) => `${name} ${(statSync(join(data, name)).mode & 0o777).toString(8)}`);
    expect(modes()).toContain('spyglass.db 600');
    const { url } = await serve(made, ['--data', data]);
    await start(url, 'ok');
    expect(modes()).toEqual(
      expect.arrayContaining(['spyglass.db 600', 'spyglass.db-wal 600', 'lock.db 600']),
    );
    for (const mode of modes()) expect(mode).toMatch(/ 600$/);
  });
});

describe('spyglass-tasks token', () => {
  test('makes a token that works at once beside a running server, printed alone', async () => {
    const made = project();
    const { url, output } = await serve(made, ['--log-level', 'trace']);
    const { code, stdout, stderr } = await cli(made.root, [
      'token',
      'create',
      '--label',
      'Ann',
      '--state',
      'work',
      '--expires',
      '30d',
    ]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^st_[0-9A-Za-z]{32}\n$/);
    const token = stdout.trim();
    expect(stderr).toMatch(/Client token \w{10} \(Ann\) for work, until \d{4}-.*\n$/);
    expect(stderr).not.toContain(token);
    const all = `${url}/api/work/tasks/${token}`;
    await expect.poll(async () => (await fetch(all)).status, { interval: 20, timeout: 1000 }).toBe(200);
    expect((await post(`${all}/start/ok`)).status).toBe(200);
    expect((await fetch(`${url}/api/other/tasks/${token}`)).status).toBe(403);
    expect(output()).toContain('/api/work/tasks/[redacted]');
    expect(output()).not.toContain(token);
  });

  test('lists tokens with their label, states, times and status, and never the token', async () => {
    const { root } = project();
    expect(await cli(root, ['token', 'list'])).toMatchObject({
      code: 0,
      stdout: '',
      stderr: expect.stringContaining('token create'),
    });
    const secrets = [];
    for (const args of [['--label', 'Ann B.', '--state', 'b', '--state', 'a'], ['--expires', '1ms'], []]) {
      secrets.push((await cli(root, ['token', 'create', ...args])).stdout.trim());
    }
    expect(await cli(root, ['token', 'revoke', secrets[2] as string])).toMatchObject({ code: 0 });
    const { stdout: text } = await cli(root, ['token', 'list']);
    const [head, ...rows] = text.trimEnd().split('\n');
    expect(head?.split(/ {2,}/)).toEqual(['ID', 'LABEL', 'STATES', 'CREATED', 'EXPIRES', 'STATUS']);
    expect(rows.map((row) => row.split(/ {2,}/).slice(1))).toEqual([
      ['Ann B.', 'b,a', expect.stringMatching(/Z$/), 'never', 'active'],
      ['-', 'all', expect.stringMatching(/Z$/), expect.stringMatching(/Z$/), 'expired'],
      ['-', 'all', expect.stringMatching(/Z$/), 'never', 'revoked'],
    ]);
    const { stdout: json } = await cli(root, ['token', 'list', '--json']);
    const objects = json
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(objects.map(({ status }) => status)).toEqual(['active', 'expired', 'revoked']);
    expect(objects[0]).toMatchObject({ label: 'Ann B.', states: ['b', 'a'], expires: null });
    for (const secret of secrets) expect(text + json).not.toContain(secret);
  });

  test('revokes by id or by token, at once, and closes what was open', async () => {
    const made = project();
    const { url } = await serve(made);
    for (const by of ['id', 'token'] as const) {
      const created = await cli(made.root, ['token', 'create']);
      const token = created.stdout.trim();
      const id = /Client token (\w+)/.exec(created.stderr)?.[1] ?? '';
      const all = `${url}/api/work/tasks/${token}`;
      await expect.poll(async () => (await fetch(all)).status).toBe(200);
      const watcher = await new Watcher(`${url.replace('http', 'ws')}/ws/work/tasks/${token}`).open();
      const revoked = await cli(made.root, ['token', 'revoke', by === 'id' ? id : token]);
      expect(revoked).toMatchObject({ code: 0, stdout: '', stderr: expect.stringContaining(id) });
      expect(await watcher.close()).toMatchObject({ code: 1008 });
      await problem(await fetch(all), 'unknown-token');
    }
  });

  test('says when there is no such token, without repeating it', async () => {
    const { root } = project();
    const token = `st_${'x'.repeat(32)}`;
    for (const given of ['nobodys', token]) {
      const { code, stderr } = await cli(root, ['token', 'revoke', given]);
      expect(code).toBe(1);
      expect(stderr).toContain('token list');
      expect(stderr).not.toContain(token);
    }
  });

  test('is kept in the folder that --data names', async () => {
    const { root } = project();
    await cli(root, ['token', 'create', '--data', join(root, 'here')]);
    const here = await cli(root, ['token', 'list', '--json'], { SPYGLASS_DATA: 'here' });
    expect(here.stdout.trim().split('\n')).toHaveLength(1);
    expect((await cli(root, ['token', 'list', '--json'])).stdout).toBe('');
  });
});

describe('spyglass-tasks pause, drain and resume', () => {
  test('hold up a task beside a running server, and let it go on', async () => {
    const made = project();
    const { url } = await serve(made);
    const paused = await cli(made.root, ['pause', 'work', 'ok']);
    expect(paused).toMatchObject({ code: 0, stdout: '' });
    expect(paused.stderr).toContain('The task ok of the state work is paused');
    expect(paused.stderr).toContain('In force: pause work ok.');
    const waiting = await start(url, 'ok');
    expect(waiting).toMatchObject({ status: 'Pending', position: 1, starts_at: null, ends_at: null });
    const other = await start(url, 'later');
    await expect
      .poll(
        async () => (await (await fetch(`${url}/api/work/task/result/${other.task_id}`)).json()) as Snapshot,
      )
      .toMatchObject({ status: 'Completed' });
    expect((await cli(made.root, ['resume', 'work', 'ok'])).stderr).not.toContain('In force');
    const result = `${url}/api/work/task/result/${waiting.task_id}`;
    await expect
      .poll(async () => (await (await fetch(result)).json()) as Snapshot)
      .toMatchObject({ status: 'Completed', result: 'fine' });
  });

  test('refuse the starts of a state that is drained, also after a restart', async () => {
    const made = project();
    const before = await serve(made);
    expect((await cli(made.root, ['drain', 'work'])).code).toBe(0);
    before.child.kill('SIGTERM');
    await before.ended;
    const { url } = await serve(made);
    const refused = await post(`${url}/api/work/task/start/ok`);
    expect(refused.status).toBe(503);
    expect(refused.headers.get('retry-after')).toBe('60');
    expect((await problem(refused, 'draining')).detail).toContain('is being drained');
    await cli(made.root, ['resume', 'work']);
    expect(await start(url, 'ok')).toMatchObject({ status: 'Starting' });
  });

  test('say what they need', async () => {
    const { code, stderr } = await cli(project().root, ['pause']);
    expect(code).toBe(2);
    expect(stderr).toContain("missing required argument 'state'");
  });
});
