/**
 * How many runs a second are started by many in one request, next to one by one.
 */
import type { Bench } from './harness/bench.ts';
import { number, type Row } from './harness/row.ts';
import { person, type Server } from './harness/server.ts';
import { interleave, ratios, spread } from './harness/spread.ts';
import { startsPerSecond } from './starts.ts';

const seconds = 4;
const runs = 50_000;
/** Of so many, each sends the next request as soon as it has its answer. */
const connections = 16;

export async function measure(bench: Bench): Promise<Row[]> {
  const server = await bench.server();
  const { single, thousand, tenThousand } = await interleave(bench.rounds, {
    single: () => startsPerSecond(server, seconds),
    thousand: () => bulkRates(server, 1000),
    tenThousand: () => bulkRates(server, 10_000),
  });
  const baseline = `one by one, 64 connections, until all have ended: ${number(spread(single).median)}/s`;
  const rows = (inputs: number, rates: Rates[]): Row[] => {
    const accepted = rates.map((rate) => rate.accepted);
    const ended = rates.map((rate) => rate.ended);
    return [
      {
        question: `runs started per second by bulk, ${number(inputs)} to a request, until all are accepted`,
        baseline,
        measured: spread(ratios(accepted, single)),
        unit: ' ×',
        goal: { atLeast: 5 },
        note: `${number(spread(accepted).median)}/s, ${Math.min(connections, runs / inputs)} connections`,
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
  };
  return [...rows(1000, thousand), ...rows(10_000, tenThousand)];
}

/** Runs a second. */
interface Rates {
  accepted: number;
  ended: number;
}

async function bulkRates(server: Server, inputs: number): Promise<Rates> {
  const batch = new Array(inputs).fill(person);
  const begin = performance.now();
  const perSecond = () => (runs * 1000) / (performance.now() - begin);
  let left = runs / inputs;
  const sendAll = async () => {
    while (left-- > 0) await server.startBulk('noop', batch);
  };
  await Promise.all(Array.from({ length: connections }, sendAll));
  const accepted = perSecond();
  await server.settled();
  return { accepted, ended: perSecond() };
}
