/**
 * Fills a data folder with finished runs: through the engine itself, so that they are what a server leaves, but without a
 * request for each.
 */
import { systemClock } from '../../src/clock.ts';
import type { StartRequest } from '../../src/engine.ts';
import { SqliteEngine } from '../../src/engines/sqlite/engine.ts';
import { defaultPolicy } from '../../src/policy.ts';
import { answerCalls } from '../harness/calls.ts';
import { person } from '../harness/server.ts';

const batchRuns = 5000;
const keepMs = 86_400_000;

/** Answers the ids of a thousand of the runs that were started directly, from the oldest to the newest. */
async function fill({ data, runs }: { data: string; runs: number }): Promise<string[]> {
  const config = { data, concurrency: 2 * batchRuns, threads: 4, keepMs, keepRuns: runs };
  const policies = { of: () => defaultPolicy, all: () => [], keysOf: () => ({}) };
  const engine = new SqliteEngine(config, { clock: systemClock, log: () => {}, policies });
  await engine.open();
  engine.start(async () => ({ kind: 'completed', result: 'Matt, 25' }));
  const ids: string[] = [];
  for (let from = 0; from < runs; from += batchRuns) {
    const batch = Array.from({ length: Math.min(batchRuns, runs - from) }, (_, place) => start(from + place));
    const accepted = await engine.accept(batch);
    const direct = accepted.map(({ run }) => run).filter(({ client }) => client === null);
    ids.push(...direct.slice(0, (1000 * batchRuns) / runs).map(({ snapshot }) => snapshot.task_id));
  }
  await engine.drain(60_000);
  await engine.close();
  return ids;
}

/** Every other run with one of a hundred client tokens. */
function start(number: number): StartRequest {
  const client = number % 2 === 0 ? null : `client${number % 200}`;
  return { state: 'bench', task: 'noop', client, input: JSON.stringify(person) };
}

answerCalls({ fill });
process.stdout.write('ready\n');
