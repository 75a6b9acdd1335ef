import { describe, expect, test } from 'vitest';
import { createLog, type LogOptions, redactTokens, redactUrl } from '../src/logging.ts';
import { makeToken } from '../src/token.ts';

const { secret } = makeToken({}, 0);

function lines(options: Partial<LogOptions>, act: (log: ReturnType<typeof createLog>) => void): string[] {
  const written: string[] = [];
  const now = () => Date.UTC(2026, 10, 23, 12, 15, 30, 123);
  act(createLog({ level: 'info', format: 'pretty', now, write: (line) => written.push(line), ...options }));
  return written;
}

describe('The log', () => {
  test('writes a line for people', () => {
    expect(lines({}, (log) => log('info', 'Ready', { port: 8000, why: 'two words', none: null }))).toEqual([
      '12:15:30.123 INFO  Ready port=8000 why="two words"\n',
    ]);
  });

  test('writes an object a line for machines', () => {
    const [line = ''] = lines({ format: 'json' }, (log) =>
      log('warn', 'Odd', { error: new TypeError('no') }),
    );
    const { error, ...rest } = JSON.parse(line);
    expect(rest).toEqual({ time: '2026-11-23T12:15:30.123Z', level: 'warn', message: 'Odd' });
    expect(error).toMatchObject({
      name: 'TypeError',
      message: 'no',
      stack: expect.stringContaining('logging.test'),
    });
  });

  test('shows an error with its stack below the line', () => {
    const [line = ''] = lines({}, (log) => log('error', 'Failed', { error: new Error('no') }));
    expect(line).toMatch(/ERROR Failed\n {4}Error: no\n {8}at /);
  });

  test('leaves out what is less important than its level', () => {
    const all = (log: ReturnType<typeof createLog>) => {
      for (const level of ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const) log(level, level);
    };
    expect(lines({ level: 'warn' }, all)).toHaveLength(3);
    expect(lines({ level: 'trace' }, all)).toHaveLength(6);
    expect(lines({ level: 'silent' }, all)).toHaveLength(0);
  });

  test('cannot be made to show a line that was not written', () => {
    const [line = ''] = lines({}, (log) => log('info', 'a\n12:15:30.123 INFO  b', { said: 'c\nd' }));
    expect(line.trimEnd()).not.toContain('\n');
  });

  test('keeps what a task throws from speaking to the terminal', () => {
    const error = new Error('a\x1b[2J\r\x07\x9b31m\nb');
    const [line = ''] = lines({}, (log) => log('error', 'Failed', { error, said: 'c\x1b[2J\x9b31m' }));
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    expect(line).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f]/);
    expect(line).toMatch(/\n {4}Error: a \[2J {3}31m\n {4}b\n {8}at /);
  });

  test('survives an error that cannot be shown', () => {
    const trap = () => {
      throw Object.create(null);
    };
    const stack = Object.defineProperty(new Error('no'), 'stack', { get: trap });
    const message = Object.defineProperty(new Error('no'), 'message', { get: trap });
    const json = { toJSON: trap };
    for (const format of ['pretty', 'json'] as const) {
      for (const error of [stack, message, new Proxy({}, { getPrototypeOf: trap }), json]) {
        const [line] = lines({ format }, (log) => log('error', 'Still said', { error, id: 'x1' }));
        expect(line).toMatch(/Still said/);
      }
      expect(lines({ format }, (log) => log('error', 'Odd', { error: stack, id: 'x1' }))[0]).toMatch(
        /x1.*cannot be shown|cannot be shown.*x1/s,
      );
    }
  });

  test('survives fields that are not JSON', () => {
    const cycle: Record<string, unknown> = {};
    cycle.itself = cycle;
    for (const format of ['pretty', 'json'] as const) {
      expect(lines({ format }, (log) => log('info', 'Still said', { cycle, big: 1n }))[0]).toContain(
        'Still said',
      );
    }
  });

  test('never shows a client token, wherever it stands', () => {
    for (const format of ['pretty', 'json'] as const) {
      const [line = ''] = lines({ format }, (log) =>
        log('error', `a ${secret}`, {
          url: `/x/${secret}`,
          error: new Error(secret),
          deep: { list: [secret] },
        }),
      );
      expect(line).not.toContain(secret);
      expect(line).toContain('st_[redacted]');
    }
  });

  test('shows words that only look a little like a token', () => {
    expect(redactTokens('test_suite request_timeout latest_run')).toBe(
      'test_suite request_timeout latest_run',
    );
  });
});

describe('A URL in the log', () => {
  const hidden = [...secret].map((char) => `%${char.charCodeAt(0).toString(16)}`).join('');
  const twice = hidden.replaceAll('%', '%25');

  test.for([
    `/api/s/tasks/${secret}`,
    `/api/s/tasks/${secret}/start/t?x=1`,
    `/ws/s/tasks/${secret}/id`,
    `/api/s/tasks/${hidden}/id`,
    `/api/s/tasks/${twice}/id`,
    `/api/s/%74asks/${secret}`,
    `/api/s/tasks//${secret}`,
    `/api/s/task/result/${secret}`,
    `/api/s/x?token=${secret}`,
    `/api/s/x?token=${hidden}`,
    `http://localhost/api/s/tasks/${secret}`,
    `/api/s%2Ftasks%2F${secret}`,
    `/%zz/${secret}%zz`,
    `/%zz/${hidden}%zz`,
  ])('does not show the token of %s', (url) => {
    const shown = redactUrl(url);
    let plain = shown;
    for (let round = 0; round < 3; round++)
      plain = plain.replace(/%[0-9a-f]{2}/gi, (code) => decodeURIComponent(code));
    expect(plain).not.toContain(secret.slice(0, 20));
  });

  test('does not show what stands where the token should, since it may be one that was mistyped', () => {
    expect(redactUrl('/api/s/tasks/hunter2/start/t')).toBe('/api/s/tasks/[redacted]/start/t');
  });

  test('shows the rest', () => {
    expect(redactUrl('/api/example_task2/task/start/test_suite?a=b')).toBe(
      '/api/example_task2/task/start/test_suite?a=b',
    );
    expect(redactUrl('/api/tasks?a=1')).toBe('/api/tasks?a=1');
  });
});
