import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { describe, expect, test } from 'vitest';
import { completeConfig } from '../src/config.ts';
import type { RequestError } from '../src/errors.ts';
import { Guard } from '../src/guard.ts';

interface Asked {
  method?: string;
  url?: string;
  upgrade?: boolean;
  headers?: IncomingHttpHeaders;
}

/** What the guard says: `ok`, or the code of its refusal. */
function verdict(settings: Parameters<typeof completeConfig>[0], asked: Asked): string {
  const guard = new Guard(completeConfig(settings));
  const headers = { host: 'localhost:8000', ...asked.headers };
  const request = { method: 'POST', url: '/', upgrade: false, ...asked, headers } as Partial<IncomingMessage>;
  try {
    guard.check(request as IncomingMessage);
    guard.check(request as IncomingMessage);
    return 'ok';
  } catch (error) {
    return (error as RequestError).code;
  }
}

const publicly = { host: '0.0.0.0', direct: false };

describe('The Host of a request', () => {
  test.for([
    'localhost',
    'localhost:8000',
    'LocalHost:1',
    'app.localhost:8000',
    '127.0.0.1',
    '127.8.8.8:80',
    '[::1]',
    '[::1]:8000',
  ])('may be %s on loopback', (host) => {
    expect(verdict({}, { headers: { host } })).toBe('ok');
  });

  test.for([
    'evil.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example:8000',
    '192.168.1.5:8000',
    '0.0.0.0',
    '[::2]',
    'localhost.',
  ])('may not be %s on loopback', (host) => {
    expect(verdict({}, { headers: { host } })).toBe('foreign-host');
  });

  test.for(['', 'a b', 'user@localhost', 'localhost:80:80', 'localhost:x', 'http://localhost'])(
    'is not understood as "%s"',
    (host) => {
      expect(verdict({}, { headers: { host } })).toBe('bad-request');
    },
  );

  test('is no name when it is longer than names can be, and is not repeated at length then', () => {
    const name = (length: number) => `${'x'.repeat(length - 8)}.example`;
    expect(verdict({}, { headers: { host: name(253) } })).toBe('foreign-host');
    expect(verdict({ allowHost: [name(253)] }, { headers: { host: `${name(253)}:8000` } })).toBe('ok');
    const request = { method: 'GET', url: '/', headers: { host: name(9000) } } as IncomingMessage;
    expect(() => new Guard(completeConfig({})).check(request)).toThrow(
      /^The Host header "x{60}…" is not a host name\.$/,
    );
  });

  test('must be there', () => {
    expect(verdict({}, { headers: { host: undefined } })).toBe('bad-request');
  });

  test('may be a name that was allowed, on any port', () => {
    expect(verdict({ allowHost: ['tasks.example'] }, { headers: { host: 'Tasks.Example:9000' } })).toBe('ok');
    expect(verdict({ allowHost: ['tasks.example'] }, { headers: { host: 'x.tasks.example' } })).toBe(
      'foreign-host',
    );
  });

  test('may be an address or a known name where the server is reached from elsewhere', () => {
    for (const host of ['192.168.1.5:8000', '[fd00::1]:8000', 'localhost:8000']) {
      expect(verdict(publicly, { headers: { host } }), host).toBe('ok');
    }
    expect(verdict(publicly, { headers: { host: 'rebound.example' } })).toBe('foreign-host');
    expect(verdict({ ...publicly, host: 'me.example' }, { headers: { host: 'me.example:8000' } })).toBe('ok');
  });

  test('is that of an absolute request target, where there is one', () => {
    expect(verdict({}, { url: 'http://evil.example/api/tasks' })).toBe('foreign-host');
    expect(verdict({}, { url: 'http://localhost:8000/api/tasks', headers: { host: 'evil.example' } })).toBe(
      'ok',
    );
  });
});

describe('The Origin of a request', () => {
  test('may be the server itself', () => {
    expect(verdict({}, { headers: { origin: 'http://localhost:8000' } })).toBe('ok');
    expect(verdict({}, { headers: { host: 'localhost', origin: 'http://localhost' } })).toBe('ok');
    expect(verdict({}, { headers: { host: 'localhost:443', origin: 'https://localhost' } })).toBe('ok');
  });

  test.for([
    'http://localhost:3000',
    'http://localhost',
    'http://evil.example',
    'null',
    'http://localhost:8000.evil.example',
    'file://',
    '',
  ])('may not be %s, whatever is asked for', (origin) => {
    for (const method of ['GET', 'POST', 'HEAD', 'OPTIONS']) {
      expect(verdict({}, { method, headers: { origin } }), method).toBe('foreign-origin');
    }
  });

  test('may be one that was allowed, and only that', () => {
    const allowed = { allowOrigin: ['https://app.example'] };
    expect(
      verdict(allowed, { headers: { origin: 'https://app.example', 'sec-fetch-site': 'cross-site' } }),
    ).toBe('ok');
    expect(verdict(allowed, { headers: { origin: 'http://app.example' } })).toBe('foreign-origin');
    expect(verdict(allowed, { headers: { origin: 'https://app.example:444' } })).toBe('foreign-origin');
  });
});

describe('Sec-Fetch-Site', () => {
  test.for(['cross-site', 'same-site'])('%s may read, and neither change anything nor watch', (site) => {
    const headers = { 'sec-fetch-site': site };
    expect(verdict({}, { method: 'GET', headers })).toBe('ok');
    expect(verdict({}, { method: 'POST', headers })).toBe('foreign-origin');
    expect(verdict({}, { method: 'DELETE', headers })).toBe('foreign-origin');
    expect(verdict({}, { method: 'GET', upgrade: true, headers })).toBe('foreign-origin');
  });

  test.for(['same-origin', 'none'])('%s may do everything', (site) => {
    expect(verdict({}, { headers: { 'sec-fetch-site': site } })).toBe('ok');
    expect(verdict({}, { headers: { 'sec-fetch-site': site, origin: 'http://localhost:8000' } })).toBe('ok');
  });
});
