import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { EngineUnavailableError } from '../../src/engine.ts';
import { defineTask } from '../../src/task.ts';
import { makeToken } from '../../src/token.ts';
import { embed } from '../support/embedded.ts';
import { exchange, expectCommonHeaders, post, problem, request } from './asking.ts';

const tasks = {
  ok: defineTask({}, () => 'fine'),
  echo: defineTask({ input: z.unknown() }, (_task, value) => value),
};

const lab = () => embed(tasks);

describe('An address where there is nothing', () => {
  test.for([
    '/',
    '/api',
    '/api/lab',
    '/api/lab/task/start/ok/',
    '/API/tasks',
    '/api/lab/task/begin/ok',
    '/favicon.ico',
  ])('is a 404: %s', async (path) => {
    const { url } = await lab();
    for (const method of ['GET', 'POST', 'DELETE', 'OPTIONS']) {
      const { detail } = await problem(await fetch(url + path, { method }), 'not-found');
      expect(detail).toContain('/api/tasks');
    }
  });

  test('is told without the client token that stands in it, wherever it is cut and however it is encoded', async () => {
    const { url } = await lab();
    const { secret } = makeToken({}, 0);
    const encoded = secret.replace('s', '%73').replace('t', '%74');
    for (const state of ['lab', 'a_state_of_some_length', 'a_state_of_more_than_some_length']) {
      for (const token of [secret, encoded]) {
        const { detail } = await problem(
          await fetch(`${url}/api/${state}/tasks/${token}/foo/bar`),
          'not-found',
        );
        expect(detail).toContain(`/api/${state}/tasks/[redacted]`);
        expect(detail).not.toContain(secret.slice(3, 9));
      }
    }
  });

  test('is a 404 whatever is sent there', async () => {
    const { url } = await lab();
    await problem(await post(`${url}/nowhere`, '{"broken'), 'not-found');
    await problem(await post(`${url}/nowhere`, 'x', { 'content-type': 'text/plain' }), 'not-found');
  });
});

describe('A wrong method', () => {
  const post = ['POST, OPTIONS', ['GET', 'PUT', 'PATCH', 'DELETE', 'PROPFIND', 'QUERY']] as const;
  const get = ['GET, HEAD, OPTIONS', ['POST', 'PUT', 'PATCH', 'DELETE', 'PROPFIND']] as const;

  test.for([
    ['/api/lab/task/start/ok', ...post],
    ['/api/lab/task/cancel/x', ...post],
    ['/api/lab/tasks/t/start/ok', ...post],
    ['/api/lab/tasks/t/cancel/x', ...post],
    ['/api/lab/task/start/ok/bulk', ...post],
    ['/api/lab/task/retry/x', ...post],
    ['/api/lab/tasks/t/start/ok/bulk', ...post],
    ['/api/lab/tasks/t/retry/x', ...post],
    ['/api/lab/task/result/x', ...get],
    ['/api/lab/tasks/t/result/x', ...get],
    ['/api/lab/tasks/t/x', ...get],
    ['/api/lab/tasks/t', ...get],
    ['/api/lab/task/events/x', ...get],
    ['/api/lab/task/logs/x', ...get],
    ['/api/lab/task/schedules', ...get],
    ['/api/lab/tasks/t/events', ...get],
    ['/api/lab/tasks/t/events/x', ...get],
    ['/api/lab/tasks/t/logs/x', ...get],
    ['/api/tasks', ...get],
    ['/healthz', ...get],
    ['/readyz', ...get],
  ] as const)('at %s is a 405 that says what would be right: %s', async ([path, allow, methods]) => {
    const { url } = await lab();
    for (const method of methods) {
      const response = await exchange(url, request(`${method} ${path}`));
      expect(response.headers.get('allow')).toBe(allow);
      await problem(response, 'method-not-allowed');
    }
    const options = await exchange(url, request(`OPTIONS ${path}`));
    expect(options.status).toBe(204);
    expect(options.headers.get('allow')).toBe(allow);
    expectCommonHeaders(options.headers);
    expect(await options.text()).toBe('');
  });

  test('is told to HEAD without a body, and a HEAD of what can be read has the headers of its GET', async () => {
    const { url } = await lab();
    const wrong = await fetch(`${url}/api/lab/task/start/ok`, { method: 'HEAD' });
    expect(wrong.status).toBe(405);
    expect(await wrong.text()).toBe('');
    const [head, get] = [
      await fetch(`${url}/api/tasks`, { method: 'HEAD' }),
      await fetch(`${url}/api/tasks`),
    ];
    expect(head.status).toBe(200);
    expect(await head.text()).toBe('');
    expect(head.headers.get('content-length')).toBe(get.headers.get('content-length'));
    expect(head.headers.get('content-type')).toBe(get.headers.get('content-type'));
  });
});

describe('What is hardly HTTP', () => {
  test.for<[string, Parameters<typeof problem>[1], string]>([
    ['a percent sign that encodes nothing', 'bad-request', request('GET /api/%zz')],
    ['a percent-encoding that is not UTF-8', 'bad-request', request('GET /api/lab/task/result/%ff')],
    ['a request line that is none', 'bad-request', 'NONSENSE\r\n\r\n'],
    ['a TLS handshake', 'bad-request', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n'],
    [
      'a header without a colon',
      'bad-request',
      'GET /api/tasks HTTP/1.1\r\nHost: localhost\r\nbroken\r\n\r\n',
    ],
    [
      'two lengths',
      'bad-request',
      request('POST /api/lab/task/start/echo', { 'Content-Length': '1\r\nContent-Length: 2' }, 'xx'),
    ],
    ['no Host', 'bad-request', 'GET /api/tasks HTTP/1.1\r\nConnection: close\r\n\r\n'],
    [
      'headers of more than 16 KiB',
      'headers-too-large',
      request('GET /api/tasks', { Big: 'x'.repeat(17_000) }),
    ],
    [
      'an address of more than 16 KiB',
      'headers-too-large',
      request(`GET /api/lab/task/result/${'x'.repeat(17_000)}`),
    ],
    ['a tunnel', 'method-not-allowed', 'CONNECT example.com:443 HTTP/1.1\r\nHost: localhost\r\n\r\n'],
    ['the asterisk', 'not-found', request('OPTIONS *')],
  ])('is answered with a problem document: %s', async ([_what, code, text]) => {
    const { url } = await lab();
    await problem(await exchange(url, text), code);
  });

  test('does not keep a server from answering: an expectation that it does not know', async () => {
    const { url } = await lab();
    expect((await exchange(url, request('GET /api/tasks', { Expect: 'the-unexpected' }))).status).toBe(200);
  });

  test('is a request that stops arriving: it gets a 408', async () => {
    const timeouts = { headersMs: 200, requestMs: 200, keepAliveMs: 5000, checkMs: 50 };
    const { url } = await embed(tasks, { timeouts });
    await problem(await exchange(url, 'GET /api/tasks HTTP/1.1\r\nHost: loc'), 'request-timeout');
    const head = request('POST /api/lab/task/start/echo', {
      'Content-Length': '9',
      'Content-Type': 'application/json',
    });
    await problem(await exchange(url, `${head}{"a`), 'request-timeout');
  });

  test('is a body shorter than it says, whose sender hangs up: the server goes on', async () => {
    const { url } = await lab();
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname);
    await once(socket, 'connect');
    socket.end(
      request(
        'POST /api/lab/task/start/echo',
        { 'Content-Length': '9', 'Content-Type': 'application/json' },
        '{"a',
      ),
    );
    socket.resume();
    await once(socket, 'close');
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
  });

  test('is a WebSocket handshake that is wrong', async () => {
    const server = await lab();
    const { task_id } = await server.start('ok');
    const path = `GET /ws/lab/task/ws/${task_id}`;
    const good = {
      Connection: 'Upgrade',
      Upgrade: 'websocket',
      'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
      'Sec-WebSocket-Version': '13',
    };
    await problem(
      await exchange(server.url, request(path, { ...good, 'Sec-WebSocket-Key': 'short' })),
      'bad-request',
    );
    const old = await exchange(server.url, request(path, { ...good, 'Sec-WebSocket-Version': '7' }));
    expect(old.headers.get('sec-websocket-version')).toBe('13');
    await problem(old, 'bad-request');
    // Newer versions of Node ask first, and then it is a plain GET.
    const other = await exchange(server.url, request(path, { ...good, Upgrade: 'h2c' }));
    await problem(other, other.status === 426 ? 'upgrade-required' : 'bad-request');
  });

  test('is an upgrade where there is no WebSocket: it is refused, and the connection ends', async () => {
    const { url } = await lab();
    const upgrade = {
      Connection: 'Upgrade',
      Upgrade: 'websocket',
      'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
      'Sec-WebSocket-Version': '13',
    };
    for (const path of ['/api/tasks', '/healthz', '/docs/json', '/nowhere', '/api/lab/tasks/x']) {
      const response = await exchange(url, request(`GET ${path}`, upgrade));
      expect(response.headers.get('connection')).toBe('close');
      await problem(response, 'not-found');
    }
    await problem(await exchange(url, request('POST /api/lab/task/start/ok', upgrade)), 'not-found');
    await problem(await exchange(url, request('GET /%zz', upgrade)), 'bad-request');
  });
});

describe('A store that takes nothing just now', () => {
  test('is a 503 that says why and when to try again', async () => {
    const { url } = await lab();
    const { SqliteEngine } = await import('../../src/engines/sqlite/engine.ts');
    const accept = SqliteEngine.prototype.accept;
    SqliteEngine.prototype.accept = async () => {
      throw new EngineUnavailableError('The disk is full', 2500);
    };
    try {
      const response = await post(`${url}/api/lab/task/start/ok`);
      expect(response.headers.get('retry-after')).toBe('3');
      expect((await problem(response, 'engine-unavailable')).detail).toBe('The disk is full');
    } finally {
      SqliteEngine.prototype.accept = accept;
    }
  });
});

describe('A failure that nobody foresaw', () => {
  test('is a 500 that tells the log, and not the caller, what happened', async () => {
    const said: string[] = [];
    const log = Object.assign(
      (level: string, message: string, fields?: object) =>
        void said.push(`${level} ${message} ${JSON.stringify(fields)}`),
      {
        enabled: () => false,
      },
    );
    const { url } = await embed(tasks, { log });
    const { SqliteEngine } = await import('../../src/engines/sqlite/engine.ts');
    const accept = SqliteEngine.prototype.accept;
    SqliteEngine.prototype.accept = () => Promise.reject(new Error('inner secret'));
    try {
      const { detail } = await problem(await post(`${url}/api/lab/task/start/ok`), 'internal-error');
      expect(detail).not.toContain('inner secret');
      expect(said.join()).toMatch(/error A request failed .*\/api\/lab\/task\/start\/ok/);
    } finally {
      SqliteEngine.prototype.accept = accept;
    }
  });
});
