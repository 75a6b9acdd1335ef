import { expect, test } from 'vitest';
import { isTerminal, type Snapshot } from '../../src/run.ts';
import { Api } from '../support/api.ts';
import { Follower } from '../support/follower.ts';
import { Random, seededRandom } from '../support/random.ts';
import { Home, type ServerProcess } from '../support/serverProcess.ts';
import { faultOfWholeStream } from '../support/story.ts';
import type { WireMessage } from '../support/watcher.ts';

/** Servers that are besieged side by side, by how many attempts each makes at once; and how often each is killed. */
const concurrencies = [100, 6];
const kills = 25;
const clients = 3;
const followers = 2;
/** Runs that never end by themselves are started up to here, so that each lives to see three deaths. */
const lastEndless = kills - 8;

/** What the server said of one run. */
interface Entry {
  id: string;
  task: string;
  token: string | undefined;
  /** A cancel was answered with 200. */
  cancelled: boolean;
  /** As it was when first seen ended. */
  end: Snapshot | undefined;
  /** Who follows it through the crashes. */
  follower: Follower | undefined;
}

/** Everything that a 2xx promised, and everything that was ever seen of how runs ended. */
class Journal {
  readonly entries: Entry[] = [];
  readonly #byId = new Map<string, Entry>();

  add(id: string, task: string, token: string | undefined): void {
    const entry = { id, task, token, cancelled: false, end: undefined, follower: undefined };
    this.entries.push(entry);
    this.#byId.set(id, entry);
  }

  /** Takes note of where a run stands; how one has ended must never change. */
  see(snapshot: Snapshot): void {
    const entry = this.#byId.get(snapshot.task_id);
    // A start whose answer was cut off by the kill.
    if (!entry) return;
    if (entry.end) expect(snapshot).toEqual(entry.end);
    else if (isTerminal(snapshot.status)) entry.end = snapshot;
  }

  get open(): Entry[] {
    return this.entries.filter(({ end }) => end === undefined);
  }
}

const tasks = ['quick', 'quick', 'mirror', 'progress', 'progress', 'lines', 'work', 'work', 'fragile'];

/** A server that is killed again and again, and clients that go on regardless. */
class Siege {
  readonly journal = new Journal();
  readonly #random: Random;
  readonly #token: string;
  readonly #flags: string[];
  /** Where the server answers just now; empty while it is down. */
  #url = '';
  #round = 0;
  #over = false;
  #arrived: (() => void)[] = [];

  constructor(random: Random, token: string, concurrency: number) {
    this.#random = random;
    this.#token = token;
    this.#flags = ['--concurrency', String(concurrency)];
  }

  /** All the kills; then a server that lives, and no more starts. */
  async run(home: Home): Promise<ServerProcess> {
    const working = Promise.all([
      ...Array.from({ length: clients }, () => this.#client()),
      ...Array.from({ length: followers }, () => this.#follower()),
    ]);
    for (; this.#round < kills; this.#round++) await this.#oneLife(home, working);
    const server = await home.serve({ flags: this.#flags });
    this.#over = true;
    this.#arrive(server.url);
    // Those that have not seen three deaths by now would go on for good, in the room of others that somebody follows.
    for (const entry of this.journal.open) if (entry.task === 'endless') await cancel(server.api, entry);
    await working;
    return server;
  }

  async #oneLife(home: Home, working: Promise<unknown>): Promise<void> {
    const server = home.launch({ flags: this.#flags });
    // One kill in eight meets a server that is still starting, or taking back what the last one left.
    if (this.#random.chance(0.125)) await pause(this.#random.whole(0, 900));
    else {
      await server.ready();
      this.#arrive(server.url);
      await Promise.race([this.#acceptedMore(this.#random.whole(0, 16)), pause(2000), working]);
      await pause(this.#random.whole(0, 60));
    }
    this.#url = '';
    expect(await server.kill()).toEqual({ code: null, signal: 'SIGKILL' });
  }

  /** So that a life sees something, however fast the machine is. */
  async #acceptedMore(count: number): Promise<void> {
    const enough = this.journal.entries.length + count;
    while (this.journal.entries.length < enough && this.#url !== '') await pause(1);
  }

  #arrive(url: string): void {
    this.#url = url;
    for (const arrived of this.#arrived.splice(0)) arrived();
  }

  async #arrival(): Promise<void> {
    if (this.#url === '') await new Promise<void>((resolve) => this.#arrived.push(resolve));
  }

  /** Starts, cancels and reads, until the siege is over. An answer that the kill cut off promised nothing. */
  async #client(): Promise<void> {
    while (!this.#over) {
      await this.#arrival();
      try {
        await this.#act(new Api(this.#url));
      } catch (error) {
        if (!(error instanceof TypeError || error instanceof SyntaxError)) throw error;
        this.#url = '';
      }
      await pause(this.#random.whole(0, 12));
    }
  }

  async #act(api: Api): Promise<void> {
    const random = this.#random;
    const { entries } = this.journal;
    if (entries.length > 0 && random.chance(0.1)) return cancel(api, random.pick(entries.slice(-20)));
    if (entries.length > 0 && random.chance(0.2)) {
      const { id, token } = random.pick(entries);
      return this.journal.see(await api.result(id, token));
    }
    const endless = this.#round < lastEndless && random.chance(0.05);
    const task = endless ? 'endless' : random.pick(tasks);
    const token = random.chance(0.5) ? this.#token : undefined;
    const input = task === 'mirror' ? { text: `${random.next()}` } : undefined;
    const { status, headers } = await api.start(task, { token, input });
    expect(status).toBe(200);
    this.journal.add(headers.get('location')?.split('/').at(-1) ?? '', task, token);
  }

  /** Watches one run after the other to its end, coming back with ?since after each crash. */
  async #follower(): Promise<void> {
    while (!this.#over) {
      await pause(5);
      const entry = this.journal.entries.slice(-5).find(({ follower }) => !follower);
      if (!entry) continue;
      const follower = new Follower();
      entry.follower = follower;
      for (let code = 0; code !== 1000 && !this.#over; ) {
        await this.#arrival();
        code = await follower.listen(addressOf(this.#url, entry));
      }
    }
  }
}

function addressOf(url: string, { id, token }: Entry): string {
  return `${url.replace('http', 'ws')}/ws/lab/${token === undefined ? `task/ws/${id}` : `tasks/${token}/${id}`}`;
}

test(`${concurrencies.length * kills} kills lose nothing that was accepted, and leave nothing without an end`, async () => {
  const random = seededRandom('crash');
  const journals = await Promise.all(
    concurrencies.map((concurrency) => besiege(new Random(random.whole(0, 1e9)), concurrency)),
  );
  const entries = journals.flatMap((journal) => journal.entries);
  console.info(`crash: ${entries.length} runs were accepted amid ${journals.length * kills} kills`);
  const died = entries.filter(({ end }) => end?.error?.name === 'ProcessDiedError').map(({ task }) => task);
  expect(died).toContain('endless');
  expect(died).toContain('fragile');
}, 180_000);

async function besiege(random: Random, concurrency: number): Promise<Journal> {
  const home = new Home();
  const token = await home.token();
  const siege = new Siege(random, token, concurrency);
  const server = await siege.run(home);
  const restarted = Date.now();
  const { journal } = siege;
  const unended = await endsOf(server, journal, token, restarted + 10_000);
  expect(unended, 'runs that have not ended 10 s after the last restart').toEqual([]);

  const { entries } = journal;
  expect(entries.length).toBeGreaterThan(kills * 4);
  for (const entry of entries) expectRightEnd(entry);
  const told = entries.filter(({ follower }) => follower);
  expect(told.length).toBeGreaterThan(kills / 5);
  for (const entry of [...told, ...sample(random, entries, 100)]) await expectWholeStory(server, entry);
  expect((await server.stop()).code).toBe(0);
  return journal;
}

async function cancel(api: Api, entry: Entry): Promise<void> {
  const { status } = await api.cancel(entry.id, entry.token);
  expect([200, 409]).toContain(status);
  if (status === 200) entry.cancelled = true;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Reads all runs until they have ended; those that have not by then. */
async function endsOf(
  server: ServerProcess,
  journal: Journal,
  token: string,
  until: number,
): Promise<Entry[]> {
  do {
    for (const snapshot of await server.api.list(token)) journal.see(snapshot);
    for (const { id, token } of journal.entries) {
      if (token === undefined) journal.see(await server.api.result(id));
    }
  } while (journal.open.length > 0 && Date.now() < until);
  return journal.open;
}

function expectRightEnd({ id, task, cancelled, end }: Entry): void {
  const { status, error, attempt, result } = end as Snapshot;
  const what = `${task} ${id} ${JSON.stringify(end)}`;
  if (status === 'Cancelled') return;
  if (task === 'endless') expect(cancelled, `${what} was to be cancelled`).toBe(false);
  if (status === 'Error') {
    expect([error?.name, attempt], what).toEqual(['ProcessDiedError', task === 'fragile' ? 1 : 3]);
  } else {
    expect([status, attempt <= 3], what).toEqual(['Completed', true]);
    if (task !== 'mirror') expect(result, what).toBe(task);
  }
}

/** The run's history as it now is, and what a follower heard over all the crashes, which must be the same story. */
async function expectWholeStory({ url }: ServerProcess, entry: Entry): Promise<void> {
  const history = new Follower();
  for (const follower of entry.follower ? [entry.follower, history] : [history]) {
    // Who has heard the end is told nothing more.
    expect(await follower.listen(addressOf(url, entry))).toBe(1000);
    expect(faultOfWholeStream(follower.messages)).toBeNull();
    expect(follower.messages.at(-1)).toEqual({ type: 'update', ...entry.end });
  }
  // Something shown before a crash may be lost with it, but its number is never given to something else.
  const said = ({ type }: WireMessage) => type === 'update' || type === 'log';
  const bySeq = new Map(history.messages.filter(said).map((message) => [message.seq, message]));
  for (const message of entry.follower?.messages.filter(said) ?? []) {
    expect(bySeq.get(message.seq) ?? message).toEqual(message);
  }
}

function sample<T>(random: Random, all: readonly T[], size: number): T[] {
  return Array.from({ length: Math.min(size, all.length) }, () => random.pick(all));
}
