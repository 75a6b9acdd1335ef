import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { Agent, request } from 'node:http';
import {
  type AddressInfo,
  connect,
  createServer as createNetServer,
  type Server as NetServer,
} from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { StartError } from '../src/errors.ts';
import { createLog, type Log } from '../src/logging.ts';
import { Registry } from '../src/registry.ts';
import type { Snapshot } from '../src/run.ts';
import { createServer, type Server, type ServerOptions } from '../src/server.ts';
import { type DefinedTask, defineState, defineTask } from '../src/task.ts';
import { exchange, post, problem, request as requestText } from './routes/asking.ts';
import { embed } from './support/embedded.ts';
import { refusedUpgrade, Watcher } from './support/watcher.ts';

const tasks = { ok: defineTask({}, () => 'fine'), hold: defineTask({}, (task) => task.sleep(600_000)) };

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'spyglass-test-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A server on localhost that has not been started. */
function coldServer(options: ServerOptions & { tasks?: Record<string, DefinedTask> } = {}): Server {
  const { tasks: given = tasks, ...rest } = options;
  const registry = new Registry();
  registry.add(defineState('lab', given));
  const server = createServer({ registry, port: 0, data: temporaryFolder(), logLevel: 'silent', ...rest });
  onTestFinished(() => server.stop(0));
  return server;
}

/** A log that is kept. */
function keptLog(): { log: Log; lines: string[] } {
  const lines: string[] = [];
  return { lines, log: createLog({ level: 'trace', format: 'pretty', write: (line) => lines.push(line) }) };
}

async function occupy(host: string, port = 0): Promise<number> {
  const server: NetServer = createNetServer().listen(port, host);
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}

/** How many connections to a port the kernel has been asked for and not made: in the state SYN_SENT. */
function notMadeYet(table: 'tcp' | 'tcp6', port: number): number {
  const remote = port.toString(16).toUpperCase().padStart(4, '0');
  return [...readFileSync(`/proc/net/${table}`, 'utf8').matchAll(new RegExp(`:${remote} 02 `, 'g'))].length;
}

async function failure(act: Promise<unknown>): Promise<StartError> {
  const error = await act.then(
    () => new Error('It did not fail'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(StartError);
  return error as StartError;
}

describe('A server', () => {
  test('does nothing before it is told to listen', async () => {
    const data = join(temporaryFolder(), 'never made');
    createServer({ data, folder: 'no such folder' });
    const { existsSync } = await import('node:fs');
    expect(existsSync(data)).toBe(false);
  });

  test('refuses options that cannot stand', () => {
    expect(() => createServer({ host: '0.0.0.0' })).toThrow(StartError);
  });

  test('is reached on both loopback addresses, by the same port', async () => {
    const { url, addresses } = await coldServer().listen();
    const { port } = new URL(url);
    expect(addresses).toEqual([`127.0.0.1:${port}`, `[::1]:${port}`]);
    for (const host of ['localhost', '127.0.0.1', '[::1]']) {
      expect((await post(`http://${host}:${port}/api/lab/task/start/ok`)).status).toBe(200);
    }
  });

  test('serves WebSockets, limits and refusals alike on the second address', async () => {
    const timeouts = { headersMs: 200, requestMs: 200, checkMs: 50 };
    const { url } = await coldServer({ timeouts }).listen();
    const second = url.replace('localhost', '[::1]');
    const { task_id } = (await (await post(`${second}/api/lab/task/start/hold`)).json()) as Snapshot;
    await new Watcher(`${second.replace('http', 'ws')}/ws/lab/task/ws/${task_id}`).open();
    expect(await refusedUpgrade(`${second.replace('http', 'ws')}/ws/lab/task/ws/nope`)).toMatchObject({
      status: 404,
    });
    const socket = connect(Number(new URL(url).port), '::1');
    await once(socket, 'connect');
    socket.write('GET / HTTP/1.1\r\nHo');
    const [chunk] = await once(socket, 'data');
    expect(String(chunk)).toContain('408 Request Timeout');
    socket.destroy();
  });

  test('has connections wait that come faster than it takes them', async (context) => {
    if (process.platform !== 'linux')
      context.skip('Only Linux shows in /proc which connections are not made yet');
    const { url } = await coldServer().listen();
    const port = Number(new URL(url).port);
    for (const [host, table] of [
      ['127.0.0.1', 'tcp'],
      ['::1', 'tcp6'],
    ] as const) {
      const sockets = Array.from({ length: 1000 }, () => connect(port, host).on('error', () => {}));
      onTestFinished(() => void sockets.map((socket) => socket.destroy()));
      // They are asked for in the next tick, in which nobody takes one.
      await new Promise(process.nextTick);
      expect(notMadeYet(table, port)).toBe(0);
    }
  });

  test('listens on an address that is asked for, and on that alone', async () => {
    const { url, addresses } = await coldServer({ host: '::1' }).listen();
    expect(addresses).toEqual([new URL(url).host]);
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    await expect(fetch(`http://127.0.0.1:${new URL(url).port}/healthz`)).rejects.toThrow();
  });

  test('says so when another program has the second address, and where it can be reached', async () => {
    const port = await occupy('::1');
    const { log, lines } = keptLog();
    const { url, addresses } = await coldServer({ port, log }).listen();
    expect({ url, addresses }).toEqual({ url: `http://127.0.0.1:${port}`, addresses: [`127.0.0.1:${port}`] });
    expect(lines.join('')).toMatch(new RegExp(`WARN .*\\[::1\\]:${port}: another program has it`));
  });

  test('fails with a sentence when the port is taken, and lets go of everything', async () => {
    const port = await occupy('127.0.0.1');
    const data = temporaryFolder();
    const { message, exitCode } = await failure(coldServer({ port, data }).listen());
    expect(message).toContain(`127.0.0.1:${port} is in use`);
    expect(message).toContain('--port');
    expect(exitCode).toBe(1);
    await occupy('::1', port);
    await coldServer({ data }).listen();
  });

  test('fails with a sentence when the address is not of this machine', async () => {
    const { message, exitCode } = await failure(coldServer({ host: '192.0.2.1', direct: false }).listen());
    expect(message).toContain('192.0.2.1');
    expect(exitCode).toBe(1);
  });

  test('lets go of everything when the data folder cannot be opened to the end', async () => {
    const data = temporaryFolder();
    const { SqliteEngine } = await import('../src/engines/sqlite/engine.ts');
    const { open } = SqliteEngine.prototype;
    SqliteEngine.prototype.open = async function () {
      await open.call(this);
      throw new StartError('The disk went away');
    };
    try {
      expect((await failure(coldServer({ data }).listen())).message).toBe('The disk went away');
    } finally {
      SqliteEngine.prototype.open = open;
    }
    await coldServer({ data }).listen();
  });

  test('fails with exit code 3 when the data folder is in use', async () => {
    const data = temporaryFolder();
    await coldServer({ data }).listen();
    expect(await failure(coldServer({ data }).listen())).toMatchObject({ exitCode: 3 });
  });

  test('can be listened to once', async () => {
    const server = coldServer();
    await server.listen();
    await expect(server.listen()).rejects.toThrow('started before');
  });

  test('fails with a sentence when the folder of tasks is not there', async () => {
    const server = createServer({
      folder: join(temporaryFolder(), 'none'),
      data: temporaryFolder(),
      port: 0,
    });
    expect((await failure(server.listen())).message).toContain('none');
  });
});

describe('Stopping', () => {
  test('refuses starts and nothing else until the running attempts have ended', async () => {
    let end = () => {};
    const held = defineTask({}, async (task) => {
      await task.update({ progress: 50 });
      await new Promise<void>((resolve) => {
        end = resolve;
      });
      return 'to its end';
    });
    const server = coldServer({ tasks: { held, ok: tasks.ok } });
    const { url } = await server.listen();
    const { task_id } = (await (await post(`${url}/api/lab/task/start/held`)).json()) as Snapshot;
    const result = `${url}/api/lab/task/result/${task_id}`;
    await expect.poll(async () => ((await (await fetch(result)).json()) as Snapshot).progress).toBe(50);
    const stopped = server.stop(60_000);
    const refused = await post(`${url}/api/lab/task/start/ok`);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    await problem(refused, 'stopping');
    await problem(await post(`${url}/api/lab/task/start/nope`), 'unknown-task');
    expect((await fetch(result)).status).toBe(200);
    const watcher = await new Watcher(`${url.replace('http', 'ws')}/ws/lab/task/ws/${task_id}`).open();
    end();
    expect(await watcher.close()).toEqual({ code: 1000, reason: '' });
    expect(watcher.messages.at(-1)).toMatchObject({ status: 'Completed', result: 'to its end' });
    await stopped;
    await expect(fetch(result)).rejects.toThrow();
  });

  test('hands back what does not end in time, and the next server runs it again', async () => {
    const data = temporaryFolder();
    const attempts: number[] = [];
    const slow = (end: boolean) =>
      defineTask({}, async (task) => {
        attempts.push(task.attempt);
        if (!end) await task.sleep(600_000);
        return 'at last';
      });
    const first = coldServer({ data, tasks: { slow: slow(false) } });
    const { url } = await first.listen();
    const { task_id } = (await (await post(`${url}/api/lab/task/start/slow`)).json()) as Snapshot;
    const watcher = await new Watcher(`${url.replace('http', 'ws')}/ws/lab/task/ws/${task_id}`).open();
    await expect.poll(() => attempts).toHaveLength(1);
    await first.stop(50);
    expect(await watcher.close()).toMatchObject({ code: 1001, reason: expect.stringContaining('?since=') });
    const second = coldServer({ data, tasks: { slow: slow(true) } });
    const next = await second.listen();
    const result = `${next.url}/api/lab/task/result/${task_id}`;
    await expect.poll(async () => ((await (await fetch(result)).json()) as Snapshot).result).toBe('at last');
    expect(attempts).toHaveLength(2);
  });

  test('takes leave of a watcher of all runs soon after telling it how the last one ended', {
    retry: 2,
  }, async () => {
    let end = () => {};
    const held = defineTask(
      {},
      () =>
        new Promise<void>((resolve) => {
          end = resolve;
        }),
    );
    const server = await embed({ held });
    const token = await server.token();
    const watcher = await new Watcher(`${server.ws}/ws/lab/tasks/${token}`).open();
    await server.start('held', token);
    await expect.poll(() => watcher.messages.at(-1)).toMatchObject({ status: 'Processing' });
    const stopped = server.server.stop(60_000);
    end();
    await expect.poll(() => watcher.messages.at(-1), { interval: 5 }).toMatchObject({ status: 'Completed' });
    const told = performance.now();
    const { code } = await watcher.close();
    expect(performance.now() - told).toBeLessThan(200);
    expect(code).toBe(1001);
    await stopped;
  });

  test('is not held up by connections that are idle, half a request, or a watcher who does not answer', async () => {
    const server = coldServer();
    const { url } = await server.listen();
    const { port } = new URL(url);
    const agent = new Agent({ keepAlive: true });
    onTestFinished(() => agent.destroy());
    await new Promise<void>((resolve) => {
      request(`${url}/healthz`, { agent }, (response) => response.resume().on('end', () => resolve())).end();
    });
    const half = connect(Number(port), '127.0.0.1').on('error', () => {});
    half.write('POST /api/lab/task/start/ok HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n');
    const { task_id } = (await (await post(`${url}/api/lab/task/start/hold`)).json()) as Snapshot;
    const mute = connect(Number(port), '::1').on('error', () => {});
    mute.write(
      requestText(`GET /ws/lab/task/ws/${task_id}`, {
        Connection: 'Upgrade',
        Upgrade: 'websocket',
        'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
        'Sec-WebSocket-Version': '13',
      }),
    );
    await once(mute, 'data');
    const begun = performance.now();
    await server.stop(0);
    expect(performance.now() - begun).toBeLessThan(8000);
    half.destroy();
    mute.destroy();
  });

  test('twice is stopping once, and before listening is nothing', async () => {
    const server = coldServer();
    await server.listen();
    expect(server.stop(0)).toBe(server.stop(0));
    await server.stop();
    await coldServer().stop();
  });
});

describe('At log level trace', () => {
  test('no line shows a client token, whatever is asked for with it', async () => {
    const { log, lines } = keptLog();
    const tell = defineTask({}, (task) => {
      throw new Error(`failed for ${task.client}`);
    });
    const server = await embed({ ...tasks, tell }, { log });
    const token = await server.token({ label: 'Ann' });
    const encoded = [...token].map((char) => `%${char.charCodeAt(0).toString(16)}`).join('');
    const { task_id } = await server.start('hold', token);
    await server.start('tell', token);
    for (const secret of [token, encoded, `${token}x`, token.slice(0, -1), `${token}%zz`, `%zz${encoded}`]) {
      const base = `/api/lab/tasks/${secret}`;
      for (const line of [
        `GET ${base}`,
        `GET ${base}?limit=x`,
        `GET ${base}/${task_id}`,
        `GET ${base}/result/nope`,
        `POST ${base}/start/nope`,
        `POST ${base}/cancel/nope`,
        `DELETE ${base}`,
        `GET /api/lab/task/result/${secret}`,
        `GET /nowhere/${secret}`,
        `GET /api/tasks?token=${secret}`,
      ]) {
        const response = await exchange(server.url, requestText(line));
        const text = await response.text();
        if (response.status >= 400) expect(text).not.toContain(token);
      }
      if (secret !== token && secret !== encoded) await refusedUpgrade(`${server.ws}/ws/lab/tasks/${secret}`);
    }
    await new Watcher(`${server.ws}/ws/lab/tasks/${token}`).open();
    await refusedUpgrade(`${server.ws}/ws/lab/tasks/${token}/nope`);
    await server.server.stop(0);
    expect(lines.length).toBeGreaterThan(40);
    const everything = lines.join('');
    expect(everything).toContain('/api/lab/tasks/[redacted]');
    // Not even most of it, and not encoded.
    expect(everything).not.toContain(token.slice(3, 27));
    expect(everything).not.toContain(encoded.slice(9, 60));
  });
});
