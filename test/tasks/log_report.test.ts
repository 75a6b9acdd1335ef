import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { loadRegistry } from '../../src/registry.ts';
import { parseLine } from '../../tasks/log_report/accessLog.ts';
import { type RecordedContext, recordedContext } from '../fixtures/context.ts';

const checkout = resolve(import.meta.dirname, '../..');
const task = (await loadRegistry(join(checkout, 'tasks'))).task('log_report', 'report');

async function report(body?: unknown, context: RecordedContext = recordedContext()) {
  const parsed = task?.input?.parse(body);
  if (!parsed?.ok) throw new Error(JSON.stringify(parsed?.errors));
  return (await task?.run(context, parsed.value)) as Record<string, unknown>;
}

const line = (path: string, status: number, seconds = '0.100') =>
  `192.0.2.1 - - [23/Nov/2026:06:00:08 +0000] "GET ${path} HTTP/1.1" ${status} 512 "-" "curl/8.14.1" ${seconds}\n`;

describe('log_report, on the sample that comes with it,', () => {
  const sample = join(checkout, 'tasks/log_report/samples/access.log');

  it('counts what there is', async () => {
    const result = await report();
    const text = readFileSync(sample, 'utf8');
    const matches = (pattern: RegExp) => [...text.matchAll(pattern)].length;
    expect(result).toMatchObject({ file: 'access.log', bytes: statSync(sample).size, lines: 4000 });
    expect(result.status).toMatchObject({
      404: matches(/HTTP\/1\.1" 404 /g),
      500: matches(/HTTP\/1\.1" 500 /g),
    });
    expect(result.malformed).toBe(
      text.split('\n').filter((line) => line && !/HTTP\/1\.1" \d{3} .* [\d.]+$/.test(line)).length,
    );
    expect(result.slowest).toHaveLength(10);
    const paths = (result.slowest as { path: string }[]).map(({ path }) => path);
    expect(paths.slice(0, 3)).toEqual(['/reports/sales.csv', '/checkout', '/search']);
  });

  it('tells in bytes how far it is, and never goes back', async () => {
    const context = recordedContext();
    await report({}, context);
    const progress = context.updates.map(({ progress }) => progress as number);
    expect(progress).toEqual([...progress].sort((a, b) => a - b));
    expect(progress.length).toBeGreaterThan(20);
    expect(progress[0]).toBeLessThan(5);
    expect(progress.at(-1)).toBe(100);
    expect(context.updates[0]?.message).toBe('16 kB of 727 kB, 94 lines');
    expect(context.updates.at(-1)?.message).toBe('727 kB of 727 kB, 4,000 lines');
  });

  it('stops midway, with the reason of its signal, when it is aborted', async () => {
    const controller = new AbortController();
    const reason = new Error('The run was cancelled');
    const context = recordedContext({
      signal: controller.signal,
      onUpdate: ({ progress }) => (progress as number) >= 30 && controller.abort(reason),
    });
    await expect(report({}, context)).rejects.toBe(reason);
    expect(context.updates.at(-1)?.progress).toBeLessThan(40);
  });

  it('reads as slowly as it is told to', async () => {
    const context = recordedContext();
    await report({ bytes_per_second: 100_000 }, context);
    const seconds = context.sleeps.reduce((sum, ms) => sum + ms, 0) / 1000;
    expect(seconds).toBeCloseTo(statSync(sample).size / 100_000, 1);
  });

  it('has a sample that can be made again', async () => {
    const script = join(checkout, 'tasks/log_report/make_sample.js');
    const { stdout } = await promisify(execFile)(process.execPath, [script, '4000'], { maxBuffer: 2 ** 22 });
    expect(stdout === readFileSync(sample, 'utf8')).toBe(true);
  });
});

describe('log_report, on a folder of one’s own,', () => {
  let root: string;
  let folder: string;

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'spyglass-logs-'));
    folder = join(root, 'logs');
    mkdirSync(join(folder, 'old'), { recursive: true });
    vi.stubEnv('LOG_REPORT_FOLDER', folder);
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    rmSync(root, { recursive: true, force: true });
  });

  it('counts status codes, malformed lines and the slowest paths', async () => {
    const lines = [
      line('/slow?page=1', 200, '1.000'),
      line('/slow?page=2', 200, '2.000'),
      line('/fast', 304, '0.010'),
      line('/fast', 500, '0.030'),
      'cut off in the mid',
      '\n',
      line('/untimed', 404, '').replace(' \n', '\n'),
      line('/windows', 200).replace('\n', '\r\n'),
    ];
    writeFileSync(join(folder, 'old/a.log'), lines.join(''));
    const context = recordedContext();
    expect(await report({ file: 'old/a.log', top: 2 }, context)).toEqual({
      file: 'old/a.log',
      bytes: Buffer.byteLength(lines.join('')),
      lines: 7,
      malformed: 1,
      requests: 6,
      status: { 200: 3, 304: 1, 404: 1, 500: 1 },
      slowest: [
        { path: '/slow', requests: 2, mean_ms: 1500, max_ms: 2000 },
        { path: '/windows', requests: 1, mean_ms: 100, max_ms: 100 },
      ],
    });
    expect(context.logs).toEqual([
      { text: 'server error', fields: { line: 4, method: 'GET', path: '/fast', status: 500, seconds: 0.03 } },
      { text: 'malformed line', fields: { line: 5, text: 'cut off in the mid' } },
    ]);
  });

  it('logs the first few of each kind and says that it stops there', async () => {
    writeFileSync(join(folder, 'access.log'), 'nonsense\n'.repeat(1000));
    const context = recordedContext();
    expect(await report({}, context)).toMatchObject({
      lines: 1000,
      malformed: 1000,
      requests: 0,
      slowest: [],
    });
    expect(context.logs).toHaveLength(6);
    expect(context.logs.at(-1)?.text).toBe('further lines of this kind are only counted: malformed line');
  });

  it('joins lines, and characters, that lie across two chunks, and takes a last one without its end', async () => {
    const text = line('/grüße', 200).repeat(2_000).trimEnd();
    writeFileSync(join(folder, 'access.log'), text);
    expect(await report()).toMatchObject({
      lines: 2_000,
      malformed: 0,
      slowest: [{ path: '/grüße', requests: 2_000 }],
    });
  });

  it('reports on an empty file', async () => {
    writeFileSync(join(folder, 'access.log'), '');
    expect(await report()).toMatchObject({
      bytes: 0,
      lines: 0,
      malformed: 0,
      requests: 0,
      status: {},
      slowest: [],
    });
  });

  it('does not choke on a file without lines', async () => {
    writeFileSync(join(folder, 'access.log'), Buffer.alloc(3 * 1024 * 1024, 'x'));
    await expect(report()).rejects.toThrow(
      'This is not a log: it has a line of more than 1048576 characters',
    );
  });

  it('says what there is when a file is not there, or is none', async () => {
    writeFileSync(join(folder, 'b.log'), '');
    writeFileSync(join(folder, 'a.log'), '');
    await expect(report({ file: 'c.log' })).rejects.toThrow(
      '"c.log" is not there. The log folder has: a.log, b.log, old',
    );
    await expect(report({ file: 'a.log/x' })).rejects.toThrow('"a.log/x" is not there.');
    await expect(report({ file: 'old' })).rejects.toThrow('"old" is not a file.');
    await expect(report({ file: '.' })).rejects.toThrow('"." is not a file.');
  });

  it('does not leave its folder, neither by a path nor through a link', async () => {
    writeFileSync(join(root, 'secret.log'), line('/secret', 200));
    mkdirSync(join(root, 'logs-of-others'));
    writeFileSync(join(root, 'logs-of-others/secret.log'), line('/secret', 200));
    symlinkSync(join(root, 'secret.log'), join(folder, 'link.log'));
    symlinkSync(root, join(folder, 'up'));
    symlinkSync(join(root, 'nowhere'), join(folder, 'dangling.log'));
    const outside = [
      '../secret.log',
      'old/../../secret.log',
      join(root, 'secret.log'),
      '../logs-of-others/secret.log',
    ];
    for (const file of [...outside, 'link.log', 'up/secret.log', '..', '../gone.log']) {
      await expect(report({ file }), file).rejects.toThrow(
        `${JSON.stringify(file)} leads out of the log folder`,
      );
    }
    await expect(report({ file: 'dangling.log' })).rejects.toThrow('"dangling.log" is not there');
  });

  it('follows a link that stays inside', async () => {
    writeFileSync(join(folder, 'old/a.log'), line('/', 200));
    symlinkSync(join(folder, 'old/a.log'), join(folder, 'latest.log'));
    expect(await report({ file: 'latest.log' })).toMatchObject({ lines: 1, requests: 1 });
  });

  it('says that its folder is not there', async () => {
    vi.stubEnv('LOG_REPORT_FOLDER', join(root, 'gone'));
    await expect(report()).rejects.toThrow('The log folder does not exist: set LOG_REPORT_FOLDER');
  });

  it('refuses input that makes no sense', () => {
    for (const body of [
      { top: 0 },
      { top: 101 },
      { top: 1.5 },
      { file: '' },
      { file: 'a\0b' },
      { bytes_per_second: 10 },
    ]) {
      expect(task?.input?.parse(body).ok, JSON.stringify(body)).toBe(false);
    }
  });
});

describe('a line of an access log', () => {
  it('may be of the common or the combined format, with or without the time', () => {
    const common = '::1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif?a=b HTTP/1.0" 200 2326';
    const combined = `${common} "http://www.example.com/start.html" "Mozilla/4.08 [en] (Win98; \\"I\\" ;Nav)"`;
    const request = { method: 'GET', path: '/apache_pb.gif', status: 200 };
    expect(parseLine(common)).toEqual({ ...request, seconds: null });
    expect(parseLine(combined)).toEqual({ ...request, seconds: null });
    expect(parseLine(`${common} 0.25`)).toEqual({ ...request, seconds: 0.25 });
    expect(parseLine(`${combined} 12`)).toEqual({ ...request, seconds: 12 });
  });

  it('is malformed when it is anything else', () => {
    const odd = [
      '',
      'x',
      '::1 - - [10/Oct/2000] "\\x16\\x03" 400 0',
      '::1 - - [now] "GET / HTTP/1.1" 2000 5',
      `${line('/', 200)}x`,
    ];
    for (const text of odd) expect(parseLine(text)).toBeUndefined();
  });

  it('takes no longer for being made to be slow', () => {
    const before = performance.now();
    for (const part of ['a', '?', 'a?', '\\', '"', ' ', '] "']) {
      parseLine(`::1 - - [now] "GET /${part.repeat(300_000)}`);
      parseLine(part.repeat(300_000));
    }
    expect(performance.now() - before).toBeLessThan(2_000);
  });
});
