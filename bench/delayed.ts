/**
 * Whether runs that were put off begin in time, many of them and under load.
 */
import type { Bench } from './harness/bench.ts';
import { load } from './harness/load.ts';
import { number, type Row } from './harness/row.ts';
import { person } from './harness/server.ts';
import { percentile, spread } from './harness/spread.ts';

/** So many become due together; and the time in which all do. */
const together = 100;
const withinMs = 60_000;
/** All are stored well before the first is due. */
const leadMs = 40_000;
const startsPerSecond = 1000;

export async function measure(bench: Bench): Promise<Row[]> {
  const runs = bench.quick ? 10_000 : 100_000;
  const spanMs = bench.quick ? withinMs / 10 : withinMs;
  const server = await bench.server();
  const batches = runs / together;
  const firstDue = Date.now() + (bench.quick ? leadMs / 4 : leadMs);
  for (let batch = 0; batch < batches; batch++) {
    const due = firstDue + Math.floor((batch * spanMs) / batches);
    const inputs = Array.from({ length: together }, () => ({ due }));
    await server.startBulk('punctual', inputs, `?run_at=${new Date(due).toISOString()}`);
  }
  if (Date.now() > firstDue) throw new Error('The first run was due before the last was stored');
  await new Promise((resolve) => setTimeout(resolve, firstDue - Date.now()));
  const { requests } = await load(server.startUrl('noop'), person, 32, spanMs / 1000, startsPerSecond);
  await server.settled();
  const lateness = await server.resultOf<number[]>('lateness');
  if (lateness.length !== runs) throw new Error(`${lateness.length} of ${runs} runs have begun`);
  const early = lateness.filter((ms) => ms < 0).length;
  if (early > 0) throw new Error(`${early} runs began before they were due`);
  return [
    {
      question: `${number(runs)} delayed runs due within ${spanMs / 1000} s, meanwhile ${number(requests / (spanMs / 1000))} starts/s: begun so long after their time, p99`,
      baseline: '–',
      measured: spread([percentile(lateness, 99)]),
      unit: ' ms',
      goal: { atMost: 1000 },
      note: `p50 ${number(percentile(lateness, 50))} ms, the latest ${number(Math.max(...lateness))} ms; ${together} become due together; one round`,
    },
  ];
}
