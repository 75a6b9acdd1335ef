/**
 * Whether a million runs that wait are felt: by starts of another task, and by the next of them.
 */
import type { Bench } from './harness/bench.ts';
import { number, type Row } from './harness/row.ts';
import type { Server } from './harness/server.ts';
import { interleave, ratios, spread } from './harness/spread.ts';
import { startsPerSecond } from './starts.ts';

const few = 1000;
const bulk = 10_000;
/** Of the task with `concurrency: 1`, so many are picked to a round. */
const picks = 1000;
const seconds = 3;

export async function measure(bench: Bench): Promise<Row[]> {
  const many = bench.quick ? 100_000 : 1_000_000;
  const servers = { few: await bench.server(), many: await bench.server() };
  for (const server of Object.values(servers))
    for (const task of ['idle', 'single']) server.setMode('pause', task);
  bench.say(`starting ${number(many)} runs that wait`);
  await fill(servers.few, 'idle', few);
  await fill(servers.many, 'idle', many / 2);
  await fill(servers.many, 'single', many / 2);
  const starting = await interleave(bench.rounds, {
    few: () => startsPerSecond(servers.few, seconds),
    many: () => startsPerSecond(servers.many, seconds),
  });
  const picking = await interleave(bench.rounds, {
    few: () => pickMicros(servers.few, true),
    many: () => pickMicros(servers.many, false),
  });
  const memory = servers.many.memory();
  const { data } = servers.many;
  await servers.many.stop();
  const again = await bench.server(data);
  const figure = (values: readonly number[]) => number(spread(values).median);
  const common = { unit: ' ×', goal: { atMost: 1.2 } };
  return [
    {
      ...common,
      question: `start rate with ${number(many)} runs waiting`,
      baseline: `with ${number(few)}: ${figure(starting.few)}/s`,
      measured: spread(ratios(starting.few, starting.many)),
      note: `so many times slower: ${figure(starting.many)}/s`,
    },
    {
      ...common,
      question: `from the end of one run to the next of ${number(many / 2)} that wait for it, one at a time`,
      baseline: `of ${number(few)}: ${figure(picking.few)} µs`,
      measured: spread(ratios(picking.many, picking.few)),
      note: `${figure(picking.many)} µs, two commits in it`,
    },
    {
      question: `memory with ${number(many)} runs waiting`,
      baseline: '–',
      measured: spread([memory.pssBytes / 1e6]),
      unit: ' MB',
      goal: null,
      note: 'PSS, after the above',
    },
    {
      question: `time to listening with ${number(many)} runs waiting`,
      baseline: '–',
      measured: spread([again.startMs]),
      unit: ' ms',
      goal: null,
    },
  ];
}

async function fill(server: Server, task: string, runs: number): Promise<void> {
  for (let left = runs; left > 0; left -= bulk) {
    await server.startBulk(task, new Array(Math.min(left, bulk)).fill(null));
  }
}

/** How long each of the picks took. `refilled`: so many wait as are picked. */
async function pickMicros(server: Server, refilled: boolean): Promise<number> {
  if (refilled) await fill(server, 'single', picks);
  const before = await server.resultOf<number>('singles');
  server.setMode('resume', 'single');
  const begin = performance.now();
  let done = before;
  while (done < before + picks) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    done = await server.resultOf<number>('singles');
    if (performance.now() - begin > 60_000) throw new Error(`${done - before} runs in a minute`);
  }
  const micros = ((performance.now() - begin) * 1000) / (done - before);
  server.setMode('pause', 'single');
  return micros;
}
