/**
 * How soon one of many callers who wait for the end of a run has its answer.
 */
import type { Bench } from './harness/bench.ts';
import { number, type Row } from './harness/row.ts';
import { percentile, spread } from './harness/spread.ts';

const bulk = 1000;
const woken = 500;

export async function measure(bench: Bench): Promise<Row[]> {
  const waiters = bench.quick ? 1000 : 10_000;
  const server = await bench.server(undefined, ['--concurrency', String(2 * waiters)]);
  const ids: string[] = [];
  for (let from = 0; from < waiters; from += bulk) {
    const places = Array.from({ length: bulk }, (_, place) => ({ place: from + place }));
    ids.push(...(await server.startBulk('held', places)));
  }
  const peer = await bench.script('waiters');
  const times: number[] = [];
  for (let round = 0; round < bench.rounds; round++) {
    // A wait is for a minute at the most: each round has its own.
    await peer.call('wait', { port: server.port, ids: ids.slice(round * woken) });
    const delays: number[] = [];
    for (let place = round * woken; place < (round + 1) * woken; place++) {
      await server.startRun('release', { place });
      delays.push(await peer.call<number>('answered', ids[place]));
    }
    times.push(percentile(delays, 99));
    await peer.call('leave');
  }
  return [
    {
      question: `from the end of a run to the answer of the one who waits for it, among ${number(waiters)} who wait, p99`,
      baseline: '–',
      measured: spread(times),
      unit: ' ms',
      goal: { atMost: 20 },
      note: `${woken} runs to a round; with the commit of the end, and a round trip of the harness's own between two`,
    },
  ];
}
