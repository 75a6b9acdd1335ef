/**
 * What a run's whole life costs a start that uses none of it: the server as it was before, built from its commit, next to the one
 * that there is now.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Bench } from './harness/bench.ts';
import { number, type Row } from './harness/row.ts';
import type { Server } from './harness/server.ts';
import { interleave, ratios, spread } from './harness/spread.ts';
import { startsPerSecond } from './starts.ts';

/** The last commit whose runs were accepted, executed once and ended. */
const commit = 'cb2611e';
const seconds = 4;
/** The figure is close to its goal, and the machine is not that steady. */
const moreRounds = 3;

const checkout = fileURLToPath(new URL('..', import.meta.url));

export async function measure(bench: Bench): Promise<Row[]> {
  const root = mkdtempSync(join(tmpdir(), 'spyglass-before-'));
  try {
    build(root);
    const servers = { before: await bench.server(undefined, [], root), now: await bench.server() };
    const { before, now } = await interleave(bench.rounds * moreRounds, {
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
        note: `${number(spread(rates(now)).median)} starts/s; ${bench.rounds * moreRounds} rounds`,
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
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

/** With the packages that are installed now. */
function build(root: string): void {
  const archive = execFileSync('git', ['-C', checkout, 'archive', commit], { maxBuffer: 2 ** 28 });
  execFileSync('tar', ['-x', '-C', root], { input: archive });
  symlinkSync(join(checkout, 'node_modules'), join(root, 'node_modules'));
  execFileSync(
    process.execPath,
    [join(checkout, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.build.json'],
    {
      cwd: root,
    },
  );
}

interface Cost {
  perSecond: number;
  cpuMicros: number;
}

async function startCost(server: Server): Promise<Cost> {
  const before = await server.cpuMicros();
  const begin = performance.now();
  const perSecond = await startsPerSecond(server, seconds);
  const runs = (perSecond * (performance.now() - begin)) / 1000;
  return { perSecond, cpuMicros: ((await server.cpuMicros()) - before) / runs };
}
