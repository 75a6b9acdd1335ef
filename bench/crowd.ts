/**
 * How long the event loop is held up while ten thousand watchers of one run are told ten messages a second.
 */
import type { Bench } from './harness/bench.ts';
import { number, type Row } from './harness/row.ts';
import { type Delay, type Server, watchPath } from './harness/server.ts';
import { interleave, spread } from './harness/spread.ts';
import type { Talk } from './harness/talk.ts';
import type { Watchers } from './harness/watchers.ts';

const watcherCount = 10_000;
const talk: Talk = { ticks: 80, periodMs: 100, messagesPerTick: 1 };

export async function measure(bench: Bench): Promise<Row[]> {
  const server = await bench.server();
  const id = await server.startRun('chatter', { rounds: bench.rounds + 1, ...talk });
  const watchers = await bench.watchers(server.port, watchPath(id), watcherCount);
  const { delays } = await interleave(bench.rounds, { delays: () => delayOfRound(server, watchers) });
  const longest = Math.max(...delays.map(({ max }) => max));
  return [
    {
      question: `event-loop delay p99, ${number(watcherCount)} watchers of one run, 10 messages a second`,
      baseline: '–',
      measured: spread(delays.map(({ p99 }) => p99)),
      unit: ' ms',
      goal: { atMost: 50 },
      note: `p50 ${number(spread(delays.map(({ p50 }) => p50)).median)} ms, longest of all ${number(longest)} ms; the timer's own period of 10 ms is in it`,
    },
  ];
}

async function delayOfRound(server: Server, watchers: Watchers): Promise<Delay> {
  await server.watchDelay();
  await Promise.all([server.startRun('go'), watchers.receive(talk.ticks * talk.messagesPerTick)]);
  return server.delay();
}
