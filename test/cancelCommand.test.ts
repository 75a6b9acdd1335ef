import { existsSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Home, type LogLine, type ServerProcess } from './support/serverProcess.ts';

async function makeToken(home: Home, label: string): Promise<{ secret: string; id: string }> {
  const { stdout, stderr } = await home.command('token', 'create', '--label', label);
  return { secret: stdout.trim(), id: /Client token (\w+)/.exec(stderr)?.[1] ?? '' };
}

function cancelLine(server: ServerProcess, test: (line: LogLine) => boolean): Promise<LogLine> {
  return server.line((line) => line.message === 'An admin has cancelled all that match' && test(line));
}

describe('spyglass-tasks cancel', () => {
  test('ends what waits and stops what is at work, beside a running server', async () => {
    const home = new Home();
    const server = await home.serve();
    const running = await server.api.started('endless');
    await home.command('pause', 'lab', 'quick');
    const waiting = [await server.api.started('quick'), await server.api.started('quick')];
    const other = await server.api.started('brittle');

    const pending = await home.command('cancel', '--state', 'lab', '--task', 'quick', '--active', 'pending');
    expect(pending).toMatchObject({ code: 0, stdout: '2 runs cancelled: 2 that waited.\n', stderr: '' });
    for (const { task_id } of waiting)
      expect(await server.api.end(task_id)).toMatchObject({ status: 'Cancelled' });
    expect(await cancelLine(server, ({ task }) => task === 'quick')).toMatchObject({
      level: 'info',
      state: 'lab',
      active: 'pending',
      ended: 2,
      asked: 0,
    });

    const atWork = await home.command('cancel', '--state', 'lab', '--task', 'endless');
    expect(atWork).toMatchObject({ code: 0, stdout: '1 run cancelled: 1 at work, asked to stop.\n' });
    expect(await server.api.end(running.task_id)).toMatchObject({ status: 'Cancelled', attempt: 1 });

    expect((await home.command('cancel', '--all')).stdout).toBe(
      '1 run cancelled: 1 at work, asked to stop.\n',
    );
    expect(await server.api.end(other.task_id)).toMatchObject({ status: 'Cancelled' });
    const none = await home.command('cancel', '--all');
    expect(none).toMatchObject({ code: 0, stdout: '0 runs cancelled: none matches.\n' });
  });

  test('knows a client by id, label or token, and those who have none', async () => {
    const home = new Home();
    const [ann, bob, cy] = [
      await makeToken(home, 'Ann'),
      await makeToken(home, 'Bob'),
      await makeToken(home, 'Cy'),
    ];
    const twins = [await makeToken(home, 'Twin'), await makeToken(home, 'Twin')];
    const server = await home.serve();
    for (const token of [ann.secret, bob.secret, cy.secret, undefined]) {
      expect((await server.api.start('endless', { token })).status).toBe(200);
    }
    const twice = await home.command('cancel', '--client', 'Twin');
    expect(twice.code).toBe(2);
    for (const { id } of twins) expect(twice.stderr).toContain(id);
    // Whose token was revoked can see its runs no more, and an admin still wants them to end.
    await home.command('token', 'revoke', cy.id);
    const whose = ['--client', 'Ann', '--client', bob.id, '--client', cy.secret];
    for (let place = 0; place < whose.length; place += 2) {
      const { stdout } = await home.command('cancel', ...whose.slice(place, place + 2));
      expect(stdout).toBe('1 run cancelled: 1 at work, asked to stop.\n');
    }
    expect((await home.command('cancel', '--direct')).stdout).toContain('1 run cancelled');
    await cancelLine(server, ({ client }) => client === null);
    expect((await home.command('cancel', '--all')).stdout).toContain('0 runs cancelled');
  });

  test('is kept where no server runs, and carried out by the next before it runs anything', async () => {
    const home = new Home();
    const before = await home.serve();
    const atWork = [await before.api.started('endless'), await before.api.started('brittle')];
    await home.command('pause', 'lab', 'quick');
    const { task_id: waiting } = await before.api.started('quick');
    await before.kill();
    for (const words of [
      // What was at work when the process died, for the last time too, is neither run again nor left to its error.
      ['--state', 'lab', '--active', 'running'],
      ['--state', 'lab', '--task', 'quick'],
    ]) {
      const { code, stdout, stderr } = await home.command('cancel', ...words);
      expect({ code, stdout }).toEqual({ code: 0, stdout: '' });
      expect(stderr).toContain(`No server runs on ${home.data}.`);
      expect(stderr).toContain('before it runs anything');
    }
    const after = await home.serve();
    for (const { task_id: id } of atWork) {
      expect(await after.api.end(id)).toMatchObject({ status: 'Cancelled', attempt: 1 });
    }
    expect(await after.api.end(waiting)).toMatchObject({ status: 'Cancelled', attempt: 0 });
    expect(await cancelLine(after, ({ active }) => active === 'running')).toMatchObject({
      ended: 0,
      asked: 2,
    });
    expect(await cancelLine(after, ({ task }) => task === 'quick')).toMatchObject({ ended: 1, asked: 0 });
  });

  test('refuses what is not said clearly, or not there, and says what to do', async () => {
    const home = new Home();
    const nowhere = await home.command('cancel', '--all');
    expect(nowhere.code).toBe(2);
    expect(nowhere.stderr).toContain(`there is no database in ${home.data}`);
    expect(existsSync(home.data)).toBe(false);
    const server = await home.serve();
    const { task_id: id } = await server.api.started('endless');
    const secret = `st_${'x'.repeat(32)}`;
    for (const [words, sentence] of [
      [[], 'say which runs, with --state, --task, --client or --direct; or --all'],
      [['--active', 'running'], 'say which runs'],
      [['--state', ''], 'say which runs'],
      [['--task', 'quick'], '--task: say with --state which state has the task "quick".'],
      [['--state', 'lap'], 'There is no state "lap". The states are lab.'],
      [['--state', 'lab', '--task', 'quik'], 'Its tasks are quick, '],
      [['--client', 'nobody'], 'no client token has the id or label "nobody"'],
      [['--state', 'lab', '--client', ''], 'no client token has the id or label ""'],
      [['--client', secret], 'this token is not known here'],
      [['--client', 'a', '--direct'], 'cannot be used with'],
      [['--all', '--state', 'lab'], 'cannot be used with'],
      [['--state', 'lab', '--active', 'done'], 'Allowed choices are pending, running'],
    ] as [string[], string][]) {
      const { code, stdout, stderr } = await home.command('cancel', ...words);
      expect({ words, code, stdout }).toEqual({ words, code: 2, stdout: '' });
      expect(stderr).toContain(sentence);
      expect(stderr).not.toContain(secret);
    }
    expect(await server.api.result(id)).toMatchObject({ status: 'Processing' });
  }, 30_000);
});
