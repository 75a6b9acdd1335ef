/**
 * What a run's whole life costs a start that uses none of it: the server as it was before, built from its commit, next to the one
 * that there is now.
 */
import { execFileSync } from 'node:child_process';
import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Bench } from './harness/bench.ts';
import { number, type Row } from './harness/row.ts';
import type { Server } from './harness/server.ts';
import { interleave, ratios, spread } from './harness/spread.ts';
import { startFor } from './starts.ts';

/** The last commit whose runs were accepted, executed once and ended. */
const commit = 'cb2611e';
const loadSeconds = 4;
/** The figure is close to its goal, and the machine is not that steady. */
const moreRounds = 3;

const checkout = fileURLToPath(new URL('..', import.meta.url));

export async function measure(bench: Bench): Promise<Row[]> {
  if (!hasHistory()) {
    bench.say(`not measured: there is no commit ${commit} here, as in a copy without its git history`);
    return [];
  }
  const root = bench.folder();
  build(root);
  const servers = { before: await bench.server(undefined, [], root), now: await bench.server() };
  const rounds = bench.rounds * moreRounds;
  const { before, now } = await interleave(rounds, {
    before: () => startCost(servers.before),
    now: () => startCost(servers.now),
  });
  const rates = (costs: Cost[]) => costs.map(({ perSecond }) => perSecond);
  const micros = (costs: Cost[]) => costs.map(({ cpuMicros }) => cpuMicros);
  return [
    {
      question: 'starts per second of a task that uses no option, 64 connections',
      baseline: `the same before there were any (${commit}): ${number(spread(rates(before)).median)}/s`,
      measured: spread(ratios(rates(now), rates(before))),
      unit: ' ×',
      goal: { atLeast: 0.95 },
      note: `${number(spread(rates(now)).median)} starts/s; ${rounds} rounds`,
    },
    {
      question: 'server CPU of such a start, all threads',
      baseline: `before: ${number(spread(micros(before)).median)} µs`,
      measured: spread(ratios(micros(now), micros(before))),
      unit: ' ×',
      goal: null,
      note: `${number(spread(micros(now)).median)} µs`,
    },
  ];
}

function hasHistory(): boolean {
  try {
    execFileSync('git', ['-C', checkout, 'cat-file', '-e', `${commit}^{commit}`], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** With the packages that are installed now. */
function build(root: string): void {
  const archive = execFileSync('git', ['-C', checkout, 'archive', commit], { maxBuffer: 2 ** 28 });
  execFileSync('tar', ['-x', '-C', root], { input: archive });
  symlinkSync(join(checkout, 'node_modules'), join(root, 'node_modules'));
  const compiler = join(checkout, 'node_modules/typescript/bin/tsc');
  execFileSync(process.execPath, [compiler, '-p', 'tsconfig.build.json'], { cwd: root });
}

interface Cost {
  perSecond: number;
  cpuMicros: number;
}

async function startCost(server: Server): Promise<Cost> {
  const before = await server.cpuMicros();
  const { starts, seconds } = await startFor(server, loadSeconds);
  return { perSecond: starts / seconds, cpuMicros: ((await server.cpuMicros()) - before) / starts };
}
