import { execFile, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Snapshot } from '../src/run.ts';
import { Watcher } from './support/watcher.ts';

const run = promisify(execFile);
const checkout = fileURLToPath(new URL('..', import.meta.url));

/** What `npm install <the packed package>` gives in an empty project, with no install script run. */
describe('the packed package, in an empty project', () => {
  let project = '';

  beforeAll(async () => {
    project = mkdtempSync(join(tmpdir(), 'spyglass-package-'));
    // The build is there: building it again here would pull it away from under other tests.
    await run('npm', ['pack', '--ignore-scripts', '--pack-destination', project], { cwd: checkout });
    const [tarball] = readdirSync(project);
    await run('npm', ['init', '-y'], { cwd: project });
    await run('npm', ['install', '--ignore-scripts', '--prefer-offline', `./${tarball}`, 'zod@4'], {
      cwd: project,
    });
    mkdirSync(join(project, 'tasks'));
    writeFileSync(
      join(project, 'tasks', 'greeting.ts'),
      `import { MonitorState, monitoredBackgroundTask, type TaskContext } from 'spyglass-tasks';
import { z } from 'zod';

const Person = z.object({ name: z.string() });

export class GreetingState extends MonitorState {
  @monitoredBackgroundTask({ description: 'Greets somebody.', input: Person })
  static async greet(task: TaskContext, person: z.output<typeof Person>) {
    await task.update({ progress: 50 });
    return \`Hello \${person.name}\`;
  }
}
`,
    );
  }, 240_000);

  afterAll(() => rmSync(project, { recursive: true, force: true }));

  test('serves a task file in TypeScript with npx, and nothing else', async () => {
    const server = spawn('npx', ['spyglass-tasks', 'serve', './tasks', '--port', '0'], {
      cwd: project,
      // A group of its own: npx stands between, and is not to be left alone.
      detached: true,
    });
    try {
      const url = await new Promise<string>((resolve, reject) => {
        let text = '';
        const read = (chunk: Buffer) => {
          text += chunk;
          const [, address] = /address\s+(http:\/\/\S+)/.exec(text) ?? [];
          if (address) resolve(address);
        };
        server.stdout.on('data', read);
        server.stderr.on('data', read);
        server.on('exit', () => reject(new Error(`It did not serve:\n${text}`)));
      });
      const started = await fetch(`${url}/api/greeting/task/start/greet`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: '{"name":"Ada"}',
      });
      expect(started.status).toBe(200);
      const { task_id: id } = (await started.json()) as Snapshot;
      const watcher = new Watcher(`${url.replace('http', 'ws')}/ws/greeting/task/ws/${id}`);
      expect((await watcher.close()).code).toBe(1000);
      expect(watcher.messages.at(-1)).toMatchObject({ status: 'Completed', result: 'Hello Ada' });
      const refused = await fetch(`${url}/api/greeting/task/start/greet`, { method: 'POST' });
      expect(refused.status).toBe(400);
    } finally {
      process.kill(-(server.pid as number), 'SIGTERM');
      await new Promise((resolve) => server.on('close', resolve));
    }
    expect(readdirSync(join(project, '.spyglass'))).toContain('spyglass.db');
  }, 60_000);

  test('type-checks that task file as it stands', async () => {
    const tsc = join(checkout, 'node_modules/typescript/bin/tsc');
    const flags = ['--noEmit', '--strict', '--target', 'es2022', '--module', 'nodenext', '--skipLibCheck'];
    const checked = await run(process.execPath, [tsc, ...flags, 'tasks/greeting.ts'], { cwd: project });
    expect(checked.stdout).toBe('');
  }, 60_000);

  test('holds what a user needs, and neither sources nor tests', () => {
    const installed = join(project, 'node_modules', 'spyglass-tasks');
    const files = readdirSync(installed);
    expect(files).toEqual(
      expect.arrayContaining([
        'CHANGELOG.md',
        'LICENSE',
        'README.md',
        'dist',
        'docs',
        'package.json',
        'tasks',
      ]),
    );
    expect(files).not.toContain('src');
    expect(files).not.toContain('test');
    const manifest = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'));
    expect(Object.keys(manifest.scripts)).not.toContain('install');
    expect(Object.keys(manifest.scripts)).not.toContain('postinstall');
  });
});
