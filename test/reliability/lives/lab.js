/**
 * Tasks that use what a run's whole life has, short enough for a server that is killed every second. Plain JavaScript, so that it is
 * soon back.
 */
import { defineState, defineTask } from 'spyglass-tasks';
import { z } from 'zod';

const Keyed = z.object({ key: z.string() });
const everySecond = '* * * * * *';

export const lab = defineState('lab', {
  /** Comes through with its third attempt. */
  flaky: defineTask(
    { retries: { attempts: 3, backoff: 'fixed', delayMs: 100, jitter: 'none' } },
    async (task) => {
      await task.update({ progress: 50 });
      if (task.attempt < 3) throw new Error(`attempt ${task.attempt}`);
      return 'flaky';
    },
  ),

  later: defineTask({ input: Keyed }, (_task, { key }) => key),

  /** One at a time for each key. */
  sole: defineTask(
    { input: Keyed, unique: { key: ({ key }) => key, whileActive: true } },
    async (task, { key }) => {
      await task.sleep(120);
      return key;
    },
  ),

  /** One for each key, for longer than the test takes. */
  once: defineTask(
    { input: Keyed, unique: { key: ({ key }) => key, forMs: 600_000 } },
    (_task, { key }) => key,
  ),

  tick: defineTask({ schedule: [{ cron: everySecond, catchUp: 'one' }] }, () => 'tick'),
  tock: defineTask({ schedule: [{ cron: everySecond, catchUp: 'none' }] }, () => 'tock'),
});
