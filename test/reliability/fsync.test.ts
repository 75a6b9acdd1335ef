import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { requireCommand } from '../support/requires.ts';
import { Home } from '../support/serverProcess.ts';
import { readSystemCalls, type SystemCall } from '../support/systemCalls.ts';
import { Watcher } from '../support/watcher.ts';

const starts = 60;
const lanes = 6;

const socketWrites = ['write', 'writev', 'sendto', 'sendmsg'];

/** Where the data was on disk that `text` first went into the log with: done, that is, and by the very next sync of that file. */
function syncedAt(calls: readonly SystemCall[], text: string): number {
  const stored = calls.find((call) => call.name.startsWith('pwrite') && call.text.includes(text));
  expect(stored, `${text} was never written to a file`).toBeDefined();
  const { descriptor, to } = stored as SystemCall;
  const sync = calls.find(
    ({ name, from, ...call }) =>
      (name === 'fsync' || name === 'fdatasync') && call.descriptor === descriptor && from > to,
  );
  expect(sync?.result, `the file that ${text} was written to was never synced`).toBe('0');
  return (sync as SystemCall).to;
}

/** Where the first byte that tells of it was handed to the kernel. */
function toldAt(calls: readonly SystemCall[], text: string, kind: string): number {
  const told = calls.find(
    (call) => socketWrites.includes(call.name) && call.text.includes(text) && call.text.includes(kind),
  );
  expect(told, `${text} was never told`).toBeDefined();
  return (told as SystemCall).from;
}

test('a start is answered, and an end told, after the sync of the commit that holds it', async (context) => {
  requireCommand(context, 'strace', ['-f', '-e', 'trace=fsync', 'true']);
  const home = new Home();
  const token = await home.token();
  const trace = join(home.root, 'trace');
  const traced = 'trace=fsync,fdatasync,pwrite64,pwritev,pwritev2,write,writev,sendto,sendmsg';
  // -D: the server, and not strace, is the process that is started. -s: as much of each call as a page of the database.
  const through = ['strace', '-D', '-f', '-s', '4200', '-o', trace, '-e', traced];
  const server = await home.serve({ through });

  const answered: { id: string; result: string }[] = [];
  const lane = async () => {
    while (answered.length < starts) {
      const text = `input${Math.random().toString(36).slice(2)}`;
      const { task_id: id } = await server.api.started('mirror', {
        token: answered.length % 2 === 0 ? token : undefined,
        input: { text },
      });
      answered.push({ id, result: [...text].reverse().join('') });
    }
  };
  const watcher = await new Watcher(`${server.ws}/ws/lab/tasks/${token}`).open();
  await Promise.all(Array.from({ length: lanes }, lane));
  await watcher.until(
    () => watcher.messages.filter(({ status }) => status === 'Completed').length >= starts / 2,
  );
  const ended = new Set(
    watcher.messages.filter(({ status }) => status === 'Completed').map(({ task_id }) => task_id),
  );
  expect((await server.stop()).code).toBe(0);

  // strace writes on for a moment after the server has ended. It pads a process id to five places.
  const isOver = new RegExp(`^${server.pid} +\\+\\+\\+ `, 'm');
  await expect.poll(() => isOver.test(readFileSync(trace, 'latin1')), { timeout: 20_000 }).toBe(true);
  const calls = readSystemCalls(readFileSync(trace, 'latin1'));
  for (const { id, result } of answered) {
    expect(toldAt(calls, id, 'HTTP/1.1 200 OK'), `the answer of ${id}`).toBeGreaterThan(syncedAt(calls, id));
    if (!ended.has(id)) continue;
    const told = toldAt(calls, result, 'Completed');
    expect(told, `the end of ${id}`).toBeGreaterThan(syncedAt(calls, result));
  }
}, 60_000);
