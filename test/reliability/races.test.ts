import { describe, expect, test } from 'vitest';
import { isTerminal, type TaskStatus } from '../../src/run.ts';
import { type Random, seededRandom } from '../support/random.ts';
import { Home, type ServerProcess } from '../support/serverProcess.ts';
import { faultOfPart, faultOfWholeStream } from '../support/story.ts';
import { Watcher } from '../support/watcher.ts';

/** Runs that are on their way at the same time, each with its watchers. */
const lanes = 8;

async function inLanes(count: number, work: (place: number) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => (ms < 1 ? setImmediate(resolve) : setTimeout(resolve, ms)));
}

function briefInput(random: Random) {
  return { ms: random.chance(0.5) ? 0 : random.whole(1, 25), steps: random.whole(0, 30) };
}

/** Joins a run at a random moment of its life, or after it, from the beginning or from where it stands. */
async function joinAtRandom(server: ServerProcess, random: Random, id: string): Promise<void> {
  await pause(random.chance(0.3) ? 0 : random.whole(0, 40));
  const address = `${server.ws}/ws/lab/task/ws/${id}`;
  // What the run shows now is the most that somebody who comes back can have.
  const since = random.chance(0.5) ? random.whole(0, (await server.api.result(id)).seq) : undefined;
  const watcher = new Watcher(since === undefined ? address : `${address}?since=${since}`);
  expect(await watcher.close()).toEqual({ code: 1000, reason: '' });
  const end = await server.api.result(id);
  expect(isTerminal(end.status)).toBe(true);
  if (since === end.seq) {
    expect(watcher.messages).toEqual([]);
    return;
  }
  expect(faultOfWholeStream(watcher.messages, since)).toBeNull();
  expect(watcher.messages.at(-1)).toEqual({ type: 'update', ...end });
}

describe('a watcher that joins at any moment', () => {
  test('sees one terminal message, last, and no hole that a gap does not explain', async () => {
    const random = seededRandom('races of one run');
    const server = await new Home().serve();
    await inLanes(250, async () => {
      const { task_id: id } = await server.api.started('brief', { input: briefInput(random) });
      await Promise.all([joinAtRandom(server, random, id), joinAtRandom(server, random, id)]);
    });
  }, 60_000);

  test('sees a cancelled run end once, too', async () => {
    const random = seededRandom('races of cancelled runs');
    const server = await new Home().serve();
    await inLanes(100, async () => {
      const { task_id: id } = await server.api.started('work');
      const cancelled = pause(random.whole(0, 20)).then(() => server.api.cancel(id));
      await joinAtRandom(server, random, id);
      expect((await cancelled).status).toBe(200);
      expect((await server.api.result(id)).status).toBe('Cancelled');
    });
  }, 60_000);

  test('sees every run of a client end, when it watches them all', async () => {
    const random = seededRandom('races of all runs');
    const home = new Home();
    const token = await home.token();
    const server = await home.serve();
    const watchers: { watcher: Watcher; expected: Set<string> }[] = [];
    const active = new Set<string>();
    await inLanes(300, async (place) => {
      if (place % 10 === 0) {
        const watcher = await new Watcher(`${server.ws}/ws/lab/tasks/${token}`).open();
        watchers.push({ watcher, expected: new Set(active) });
      }
      const { task_id: id } = await server.api.started('brief', { token, input: briefInput(random) });
      active.add(id);
      for (const { expected } of watchers) expected.add(id);
      await server.api.end(id, token);
      active.delete(id);
    });

    const ends = new Map((await server.api.list(token)).map((run) => [run.task_id, run]));
    expect(ends.size).toBe(300);
    for (const { watcher, expected } of watchers) {
      const last = () => new Map(watcher.messages.map((message) => [message.task_id, message]));
      await watcher.until(() => {
        const known = last();
        return [...expected].every((id) => isTerminal((known.get(id)?.status ?? 'Pending') as TaskStatus));
      });
      for (const [id, message] of last()) {
        expect(faultOfPart(watcher.of(id))).toBeNull();
        const { type, ...snapshot } = message;
        expect(type === 'update' || type === 'snapshot').toBe(true);
        expect(snapshot).toEqual(ends.get(id));
      }
    }
  }, 60_000);
});
