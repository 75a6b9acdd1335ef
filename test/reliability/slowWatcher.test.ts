import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { isTerminal, type Snapshot, type TaskStatus } from '../../src/run.ts';
import { RawWatcher } from '../support/rawWatcher.ts';
import { Home, type ServerProcess } from '../support/serverProcess.ts';
import { faultOfPart, faultOfStream, faultOfWholeStream } from '../support/story.ts';
import { Watcher, type WireMessage } from '../support/watcher.ts';

const mebibyte = 1024 * 1024;

/** As messages more than 100 MB, for each of those who do not read them. */
const lines = 200_000;
const slowOnes = 4;

/** What the slow ones may cost on top of what the same talk costs without them. */
const patienceBytes = 64 * mebibyte;

/** A run that says a lot once it is let. */
class Talk {
  readonly id: string;
  readonly address: string;
  readonly #server: ServerProcess;
  readonly #token: string | undefined;
  readonly #gate: string;

  private constructor(server: ServerProcess, id: string, gate: string, token: string | undefined) {
    this.#server = server;
    this.#token = token;
    this.#gate = gate;
    this.id = id;
    this.address = `${server.ws}/ws/lab/${token === undefined ? 'task/ws' : `tasks/${token}`}/${id}`;
  }

  static async start(home: Home, server: ServerProcess, token?: string): Promise<Talk> {
    const gate = join(home.root, `gate-${performance.now()}`);
    const input = { gate, lines, size: 500, perTurn: 250 };
    const { task_id: id } = await server.api.started('chatter', { token, input });
    return new Talk(server, id, gate, token);
  }

  let(): void {
    writeFileSync(this.#gate, '');
  }

  /** Where the run stands when it has said it all. */
  said(): Promise<Snapshot> {
    return this.#server.api.until(this.id, saidItAll, this.#token);
  }

  async end(): Promise<Snapshot> {
    expect((await this.#server.api.cancel(this.id, this.#token)).status).toBe(200);
    return this.#server.api.end(this.id, this.#token);
  }
}

/** Measures how much memory the server takes at the most, until told to stop. */
function watchMemory(server: ServerProcess): () => number {
  let most = 0;
  const measure = () => {
    most = Math.max(most, server.residentBytes);
  };
  const timer = setInterval(measure, 50);
  onTestFinished(() => clearInterval(timer));
  return () => {
    clearInterval(timer);
    measure();
    return most;
  };
}

/** How much memory the talk takes while everybody reads. */
async function memoryOfTalk(home: Home, server: ServerProcess): Promise<number> {
  const most = watchMemory(server);
  const talk = await Talk.start(home, server);
  const reader = await new Watcher(talk.address).open();
  talk.let();
  await reader.until(() => saidItAll(reader.messages.at(-1) ?? {}));
  await talk.end();
  await reader.close();
  return most();
}

function saidItAll({ message }: { message?: string | null }): boolean {
  return message === 'said it all';
}

function ended({ status }: { status?: TaskStatus }): boolean {
  return status !== undefined && isTerminal(status);
}

/** That most was passed over, told as one gap: what the kernel takes for a reader who does not read (some 10 MB) is less. */
/**
 * Resolves when whoever had opened a stream before has been told the history so far: the store answers in order, and is asked
 * once more here. Who still reads history is told all of it, at its own pace.
 */
async function level(server: ServerProcess): Promise<void> {
  await fetch(`${server.url}/api/lab/task/result/nobody`);
}

function expectPassedOver(messages: readonly WireMessage[], newest: Snapshot): void {
  expect(messages.length).toBeLessThan(newest.seq / 2);
  expect(messages.at(-2)).toMatchObject({ type: 'gap', seq: newest.seq });
  expect(messages.at(-2)?.missed).toBeGreaterThan(newest.seq / 4);
}

describe('a watcher that does not read', () => {
  test('costs little memory, delays nobody, and then finds a gap, the present and one end', async () => {
    const home = new Home();
    const server = await home.serve();
    const { api, ws } = server;
    const without = await memoryOfTalk(home, server);
    const most = watchMemory(server);
    const talk = await Talk.start(home, server);
    const slow = Array.from({ length: slowOnes }, () => new RawWatcher(talk.address));
    for (const watcher of slow) await watcher.open();
    const quick = await new Watcher(talk.address).open();
    await level(server);
    talk.let();

    const start = performance.now();
    const other = await api.started('quick');
    await new Watcher(`${ws}/ws/lab/task/ws/${other.task_id}`).close();
    expect(performance.now() - start, 'ms for a whole run of somebody else').toBeLessThan(3000);

    const said = await talk.said();
    const saidAt = performance.now();
    await quick.until(() => (quick.messages.at(-1)?.seq ?? 0) >= said.seq);
    expect(performance.now() - saidAt, 'ms behind, for one who reads').toBeLessThan(3000);
    expect(faultOfStream(quick.messages)).toBeNull();
    const needed = most() - without;
    console.info(`${slowOnes} slow watchers: ${Math.round(needed / mebibyte)} MiB for ${said.seq} messages`);
    expect(needed).toBeLessThan(patienceBytes);

    for (const watcher of slow) {
      watcher.read();
      await watcher.until(() => watcher.messages.some(saidItAll));
      expect(faultOfStream(watcher.messages)).toBeNull();
      expectPassedOver(watcher.messages, said);
      expect(watcher.messages.at(-1)).toEqual({ type: 'snapshot', ...said });
    }
    const end = await talk.end();
    for (const watcher of slow) {
      await watcher.until(() => watcher.closed !== undefined);
      expect(watcher.closed).toEqual({ code: 1000, reason: '' });
      expect(faultOfWholeStream(watcher.messages)).toBeNull();
      expect(watcher.messages.at(-1)).toEqual({ type: 'update', ...end });
    }
    expect(await quick.close()).toEqual({ code: 1000, reason: '' });
    expect(faultOfWholeStream(quick.messages)).toBeNull();
  }, 60_000);

  test('finds a gap and the end itself when the run has ended meanwhile', async () => {
    const home = new Home();
    const server = await home.serve();
    const talk = await Talk.start(home, server);
    const slow = await new RawWatcher(talk.address).open();
    await level(server);
    talk.let();
    await talk.said();
    const end = await talk.end();
    slow.read();
    await slow.until(() => slow.closed !== undefined);
    expect(slow.closed).toEqual({ code: 1000, reason: '' });
    expect(faultOfWholeStream(slow.messages)).toBeNull();
    expectPassedOver(slow.messages, end);
    expect(slow.messages.at(-1)).toEqual({ type: 'update', ...end });
  }, 60_000);

  test('is told where each run stands when it was all runs that it watched', async () => {
    const home = new Home();
    const token = await home.token();
    const server = await home.serve();
    const { api, ws } = server;
    const slow = await new RawWatcher(`${ws}/ws/lab/tasks/${token}`).open();
    const quick = await new Watcher(`${ws}/ws/lab/tasks/${token}`).open();
    const talk = await Talk.start(home, server, token);
    await level(server);
    talk.let();
    const short = (await api.started('progress', { token })).task_id;
    await api.end(short, token);
    const said = await talk.said();
    await quick.until(() => (quick.messages.at(-1)?.seq ?? 0) >= said.seq);

    slow.read();
    await slow.until(() => slow.messages.some(saidItAll) && slow.of(short).some(ended));
    expectPassedOver(slow.of(talk.id), said);
    expect(slow.of(talk.id).at(-1)).toEqual({ type: 'snapshot', ...said });
    await talk.end();
    for (const watcher of [slow, quick]) {
      await watcher.until(() => watcher.of(talk.id).some(ended));
      expect(faultOfPart(watcher.of(talk.id))).toBeNull();
      expect(faultOfPart(watcher.of(short))).toBeNull();
    }
  }, 60_000);
});
