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

const settleMs = 2000;
const connections = 64;
const loadSeconds = 10;

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
  const first = await memoryAfter(bench, server, 0, 100_000);
  const rows = [
    row('memory, idle after the start', idle, 140),
    row('memory after 100,000 runs over HTTP', first, 180),
  ];
  if (bench.quick) return rows;
  const second = await memoryAfter(bench, server, 100_000, 1_000_000);
  const pss = (memory: Memory[]) => memory.map(({ pssBytes }) => pssBytes);
  const before = spread(pss(first)).median;
  return [
    ...rows,
    {
      question: 'memory after 1,000,000 runs over HTTP',
      baseline: `after 100,000: ${number(before / 1e6)} MB`,
      measured: spread(pss(second).map((bytes) => bytes / before)),
      unit: ' ×',
      goal: { atMost: 1.1 },
      note: `${number(spread(pss(second)).median / 1e6)} MB`,
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

/**
 * Starts runs until there have been `to`, of which `from` were before. How much garbage lies about at the moment is chance, so
 * it is looked at several times, with some more runs in between.
 */
async function memoryAfter(bench: Bench, server: Server, from: number, to: number): Promise<Memory[]> {
  const start = (seconds: number) => load(server.startUrl('noop'), person, connections, seconds);
  for (let runs = from; runs < to; ) {
    runs += (await start(loadSeconds)).requests;
    bench.say(`${number(runs, 4)} runs, ${number(server.memory().pssBytes / 1e6)} MB`);
  }
  const { memory } = await interleave(bench.rounds, {
    memory: async () => {
      await start(1);
      await server.settled();
      return settledMemory(server);
    },
  });
  return memory;
}

/** As it is after a rest: nothing is done to have garbage collected. */
async function settledMemory(server: Server): Promise<Memory> {
  await pause(settleMs);
  return server.memory();
}
