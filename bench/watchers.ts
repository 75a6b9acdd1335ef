/**
 * What an idle watcher holds of the server's memory.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Bench } from './harness/bench.ts';
import { number, type Row } from './harness/row.ts';
import { type Server, watchPath } from './harness/server.ts';
import { interleave, spread } from './harness/spread.ts';

const watcherCount = 10_000;

/** For what is freed a little later: timers of handshakes, buffers of the kernel. */
const settleMs = 1500;

export async function measure(bench: Bench): Promise<Row[]> {
  const { rounds } = await interleave(bench.rounds, { rounds: () => kbPerWatcher(bench) });
  const uncollected = spread(rounds.map(({ uncollectedKb }) => uncollectedKb)).median;
  return [
    {
      question: `memory per idle watcher, ${number(watcherCount)} of them, above the empty server`,
      baseline: '–',
      measured: spread(rounds.map(({ kb }) => kb)),
      unit: ' kB',
      goal: { atMost: 12 },
      note: `PSS after a garbage collection; before it ${number(uncollected)} kB. Buffers of the kernel are not in it`,
    },
  ];
}

/** With a server of its own each time: one that has had watchers keeps some of their memory for the next. */
async function kbPerWatcher(bench: Bench): Promise<{ kb: number; uncollectedKb: number }> {
  const server = await bench.server();
  const id = await server.startRun('chatter', { rounds: 0, ticks: 0, periodMs: 0, messagesPerTick: 0 });
  const empty = await collectedKb(server);
  const watchers = await bench.watchers(server.port, watchPath(id), watcherCount);
  await pause(settleMs);
  const uncollected = server.memory().pssBytes / 1000;
  const full = await collectedKb(server);
  await watchers.stop();
  await server.stop();
  return { kb: (full - empty) / watcherCount, uncollectedKb: (uncollected - empty) / watcherCount };
}

async function collectedKb(server: Server): Promise<number> {
  await server.collectGarbage();
  await pause(settleMs);
  await server.collectGarbage();
  return server.memory().pssBytes / 1000;
}
