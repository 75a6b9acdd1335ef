/**
 * How many runs a second are started by the thousand in one request, next to one by one.
 */
import type { Bench } from './harness/bench.ts';
import { number, type Row } from './harness/row.ts';
import { person, type Server } from './harness/server.ts';
import { interleave, ratios, spread } from './harness/spread.ts';
import { startsPerSecond } from './starts.ts';

const seconds = 4;
const inputs = 10_000;
const requests = 5;

export async function measure(bench: Bench): Promise<Row[]> {
  const server = await bench.server();
  const { single, accepted, ended } = await interleave(bench.rounds, {
    single: () => startsPerSecond(server, seconds),
    accepted: () => bulkPerSecond(server, false),
    ended: () => bulkPerSecond(server, true),
  });
  const baseline = `one by one, 64 connections: ${number(spread(single).median)}/s`;
  return [
    {
      question: `runs started per second by bulk, ${number(inputs)} to a request, until all are accepted`,
      baseline,
      measured: spread(ratios(accepted, single)),
      unit: ' ×',
      goal: { atLeast: 5 },
      note: `${number(spread(accepted).median)}/s; one connection, one request at a time. Those one by one have also ended`,
    },
    {
      question: 'the same, until all have ended',
      baseline,
      measured: spread(ratios(ended, single)),
      unit: ' ×',
      goal: null,
      note: `${number(spread(ended).median)}/s`,
    },
  ];
}

async function bulkPerSecond(server: Server, untilEnded: boolean): Promise<number> {
  const batch = new Array(inputs).fill(person);
  const begin = performance.now();
  for (let request = 0; request < requests; request++) await server.startBulk('noop', batch);
  const acceptedMs = performance.now() - begin;
  await server.settled();
  const ms = untilEnded ? performance.now() - begin : acceptedMs;
  return (inputs * requests * 1000) / ms;
}
