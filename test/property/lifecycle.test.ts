import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { SqliteEngine } from '../../src/engines/sqlite/engine.ts';
import { seededRandom } from '../support/random.ts';
import { concurrency, policies, threads } from './lab.ts';
import { Life } from './life.ts';
import { SameThreadStore } from './sameThreadStore.ts';
import { type Step, steps } from './steps.ts';

/** Where a commit waits for no disk: it is as real a file, and a power failure is not what this is about. */
const memory = '/dev/shm';
const root = mkdtempSync(join(existsSync(memory) ? memory : tmpdir(), 'spyglass-property-'));
const closed = join(root, 'closed');

const usualSeed = 516_828_157;
const sequences = Number(process.env.SPYGLASS_TEST_SEQUENCES ?? 10_000);

beforeAll(async () => {
  mkdirSync(closed);
  const engine = new SqliteEngine(
    { data: closed, concurrency, threads, keepMs: 1e12, keepRuns: 1e9 },
    { clock: systemClock, log: () => {}, policies, startStore: (settings) => new SameThreadStore(settings) },
  );
  await engine.open();
  await engine.close();
});

afterAll(() => rmSync(root, { recursive: true, force: true }));

test(`${sequences} random sequences leave the runs as the model says`, async () => {
  // The same sequences each time, so that a change is what makes it fail, and not chance. SPYGLASS_TEST_SEED asks for others.
  const seed = process.env.SPYGLASS_TEST_SEED === undefined ? usualSeed : seededRandom('property').seed;
  const path = process.env.SPYGLASS_TEST_PATH;
  const begun = performance.now();
  let count = 0;
  let stepCount = 0;
  await fc.assert(
    fc.asyncProperty(steps, async (sequence: Step[]) => {
      count++;
      stepCount += sequence.length;
      const life = new Life(root, closed);
      try {
        await life.run(sequence);
      } finally {
        life.dispose();
      }
    }),
    { numRuns: sequences, seed, ...(path && { path }) },
  );
  const seconds = Math.round((performance.now() - begun) / 1000);
  console.info(`property: ${count} sequences of ${stepCount} steps in all, in ${seconds} s`);
}, 600_000);
