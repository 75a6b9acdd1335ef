/**
 * What the server and its children hold of the machine's memory: fresh, after a hundred thousand runs, after a million.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Bench } from './harness/bench.ts';
import { load } from './harness/load.ts';
import type { Memory } from './harness/memory.ts';
import { number, type Row } from './harness/row.ts';
import { person, type Server } from './harness/server.ts';
import { interleave, spread } from './harness/spread.ts';

const settleMs = 3000;
const connections = 64;
const loadSeconds = 5;

export async function measure(bench: Bench): Promise<Row[]> {
  const { idle } = await interleave(bench.rounds, {
    idle: async () => {
      const server = await bench.server();
      const memory = await settledMemory(server);
      await server.stop();
      return memory;
    },
  });
  const server = await bench.server();
  const first = await afterRuns(bench, server, 0, 100_000);
  const rows = [
    row('memory, idle after the start', idle, 140),
    row('memory after 100,000 runs over HTTP', [first], 180),
  ];
  if (bench.quick) return rows;
  const second = await afterRuns(bench, server, 100_000, 1_000_000);
  return [
    ...rows,
    {
      question: 'memory after 1,000,000 runs over HTTP',
      baseline: `after 100,000: ${number(first.pssBytes / 1e6)} MB`,
      measured: spread([second.pssBytes / first.pssBytes]),
      unit: ' ×',
      goal: { atMost: 1.1 },
      note: `${number(second.pssBytes / 1e6)} MB`,
    },
  ];
}

function row(question: string, memory: Memory[], atMost: number): Row {
  return {
    question,
    baseline: '–',
    measured: spread(memory.map(({ pssBytes }) => pssBytes / 1e6)),
    unit: ' MB',
    goal: { atMost },
    note: `PSS of all processes; RSS ${number(spread(memory.map(({ rssBytes }) => rssBytes / 1e6)).median)} MB`,
  };
}

/** Starts runs until there have been `to`, of which `from` were before. */
async function afterRuns(bench: Bench, server: Server, from: number, to: number): Promise<Memory> {
  for (let runs = from; runs < to; ) {
    runs += (await load(server.startUrl('noop'), person, connections, loadSeconds)).requests;
    bench.say(`${number(runs, 4)} runs, ${number(server.memory().pssBytes / 1e6)} MB`);
  }
  await server.settled();
  return settledMemory(server);
}

/** As it is after a rest: nothing is done to have garbage collected. */
async function settledMemory(server: Server): Promise<Memory> {
  await pause(settleMs);
  return server.memory();
}
