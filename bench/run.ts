/**
 * `npm run bench`: answers the questions one after the other and prints a table.
 *
 *     npm run bench                             all of them, five rounds each
 *     npm run bench -- starts fanout            these
 *     npm run bench -- --rounds 9 --markdown    as docs/benchmarks.md shows them
 */
import { cpus, loadavg, totalmem } from 'node:os';
import { parseArgs } from 'node:util';
import { Bench } from './harness/bench.ts';
import { loadTool } from './harness/load.ts';
import { isReached, markdownTable, number, type Row, textTable } from './harness/row.ts';

const names = [
  'starts',
  'latency',
  'fanout',
  'crowd',
  'roundTrip',
  'watchers',
  'stored',
  'memory',
  'updates',
  'before',
  'delayed',
  'waiting',
  'bulk',
  'waiters',
] as const;

const help = `npm run bench -- [${names.join('] [')}]
  --rounds <number>  how often each measurement is repeated (default 5)
  --quick            100,000 runs where it would be 1,000,000: minutes less
  --markdown         print the table as docs/benchmarks.md has it
`;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '5' },
    quick: { type: 'boolean', default: false },
    markdown: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

const rounds = Number(options.rounds);
const unknown = positionals.filter((name) => !names.includes(name as (typeof names)[number]));
if (options.help || unknown.length > 0 || !(rounds >= 1)) {
  if (unknown.length > 0) process.stderr.write(`There is no benchmark ${unknown.join(', ')}.\n`);
  process.stderr.write(help);
  process.exit(options.help ? 0 : 2);
}

/** What else the machine did: the load average of the last minute as each question's turn came. */
const loads: number[] = [];

async function answer(name: string): Promise<Row[]> {
  const begin = performance.now();
  const load = loadavg()[0] as number;
  loads.push(load);
  process.stderr.write(`${name} (load average ${number(load)})\n`);
  const bench = new Bench(rounds, options.quick);
  try {
    const { measure } = (await import(`./${name}.ts`)) as { measure(bench: Bench): Promise<Row[]> };
    return await measure(bench);
  } finally {
    await bench.close();
    bench.say(`took ${number((performance.now() - begin) / 1000)} s`);
  }
}

const rows: Row[] = [];
for (const name of positionals.length > 0 ? names.filter((name) => positionals.includes(name)) : names) {
  try {
    rows.push(...(await answer(name)));
  } catch (error) {
    process.exitCode = 1;
    process.stderr.write(`  not measured: ${(error as Error).stack}\n`);
  }
}

const missed = rows.filter((row) => !isReached(row)).length;
const caption = [
  `Measured on ${new Date().toISOString().slice(0, 10)}: ${cpus().length} CPUs, ${number(totalmem() / 2 ** 30)} GiB`,
  `Node ${process.versions.node}, ${rounds} rounds, load by ${loadTool}`,
  `load average before the parts ${number(Math.min(...loads))} to ${number(Math.max(...loads))}.`,
].join(', ');
const table = options.markdown ? markdownTable(rows) : textTable(rows);
process.stdout.write(`\n${table}\n\n${caption}\n`);
process.stderr.write(missed === 0 ? 'Every goal was reached.\n' : `${missed} goals were not reached.\n`);
