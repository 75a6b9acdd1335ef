/**
 * How long one start takes when nothing else goes on, next to what cannot be left out: a request and one fdatasync.
 */
import type { Bench } from './harness/bench.ts';
import { fdatasyncMs } from './harness/disk.ts';
import { Connection, post } from './harness/http.ts';
import { number, type Row } from './harness/row.ts';
import { person, startPath } from './harness/server.ts';
import { interleave, percentile, ratios, spread } from './harness/spread.ts';

const requests = 1000;

export async function measure(bench: Bench): Promise<Row[]> {
  const server = await bench.server();
  const bare = await bench.peer('bareRoute');
  const starts = await Connection.open(server.port);
  const routes = await Connection.open(bare.port);
  const start = post(startPath('noop'), person);
  const route = post('/start', person);
  const ms = await interleave(bench.rounds, {
    start: async () => percentile(await starts.times(requests, () => start), 50),
    route: async () => percentile(await routes.times(requests, () => route), 50),
    fdatasync: async () => percentile(fdatasyncMs(server.data), 50),
  });
  starts.close();
  routes.close();
  const least = ms.route.map((route, round) => route + (ms.fdatasync[round] as number));
  const [route50, disk50] = [spread(ms.route).median, spread(ms.fdatasync).median];
  return [
    {
      question: 'the same from one connection, p50 latency',
      baseline: `bare route p50 + one fdatasync p50: ${number(route50)} + ${number(disk50)} ms`,
      measured: spread(ratios(ms.start, least)),
      unit: ' ×',
      goal: { atMost: 1.5 },
      note: `p50 ${number(spread(ms.start).median)} ms`,
    },
  ];
}
