/**
 * How many starts a second, each validated, on disk, executed, and its result on disk, next to a route that does nothing.
 */
import type { Bench } from './harness/bench.ts';
import { load, loadTool } from './harness/load.ts';
import { number, type Row } from './harness/row.ts';
import { person, type Server } from './harness/server.ts';
import { interleave, ratios, spread } from './harness/spread.ts';

const connections = 64;
const seconds = 4;

export async function measure(bench: Bench): Promise<Row[]> {
  const server = await bench.server();
  const bare = await bench.peer('bareRoute');
  const { starts, route } = await interleave(bench.rounds, {
    starts: () => startsPerSecond(server, seconds),
    route: async () => {
      const done = await load(`http://127.0.0.1:${bare.port}/start`, person, connections, seconds);
      return done.requests / done.seconds;
    },
  });
  return [
    {
      question: `starts per second, ${connections} connections: validated, fsynced, executed, result stored`,
      baseline: `bare Fastify route: ${number(spread(route).median)}/s`,
      measured: spread(ratios(starts, route)),
      unit: ' ×',
      goal: { atLeast: 0.5 },
      note: `${number(spread(starts).median)} starts/s; load by ${loadTool}`,
    },
  ];
}

/** Starts by 64 connections, each as soon as it has its answer. */
export interface Starts {
  starts: number;
  /** The time until the last of them has ended counts, too: nothing is put off until after the measurement. */
  seconds: number;
}

export async function startFor(server: Server, seconds: number): Promise<Starts> {
  const done = await load(server.startUrl('noop'), person, connections, seconds);
  const begin = performance.now();
  await server.settled();
  return { starts: done.requests, seconds: done.seconds + (performance.now() - begin) / 1000 };
}

export async function startsPerSecond(server: Server, seconds: number): Promise<number> {
  const done = await startFor(server, seconds);
  return done.starts / done.seconds;
}
