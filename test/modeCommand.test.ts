import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Home, type ServerProcess } from './support/serverProcess.ts';

/** The same state with other tasks. */
const otherFolder = resolve(import.meta.dirname, 'reliability/lives');

function warning(server: ServerProcess, word: string) {
  return server.line(({ level, message }) => level === 'warn' && message.includes(word));
}

describe('spyglass-tasks pause, drain and resume', () => {
  test.for(['pause', 'drain', 'resume'])(
    '%s refuses a data folder without a database, and makes none',
    async (name) => {
      const home = new Home();
      const { code, stdout, stderr } = await home.command(name, 'lab');
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
      expect(stderr).toContain(`--data: there is no database in ${home.data}.`);
      expect(stderr).toContain('or start a server on this one first');
      expect(existsSync(home.data)).toBe(false);
    },
  );

  test('refuse a name that the server does not have, and list those that it has', async () => {
    const home = new Home();
    const server = await home.serve();
    const state = await home.command('pause', 'lap', 'quick');
    expect(state.code).toBe(2);
    expect(state.stderr).toContain('There is no state "lap". The states are lab.');
    expect(state.stderr).toContain(home.data);
    const task = await home.command('drain', 'lab', 'quik');
    expect(task.code).toBe(2);
    expect(task.stderr).toMatch(/The state lab has no task "quik"\. Its tasks are quick, mirror, .*\./);
    expect(task.stderr).toContain('--force');
    const resumed = await home.command('resume', 'lab', 'quik');
    expect(resumed.code).toBe(2);
    expect(resumed.stderr).toContain('nothing is paused or drained');
    expect((await server.api.start('quick')).body).toMatchObject({ status: 'Starting' });
    await server.stop();
    // It is the latest server that counts, also when it runs no more.
    expect((await home.command('pause', 'lap')).code).toBe(2);
    expect((await home.command('pause', 'lab')).code).toBe(0);
  });

  test('take any name with --force, of which the server warns, and which can be resumed', async () => {
    const home = new Home();
    const server = await home.serve();
    expect((await home.command('pause', 'lab', 'tomorrow', '--force')).code).toBe(0);
    const { message, ...fields } = await warning(server, 'tomorrow');
    expect(message).toContain('"pause lab tomorrow" is in force for what this server does not have.');
    expect(message).toContain('The state lab has no task "tomorrow". Its tasks are quick,');
    expect(message).toContain('spyglass-tasks resume lab tomorrow');
    expect(fields).toMatchObject({ mode: 'pause', state: 'lab', task: 'tomorrow' });
    await home.command('drain', 'lab');
    await server.line(({ message }) => message.includes('drain lab, pause lab tomorrow'));
    await server.stop();
    expect(server.log.filter(({ level }) => level === 'warn')).toHaveLength(1);

    const next = await home.serve();
    await warning(next, 'tomorrow');
    const resumed = await home.command('resume', 'lab', 'tomorrow');
    expect(resumed).toMatchObject({ code: 0, stderr: expect.stringContaining('In force: drain lab.') });
  });

  test('take the name of a task that is gone while runs of it wait', async () => {
    const home = new Home();
    const before = await home.serve();
    await home.command('pause', 'lab');
    expect((await before.api.start('endless')).body).toMatchObject({ status: 'Pending' });
    await before.stop();
    await home.serve({ folder: otherFolder });
    expect((await home.command('pause', 'lab', 'quick')).code).toBe(2);
    expect((await home.command('pause', 'lab', 'endless')).code).toBe(0);
  });
});
