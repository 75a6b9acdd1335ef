import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { settingNames, settings } from '../../src/config.ts';
import { openDatabase } from '../../src/engines/sqlite/driver.ts';
import { exitCode } from '../../src/errors.ts';
import { defineTask } from '../../src/task.ts';
import { embed } from '../support/embedded.ts';
import { Shell, stepsOf } from './commands.ts';
import { constant, mebibytes, seconds } from './constants.ts';
import { code, Document } from './document.ts';
import { project } from './served.ts';

const document = new Document('docs/operations.md');
const prose = document.prose.replace(/\s+/g, ' ');
const quick = defineTask({}, () => 'quick');

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'spyglass-docs-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

describe('The settings', () => {
  test('are those of the code, with their environment, default and meaning', () => {
    const documented = document.table('flag', 'environment', 'default', 'meaning');
    const expected = settingNames.map((name) => {
      const { flag, environment, fallback, fallbackShown, meaning } = settings[name];
      const variables = environment.map((variable) => `\`${variable}\``).join(', ');
      return [`\`${flag}\``, variables, fallbackShown ?? `\`${fallback}\``, meaning];
    });
    expect(documented).toEqual(expected);
  });

  test('have the names that an embedded server takes', () => {
    const [, sentence = ''] = /by these names: ([^.]*)\./.exec(prose) ?? [];
    const named = [...sentence.matchAll(/`(\w+)`/g)].map(([, name]) => name);
    expect(named).toEqual(['folder', ...settingNames]);
  });
});

test('The exit codes are those of the code', () => {
  const documented = document.table('code', 'meaning').map(([exit]) => Number(exit));
  expect(documented).toEqual(Object.values(exitCode));
});

describe('The data folder', () => {
  const files = document
    .table('file', 'what it is')
    .map(([names]) => (names as string).split(', ').map(code));

  test('has the files that the document names, while a server uses it', async () => {
    const { data } = await embed({ quick });
    expect(readdirSync(data).sort()).toEqual(files.flat().sort());
  });

  test('has no write-ahead log after an orderly stop, and is for its own user alone', async () => {
    const data = join(folder(), 'data');
    const { server } = await embed({ quick }, { data });
    expect(statSync(data).mode & 0o777).toBe(0o700);
    await server.stop(0);
    expect(readdirSync(data)).not.toContain('spyglass.db-wal');
    expect(readdirSync(data)).toContain('spyglass.db');
  });

  test('of a newer version is refused', async () => {
    const data = folder();
    const database = openDatabase(join(data, 'spyglass.db'));
    database.exec('PRAGMA user_version = 99');
    database.close();
    await expect(embed({ quick }, { data })).rejects.toMatchObject({ exitCode: exitCode.wrongUse });
  });
});

test('A backup that SQLite makes of a running server has its runs and its tokens', async () => {
  const running = await embed({ quick });
  const secret = await running.token();
  const run = await running.start('quick', secret);
  const command = /"(VACUUM INTO '[^']+')"/.exec(document.text)?.[1];
  expect(command).toBeDefined();
  const data = join(folder(), 'restored');
  mkdirSync(data);
  const database = openDatabase(join(running.data, 'spyglass.db'));
  database.exec((command as string).replace(/'.*'/, `'${join(data, 'spyglass.db')}'`));
  database.close();

  const restored = await embed({ quick }, { data });
  const response = await fetch(`${restored.url}/api/lab/tasks/${secret}/result/${run.task_id}`);
  expect(await response.json()).toMatchObject({ task_id: run.task_id });
});

test('The server inside of another program does what the document shows', { timeout: 60_000 }, async () => {
  const { root, environment } = project(document.files);
  const shell = new Shell({ cwd: root, environment, replace: [] });
  for (const step of stepsOf(document)) await shell.check(step);
});

test('The numbers in the text are those of the code', () => {
  const ballast = constant('engines/sqlite/ballast.ts', 'ballastBytes');
  expect(document.text).toContain(`| \`ballast\``);
  expect(prose).toContain(`${mebibytes(ballast)} kept back`);
  // It is filled when the disk has room for it and twice as much again.
  expect(prose).toContain(`${mebibytes(3 * ballast)} of free space to begin with`);
  expect(prose).toContain(`there are ${mebibytes(3 * ballast)} free`);
  expect(prose).toContain(`(\`--grace\`, ${seconds(settings.graceMs.fallback)})`);
  expect(constant('engines/sqlite/leaser.ts', 'abortPatienceMs')).toBe(1000);
  expect(prose).toContain('get one second more');
  expect(prose).toContain(`repeats within ${constant('serve.ts', 'echoMs')} ms`);
  expect(constant('engines/sqlite/verdict.ts', 'mostDeaths')).toBe(3);
  expect(prose).toContain('after the third death');
  expect(prose).toContain(`does not do it for ${seconds(constant('cancelCommand.ts', 'patienceMs'))}`);
  expect(constant('channel.ts', 'bufferLimitBytes')).toBe(256 * 1024);
  expect(prose).toContain('up to 256 kB while it is slow');
});
