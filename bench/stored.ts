/**
 * Whether a million finished runs in the store are felt: by starts, by who reads a result, and when the server starts.
 */
import { cpSync } from 'node:fs';
import type { Bench } from './harness/bench.ts';
import { Connection, get } from './harness/http.ts';
import { number, type Row } from './harness/row.ts';
import { person, resultPath, type Server } from './harness/server.ts';
import { interleave, percentile, ratios, spread } from './harness/spread.ts';
import { startsPerSecond } from './starts.ts';

const reads = 1000;
const seconds = 3;

export async function measure(bench: Bench): Promise<Row[]> {
  const runs = bench.quick ? 100_000 : 1_000_000;
  const folders = { none: bench.folder(), full: bench.folder(), limit: bench.folder() };
  bench.say(`storing ${number(runs)} runs`);
  const ids = await bench.fill(folders.full, runs);
  cpSync(folders.full, folders.limit, { recursive: true });

  const listening = await interleave(bench.rounds, {
    none: () => listeningMs(bench, folders.none),
    full: () => listeningMs(bench, folders.full),
  });
  // In the first two nothing is deleted; in the third the limit is reached, so that each start also deletes a run.
  const keepAll = ['--keep-runs', String(10 * runs)];
  const none = await bench.server(folders.none, keepAll);
  const full = await bench.server(folders.full, keepAll);
  const limit = await bench.server(folders.limit, ['--keep-runs', String(runs)]);
  const own = await none.startRun('noop', person);
  const getting = await interleave(bench.rounds, {
    none: () => readMs(none, () => own),
    full: () => readMs(full, () => ids[Math.floor(Math.random() * ids.length)] as string),
  });
  const starting = await interleave(bench.rounds, {
    none: () => startsPerSecond(none, seconds),
    full: () => startsPerSecond(full, seconds),
    limit: () => startsPerSecond(limit, seconds),
  });

  const stored = `with ${number(runs)} finished runs stored`;
  const figure = (values: readonly number[]) => number(spread(values).median);
  const common = { unit: ' ×', goal: { atMost: 1.2 } };
  return [
    {
      ...common,
      question: `start rate ${stored}`,
      baseline: `with none: ${figure(starting.none)}/s`,
      measured: spread(ratios(starting.none, starting.full)),
      note: `so many times slower: ${figure(starting.full)}/s`,
    },
    {
      ...common,
      question: `the same at the limit of --keep-runs, where each start also deletes a run`,
      baseline: `with none: ${figure(starting.none)}/s`,
      measured: spread(ratios(starting.none, starting.limit)),
      note: `so many times slower: ${figure(starting.limit)}/s`,
    },
    {
      ...common,
      question: `GET result p50 ${stored}`,
      baseline: `with none: ${figure(getting.none)} ms`,
      measured: spread(ratios(getting.full, getting.none)),
      note: `${figure(getting.full)} ms, of runs drawn at random`,
    },
    {
      ...common,
      question: `time to listening ${stored}`,
      baseline: `with none: ${figure(listening.none)} ms`,
      measured: spread(ratios(listening.full, listening.none)),
      note: `${figure(listening.full)} ms`,
    },
  ];
}

async function listeningMs(bench: Bench, folder: string): Promise<number> {
  const server = await bench.server(folder);
  await server.stop();
  return server.startMs;
}

async function readMs(server: Server, id: () => string): Promise<number> {
  const connection = await Connection.open(server.port);
  const times = await connection.times(reads, () => get(resultPath(id())));
  connection.close();
  return percentile(times, 50);
}
