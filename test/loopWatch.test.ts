import { describe, expect, onTestFinished, test } from 'vitest';
import { createLog } from '../src/logging.ts';
import { type DefinedTask, defineTask } from '../src/task.ts';
import { type Embedded, embed } from './support/embedded.ts';

interface Line {
  level: string;
  message: string;
  [field: string]: unknown;
}

/** A server of these tasks, and what its log warns of. */
async function watched(tasks: Record<string, DefinedTask>): Promise<Embedded & { warnings: Line[] }> {
  const warnings: Line[] = [];
  const log = createLog({
    level: 'warn',
    format: 'json',
    write: (line) => void warnings.push(JSON.parse(line)),
  });
  return { ...(await embed(tasks, { log })), warnings };
}

function spin(ms: number): void {
  for (const end = performance.now() + ms; performance.now() < end; );
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Starts so many runs at once that they are not told apart any more, until the second is over in which they began. */
async function crowd({ start }: Embedded): Promise<void> {
  await Promise.all(Array.from({ length: 300 }, () => start('quick')));
  onTestFinished(() => new Promise((resolve) => setTimeout(resolve, 1000)));
}

/** Until the watch has looked twice. */
const looks = () => new Promise((resolve) => setTimeout(resolve, 150));

function blocked(id: string, task: string, atLeastMs: number) {
  return {
    level: 'warn',
    message: expect.stringMatching(/^A task blocked the event loop for \d+ ms\. .*isolate: true/),
    task_id: id,
    state: 'lab',
    task,
    blocked_ms: expect.toSatisfy((ms: number) => ms >= atLeastMs),
  };
}

describe('a task that blocks the event loop is named, with its run and the time it took', () => {
  test('when it does so at its beginning', async () => {
    const { start, warnings } = await watched({ spin: defineTask({}, () => spin(300)) });
    const { task_id: id } = await start('spin');
    await expect.poll(() => warnings).toMatchObject([blocked(id, 'spin', 290)]);
  });

  test('when it does so after it has waited, among others that do not', async () => {
    const { start, warnings } = await watched({
      spin: defineTask({}, async (task) => {
        await task.sleep(30);
        spin(300);
      }),
      patient: defineTask({}, (task) => task.sleep(500)),
    });
    await start('patient');
    await start('patient');
    const { task_id: id } = await start('spin');
    await expect.poll(() => warnings).toMatchObject([blocked(id, 'spin', 290)]);
  });

  test('when it does so in many small steps that never let the loop turn', async () => {
    const { start, warnings } = await watched({
      steps: defineTask({}, async () => {
        await turn();
        for (const end = performance.now() + 600; performance.now() < end; ) await null;
      }),
      patient: defineTask({}, (task) => task.sleep(500)),
    });
    await start('patient');
    const { task_id: id } = await start('steps');
    await expect.poll(() => warnings).toMatchObject([blocked(id, 'steps', 200)]);
  });
});

test('a task that blocks again and again is told once, and then counted', async () => {
  const { start, warnings, server } = await watched({
    spin: defineTask({}, async (task) => {
      for (let i = 0; i < 4; i++) {
        await task.sleep(60);
        spin(250);
      }
    }),
  });
  const { task_id: id } = await start('spin');
  await new Promise((resolve) => setTimeout(resolve, 1500));
  expect(warnings).toMatchObject([blocked(id, 'spin', 240)]);
  await server.stop();
  expect(warnings[1]).toMatchObject({
    message: expect.stringMatching(/3 more times/),
    task_id: id,
    blocks: 3,
  });
});

test('tasks that let the loop turn, or take less than 200 ms at a time, are not named', async () => {
  const { start, warnings } = await watched({
    polite: defineTask({}, async () => {
      for (let i = 0; i < 50; i++) {
        spin(10);
        await turn();
      }
    }),
    short: defineTask({}, () => spin(100)),
  });
  await Promise.all([start('polite'), start('short')]);
  await new Promise((resolve) => setTimeout(resolve, 1000));
  await looks();
  expect(warnings).toEqual([]);
});

// Last, since a crowd is remembered for a second, and the runs of others are not told apart for as long.
test('a block that nobody can be told for names the tasks that were at work', async () => {
  const server = await watched({
    quick: defineTask({}, () => {}),
    late: defineTask({}, async () => {
      await turn();
      spin(350);
      await turn();
    }),
    patient: defineTask({}, (task) => task.sleep(1500)),
  });
  await crowd(server);
  const { start, warnings } = server;
  await Promise.all([start('patient'), start('patient'), start('late')]);
  await expect.poll(() => warnings).toHaveLength(1);
  expect(warnings[0]?.message).toMatch(
    /by which run cannot be told\. At work were .*lab\/patient \(2 runs\)/,
  );
});

test('a method that blocks as it begins is named also among so many that runs are not told apart any more', async () => {
  const server = await watched({
    quick: defineTask({}, () => {}),
    spin: defineTask({}, () => spin(300)),
  });
  await crowd(server);
  const { task_id: id } = await server.start('spin');
  await expect.poll(() => server.warnings).toMatchObject([blocked(id, 'spin', 290)]);
});
