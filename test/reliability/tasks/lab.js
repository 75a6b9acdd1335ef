/**
 * Tasks with modes for the tests of this folder. Plain JavaScript, so that a server which is killed fifty times is soon back.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { setTimeout as later, setImmediate as nextTurn } from 'node:timers/promises';
import { defineState, defineTask } from 'spyglass-tasks';
import { z } from 'zod';

/** Tells of itself in `steps` turns of the event loop, one in three of them a log line. */
async function talk(task, steps) {
  for (let step = 1; step <= steps; step++) {
    if (step % 3 === 0) task.log(`step ${step}`, { step });
    else task.update({ progress: (100 * step) / steps, message: `step ${step} of ${steps}` });
    await nextTurn();
  }
}

export const lab = defineState('lab', {
  quick: defineTask({}, () => 'quick'),

  /** Its result stands nowhere before its end. */
  mirror: defineTask({ input: z.object({ text: z.string() }) }, (_task, { text }) =>
    [...text].reverse().join(''),
  ),

  anything: defineTask({ input: z.unknown() }, () => 'anything'),

  progress: defineTask({}, async (task) => {
    await talk(task, 12);
    return 'progress';
  }),

  lines: defineTask({}, async (task) => {
    for (let line = 0; line < 40; line++) {
      task.log(`line ${line}`, { line });
      if (line % 4 === 3) await nextTurn();
    }
    return 'lines';
  }),

  /** As short and as talkative as asked. */
  brief: defineTask(
    { input: z.object({ ms: z.number(), steps: z.number() }) },
    async (task, { ms, steps }) => {
      await talk(task, steps >> 1);
      if (ms > 0) await task.sleep(ms);
      await talk(task, steps - (steps >> 1));
      return 'brief';
    },
  ),

  /** Takes a while, says how far it is, heeds its signal. */
  work: defineTask({ input: z.object({ ms: z.number() }).default({ ms: 300 }) }, async (task, { ms }) => {
    for (let step = 1; step <= 10; step++) {
      await task.sleep(ms / 10);
      await task.update({ progress: step * 10, message: `attempt ${task.attempt}` });
    }
    return 'work';
  }),

  /** Not to be tried again once its process has died. */
  fragile: defineTask({ onCrash: 'fail' }, async (task) => {
    await task.update({ progress: 1 });
    await task.sleep(250);
    return 'fragile';
  }),

  /** Ends when it is cancelled, and not before. */
  endless: defineTask({}, async (task) => {
    await task.update({ progress: 1, message: `attempt ${task.attempt}` });
    await task.sleep(86_400_000);
  }),

  /** As endless, and not to be tried again once its process has died. */
  brittle: defineTask({ onCrash: 'fail' }, async (task) => {
    await task.update({ progress: 1, message: `attempt ${task.attempt}` });
    await task.sleep(86_400_000);
  }),

  /** Does not hear its signal. */
  deaf: defineTask({}, async (task) => {
    await task.update({ progress: 1, message: `attempt ${task.attempt}` });
    await later(86_400_000);
  }),

  /** Returns once the file `gate` is there, and leaves one beside it as it does. */
  gated: defineTask({ input: z.object({ gate: z.string() }) }, async (task, { gate }) => {
    while (!existsSync(gate)) await task.sleep(5);
    writeFileSync(`${gate}.passed`, '');
    return 'gated';
  }),

  /** Once the file `gate` is there, says a lot, turn by turn, then that it has; and then waits to be cancelled. */
  chatter: defineTask(
    { input: z.object({ gate: z.string(), lines: z.number(), size: z.number(), perTurn: z.number() }) },
    async (task, { gate, lines, size, perTurn }) => {
      while (!existsSync(gate)) await task.sleep(5);
      const text = 'x'.repeat(size);
      for (let line = 1; line <= lines; line++) {
        task.log(text, { line });
        if (line % perTurn === 0) await nextTurn();
      }
      await task.update({ message: 'said it all' });
      await task.sleep(86_400_000);
    },
  ),

  /** Leaves a promise rejected and a timer that throws, and completes all the same. */
  stray: defineTask({}, async (task) => {
    Promise.reject(new Error(`a promise of ${task.id}`));
    setTimeout(() => {
      throw new Error(`a timer of ${task.id}`);
    }, 5);
    await task.sleep(50);
    return 'stray';
  }),
});
