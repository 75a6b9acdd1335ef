/**
 * Whether a million runs that wait are felt: by starts of another task, and by the next of them.
 */
import type { Bench } from './harness/bench.ts';
import { number, type Row } from './harness/row.ts';
import type { Server } from './harness/server.ts';
import { interleave, percentile, ratios, spread } from './harness/spread.ts';
import { startsPerSecond } from './starts.ts';

const few = 1000;
const bulk = 10_000;
/**
 * Of the task with `concurrency: 1`, so many are seen to begin in a round: half a second, and more rounds for it, so that what else the
 * machine does meets both sides.
 */
const picks = 50;
const morePickRounds = 4;
const seconds = 3;

export async function measure(bench: Bench): Promise<Row[]> {
  const many = bench.quick ? 100_000 : 1_000_000;
  const lines = { few: await Line.open(bench), many: await Line.open(bench) };
  bench.say(`starting ${number(many)} runs that wait`);
  await lines.few.fill(few);
  await lines.many.fill(many);
  const starting = await interleave(bench.rounds, {
    few: () => startsPerSecond(lines.few.server, seconds),
    many: () => startsPerSecond(lines.many.server, seconds),
  });
  const working = await interleave(bench.rounds, {
    few: () => lines.few.whileWorkedOff(() => startsPerSecond(lines.few.server, seconds)),
    many: () => lines.many.whileWorkedOff(() => startsPerSecond(lines.many.server, seconds)),
  });
  const pickRounds = bench.rounds * morePickRounds;
  const picking = await interleave(pickRounds, {
    few: () => lines.few.whileWorkedOff(() => pickMs(lines.few.server)),
    many: () => lines.many.whileWorkedOff(() => pickMs(lines.many.server)),
  });
  const memory = { few: lines.few.server.memory(), many: lines.many.server.memory() };
  const listening = { few: await lines.few.listeningMs(bench), many: await lines.many.listeningMs(bench) };

  const figure = (values: readonly number[]) => number(spread(values).median);
  const common = { unit: ' ×', goal: { atMost: 1.2 } };
  const wait = `${number(many)} runs waiting`;
  return [
    {
      ...common,
      question: `start rate with ${wait}`,
      baseline: `with ${number(few)}: ${figure(starting.few)}/s`,
      measured: spread(ratios(starting.few, starting.many)),
      note: `so many times slower: ${figure(starting.many)}/s`,
    },
    {
      ...common,
      question: 'the same while half of them are worked off, one at a time',
      baseline: `with ${number(few)}: ${figure(working.few)}/s`,
      measured: spread(ratios(working.few, working.many)),
      note: `so many times slower: ${figure(working.many)}/s`,
    },
    {
      ...common,
      question: `from the end of one run to the beginning of the next, one at a time, with ${wait}, p50`,
      baseline: `with ${number(few)}: ${figure(picking.few)} ms`,
      measured: spread(ratios(picking.many, picking.few)),
      note: `${figure(picking.many)} ms, with the commit of both; ${pickRounds} rounds`,
    },
    {
      question: `memory with ${wait}`,
      baseline: `with ${number(few)}: ${number(memory.few.pssBytes / 1e6)} MB`,
      measured: spread([memory.many.pssBytes / 1e6]),
      unit: ' MB',
      goal: null,
      note: 'PSS, after the above',
    },
    {
      question: `time to listening with ${wait}`,
      baseline: `with ${number(few)}: ${number(listening.few)} ms`,
      measured: spread([listening.many]),
      unit: ' ms',
      goal: null,
    },
  ];
}

/** A server with two tasks whose runs wait: `idle` is paused for good, `single` is worked off one at a time while it is not. */
class Line {
  readonly server: Server;
  /** How many of each are to wait. */
  #size = 0;

  private constructor(server: Server) {
    this.server = server;
  }

  static async open(bench: Bench): Promise<Line> {
    const line = new Line(await bench.server());
    for (const task of ['idle', 'single']) line.server.setMode('pause', task);
    return line;
  }

  async fill(runs: number): Promise<void> {
    this.#size = runs / 2;
    await this.#start('idle', this.#size);
    await this.#start('single', this.#size);
  }

  /** Those that were worked off meanwhile are replaced, so that as many wait the next time. */
  async whileWorkedOff<T>(measure: () => Promise<T>): Promise<T> {
    const before = await this.#begun();
    this.server.setMode('resume', 'single');
    const measured = await measure();
    this.server.setMode('pause', 'single');
    const begun = (await this.#begun()) - before;
    if (begun >= this.#size) throw new Error(`All ${this.#size} that waited had begun before the end`);
    await this.#start('single', begun);
    return measured;
  }

  async listeningMs(bench: Bench): Promise<number> {
    await this.server.stop();
    const again = await bench.server(this.server.data);
    await again.stop();
    return again.startMs;
  }

  #begun(): Promise<number> {
    return this.server.resultOf('singles');
  }

  async #start(task: string, runs: number): Promise<void> {
    for (let left = runs; left > 0; left -= bulk) {
      await this.server.startBulk(task, new Array(Math.min(left, bulk)).fill(null));
    }
  }
}

async function pickMs(server: Server): Promise<number> {
  return percentile(await server.resultOf<number[]>('picks', { count: picks }), 50);
}
