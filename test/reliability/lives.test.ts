import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { openDatabase } from '../../src/engines/sqlite/driver.ts';
import type { Snapshot } from '../../src/run.ts';
import { type Random, seededRandom } from '../support/random.ts';
import { Home } from '../support/serverProcess.ts';

const folder = resolve(import.meta.dirname, 'lives');
const kills = 12;
const clients = 4;

/** What a client has asked for: sent again under its key until it is answered. */
interface Asked {
  task: string;
  /** Makes the run's input its own; also its `Idempotency-Key`. */
  name: string;
  delayMs: number;
  input: { key: string } | undefined;
  /** The ids that it was answered with. */
  ids: Set<string>;
}

/** When one server was there, from its being ready to its end. */
interface Span {
  from: number;
  to: number;
}

/** A run as the store has it in the end. Status 3 is Completed, 4 Error. */
interface StoredRun {
  id: string;
  task: string;
  input: { key: string } | null;
  status: number;
  error: string | null;
  created_at: number;
  started_at: number;
  run_at: number | null;
  at: number;
}

test(`${kills} kills lose no retry, no delay and no occurrence, and let no key through twice`, async () => {
  const random = seededRandom('lives');
  const home = new Home();
  const asked: Asked[] = [];
  const spans: Span[] = [];
  for (let kill = 0; kill < kills; kill++) {
    const server = await home.serve({ folder });
    const from = Date.now();
    await work(random, server.url, asked, from + random.whole(300, 2200));
    const to = Date.now();
    expect(await server.kill()).toEqual({ code: null, signal: 'SIGKILL' });
    spans.push({ from, to });
  }

  const server = await home.serve({ folder });
  // Whatever was asked for and never answered is asked for once more; what was answered must be answered so again.
  for (const each of asked) await ask(server.url, each);
  for (const { ids, task } of asked) {
    expect(ids.size, `runs of one key of ${task}`).toBe(1);
    for (const id of ids) await ended(server.url, id);
  }
  expect((await server.stop()).code).toBe(0);
  expectRightLives(storedRuns(home), asked, spans);
}, 120_000);

/** Clients that ask for runs until it is time, and are not answered when the server is killed. */
async function work(random: Random, url: string, asked: Asked[], until: number): Promise<void> {
  const client = async () => {
    while (Date.now() < until) {
      const unanswered = asked.filter(({ ids }) => ids.size === 0);
      const again = random.chance(0.3) ? random.pick(unanswered.length > 0 ? unanswered : asked) : undefined;
      await ask(url, again ?? make(random, asked)).catch(() => {});
      await new Promise((done) => setTimeout(done, random.whole(0, 10)));
    }
  };
  // The last requests are still under way when the kill comes.
  await Promise.race([
    Promise.all(Array.from({ length: clients }, client)),
    new Promise((done) => setTimeout(done, until - Date.now())),
  ]);
}

function make(random: Random, asked: Asked[]): Asked {
  const task = random.pick(['flaky', 'later', 'later', 'sole', 'once']);
  const name = `n${asked.length}`;
  // A few keys that many come with.
  const key = task === 'later' ? name : `k${random.whole(1, task === 'sole' ? 3 : 40)}`;
  const each: Asked = {
    task,
    name,
    delayMs: task === 'later' ? random.whole(0, 3000) : 0,
    input: task === 'flaky' ? undefined : { key },
    ids: new Set(),
  };
  asked.push(each);
  return each;
}

async function ask(url: string, { task, name, delayMs, input, ids }: Asked): Promise<void> {
  const response = await fetch(`${url}/api/lab/task/start/${task}?delay_ms=${delayMs}`, {
    method: 'POST',
    headers: { 'Idempotency-Key': name, ...(input && { 'Content-Type': 'application/json' }) },
    ...(input && { body: JSON.stringify(input) }),
  });
  const snapshot = (await response.json()) as Snapshot;
  expect(response.status, JSON.stringify(snapshot)).toBe(200);
  ids.add(snapshot.task_id);
}

async function ended(url: string, id: string): Promise<void> {
  const response = await fetch(`${url}/api/lab/task/result/${id}?wait=30`);
  const { status, error } = (await response.json()) as Snapshot;
  // A run whose process died three times under it ends so, too.
  if (error) expect(error.name).toBe('ProcessDiedError');
  else expect(status).toBe('Completed');
}

function storedRuns(home: Home): StoredRun[] {
  const database = openDatabase(`${home.data}/spyglass.db`);
  const rows = database
    .prepare(
      'SELECT id, task, input, status, error, created_at, started_at, run_at, at FROM runs ORDER BY created_at, n',
    )
    .all();
  database.close();
  return rows.map(
    (row) => ({ ...row, input: row.input === null ? null : JSON.parse(String(row.input)) }) as StoredRun,
  );
}

function expectRightLives(runs: readonly StoredRun[], asked: readonly Asked[], spans: readonly Span[]): void {
  const of = (task: string) => runs.filter((run) => run.task === task);
  const byKey = (task: string) => {
    const keys = new Map<string, StoredRun[]>();
    for (const run of of(task)) {
      const key = String(run.input?.key);
      keys.set(key, [...(keys.get(key) ?? []), run]);
    }
    return [...keys.values()];
  };
  expect(of('later').length).toBe(asked.filter(({ task }) => task === 'later').length);
  expect(of('flaky').length).toBe(asked.filter(({ task }) => task === 'flaky').length);
  for (const { run_at, started_at } of of('later')) expect(started_at).toBeGreaterThanOrEqual(run_at ?? 0);
  for (const same of byKey('once')) expect(same, 'runs of a key that holds for ten minutes').toHaveLength(1);
  for (const same of byKey('sole')) {
    for (const [place, run] of same.entries()) {
      const before = same[place - 1];
      if (before)
        expect(run.created_at, 'a run of a key began while another was active').toBeGreaterThanOrEqual(
          before.at,
        );
    }
  }
  const tock = occurrencesOf(of('tock'));
  const tick = occurrencesOf(of('tick'));
  // Without catching up each run has an occurrence of its own; with it, there is one more for each time that the server was back.
  expect(tock.surplus, 'runs without an occurrence of their own').toEqual([]);
  expect(tick.surplus.length, 'runs without an occurrence of their own').toBeLessThanOrEqual(spans.length);
  for (const { from, to } of spans) {
    for (let second = Math.ceil(from / 1000) + 1; second * 1000 < to - 700; second++) {
      expect(tock.seconds, `occurrence ${second} of one that was there`).toContain(second);
      expect(tick.seconds, `occurrence ${second} of one that was there`).toContain(second);
    }
  }
}

/** A disk that is busy for so long holds up the run of one occurrence, and with it those of the next ones. */
const latestSeconds = 3;

/**
 * The seconds whose occurrences the runs are: an occurrence is on the second, and its run is accepted right after it, or some seconds
 * late. `surplus`: when those were accepted that have none, each with all that were about then.
 */
function occurrencesOf(runs: readonly StoredRun[]): { seconds: Set<number>; surplus: number[][] } {
  const seconds = new Set<number>();
  const surplus: number[][] = [];
  for (const { created_at: at } of runs) {
    const second = Math.floor(at / 1000);
    let own = second;
    while (seconds.has(own)) own--;
    if (second - own <= latestSeconds) seconds.add(own);
    else
      surplus.push([
        at,
        ...runs.map((run) => run.created_at).filter((other) => Math.abs(other - at) < 10_000),
      ]);
  }
  return { seconds, surplus };
}
