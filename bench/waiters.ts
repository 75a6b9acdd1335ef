/**
 * How soon callers who wait for the end of a run have their answer: one of many, and many at once.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Bench } from './harness/bench.ts';
import type { Child } from './harness/child.ts';
import { number, type Row } from './harness/row.ts';
import type { Server } from './harness/server.ts';
import { interleave, percentile, spread } from './harness/spread.ts';

const waiters = 10_000;
/** So many runs are ended one by one in a round. */
const woken = 500;
/** For the last of those who have asked to be waiting. */
const settleMs = 500;

export async function measure(bench: Bench): Promise<Row[]> {
  const server = await bench.server(undefined, ['--concurrency', String(2 * waiters)]);
  const peer = await bench.script('waiters');
  const { one, all } = await interleave(bench.rounds, {
    one: () => endOneByOne(server, peer),
    all: () => endForAll(server, peer),
  });
  const many = number(waiters);
  const ms = (rounds: number[][], percent: number) =>
    spread(rounds.map((round) => percentile(round, percent)));
  const blocked = spread(all.map(({ loopMs }) => loopMs)).median;
  const together = all.map(({ delays }) => delays);
  return [
    {
      question: `from the end of a run to the answer of its caller, among ${many} who wait for a run each, p99`,
      baseline: '–',
      measured: ms(one, 99),
      unit: ' ms',
      goal: { atMost: 20 },
      note: `p50 ${number(ms(one, 50).median)} ms; ${woken} runs to a round, with the commit of each end`,
    },
    {
      question: `the same when all ${many} wait for the same run, p99 of their answers`,
      baseline: '–',
      measured: ms(together, 99),
      unit: ' ms',
      goal: null,
      note: `p50 ${number(ms(together, 50).median)} ms; the event loop is held up for ${number(blocked)} ms at the most meanwhile`,
    },
  ];
}

async function endOneByOne(server: Server, peer: Child): Promise<number[]> {
  await peer.call('start', { port: server.port, count: waiters });
  while ((await server.resultOf<number>('holding')) < waiters) await pause(50);
  const delays: number[] = [];
  for (let place = 0; place < woken; place++) {
    await server.startRun('release', { place });
    delays.push(await peer.call<number>('delayOf', place));
  }
  await server.startRun('release', {});
  await peer.call('delays');
  return delays;
}

async function endForAll(server: Server, peer: Child): Promise<{ delays: number[]; loopMs: number }> {
  const id = await server.startRun('held', { place: 0 });
  await peer.call('read', { port: server.port, count: waiters, id });
  await pause(settleMs);
  await server.watchDelay();
  await server.startRun('release', { place: 0 });
  const delays = await peer.call<number[]>('delays');
  return { delays, loopMs: (await server.delay()).max };
}
