/**
 * Tasks with modes that run in threads of their own, and a few that do not, for the tests of isolation and of the watch over
 * the event loop.
 */
import { execSync } from 'node:child_process';
import { setTimeout as later } from 'node:timers/promises';
import { isMainThread, threadId } from 'node:worker_threads';
import { defineState, defineTask, FatalError, RetryError } from 'spyglass-tasks';
import { z } from 'zod';

const isolate = true;
const span = z.object({ ms: z.number() });

/** Computes, and never lets the loop turn. `each` is called all the time. */
function spin(ms, each = () => {}) {
  const end = performance.now() + ms;
  while (performance.now() < end) each();
}

/** Attempts that this thread has seen. */
let attempts = 0;

export const lab = defineState('lab', {
  where: defineTask({ isolate }, () => ({
    isMainThread,
    threadId,
    attempts: ++attempts,
    cwd: process.cwd(),
  })),

  whole: defineTask({ isolate, input: z.object({ at: z.coerce.date() }) }, async (task, { at }) => {
    const { id, state, task: name, attempt, client } = task;
    await task.sleep(1);
    return { id, state, task: name, attempt, client, year: at.getUTCFullYear() };
  }),

  /** Says how far it is, every 100 ms, between which it computes. */
  spin: defineTask({ isolate, input: span }, (task, { ms }) => {
    const from = performance.now();
    for (let step = 1; step <= ms / 100; step++) {
      spin(from + step * 100 - performance.now());
      task.update({ progress: (step * 10_000) / ms, message: `step ${step}` });
    }
    return 'spun';
  }),

  /** Computes until it is killed, with its signal unheard. */
  forever: defineTask({ isolate }, (task) => {
    task.update({ message: 'at work' });
    for (;;);
  }),

  /** Computes until its signal is aborted, which it asks for all the time. */
  heeding: defineTask({ isolate }, (task) => {
    task.update({ message: 'at work' });
    while (!task.signal.aborted);
    throw task.signal.reason;
  }),

  endless: defineTask({ isolate }, async (task) => {
    task.update({ message: 'at work' });
    await task.sleep(86_400_000);
  }),

  brief: defineTask({ isolate, timeoutMs: 300 }, async (task) => {
    task.update({ message: 'at work' });
    await task.sleep(86_400_000);
  }),

  stubborn: defineTask({ isolate, timeoutMs: 300 }, (task) => {
    task.update({ message: 'at work' });
    for (;;);
  }),

  /** Inside of a call that no kill reaches, once the file `gate` is there. */
  frozen: defineTask(
    { isolate, input: z.object({ gate: z.string(), seconds: z.number() }) },
    (_task, { gate, seconds }) => {
      execSync(`touch '${gate}'; sleep ${seconds}`);
    },
  ),

  exits: defineTask({ isolate, input: z.object({ code: z.number() }) }, (task, { code }) => {
    task.log('one');
    task.log('two');
    process.exit(code);
  }),

  mislogs: defineTask({ isolate }, (task) => task.log('a line', ['no', 'fields'])),

  hungry: defineTask({ isolate, memoryMb: 64 }, (task) => {
    task.log('eating');
    const text = JSON.stringify(Array.from({ length: 1000 }, (_, i) => ({ i })));
    const kept = [];
    for (;;) kept.push(JSON.parse(text));
  }),

  /** Wants more in one call than V8 has left for it. */
  hoards: defineTask(
    { isolate, memoryMb: 64, input: z.enum(['array', 'push', 'map', 'text', 'huge']) },
    (task, what) => {
      task.log('hoarding');
      const kept = [];
      if (what === 'array') for (;;) kept.push(new Array(2e7).fill(1));
      if (what === 'push') for (let i = 0; ; i++) kept.push(i);
      if (what === 'map') for (const map = new Map(); ; ) map.set(map.size, map.size);
      if (what === 'huge') kept.push(new Array(5e7).fill(1));
      for (let text = 'x'; ; text += text) kept.push(Buffer.from(text).toString('latin1'));
    },
  ),

  /** Says far more than it may hold, to the console. */
  tells: defineTask({ isolate, memoryMb: 64 }, () => {
    const log = console.debug;
    for (let i = 0; i < 300; i++) log(Array.from({ length: 100_000 }, () => i).fill({ i }));
    return 'told';
  }),

  /** Leaves behind what goes on when it has ended: grows, computes, or ends its thread. */
  leaves: defineTask(
    { isolate, memoryMb: 64, input: z.enum(['growth', 'work', 'exit', 'growth unseen']) },
    async (task, what) => {
      const kept = [];
      const grow = () => kept.push(new Array(1_000_000).fill(1));
      if (what === 'growth') setInterval(grow, 10);
      if (what === 'growth unseen') setInterval(grow, 10).unref();
      if (what === 'work') setTimeout(() => spin(10_000), 20);
      if (what === 'exit') setTimeout(() => process.exit(1), 100);
      await task.log('leaving');
      return 'left';
    },
  ),

  /** Makes far more than it may hold, and keeps none of it for long; nor does its loop turn. */
  wasteful: defineTask({ isolate, memoryMb: 64 }, () => {
    let kept = [];
    for (let round = 0; round < 200; round++) {
      kept = kept.slice(-2);
      kept.push(Array.from({ length: 100_000 }, (_, i) => ({ i })));
    }
    return kept.length;
  }),

  throws: defineTask(
    { isolate, input: z.enum(['error', 'fatal', 'retry', 'text', 'result']) },
    (_task, what) => {
      if (what === 'error') throw new TypeError('thrown in a thread');
      if (what === 'fatal') throw new FatalError('no use');
      if (what === 'retry') throw new RetryError(1234, 'later');
      if (what === 'text') throw 'text';
      return 10n;
    },
  ),

  /** A log line and an update in turns, without ever letting the loop turn. */
  turns: defineTask({ isolate, input: z.object({ count: z.number() }) }, (task, { count }) => {
    for (let i = 1; i <= count; i++) {
      task.log(`line ${i}`, { i });
      task.update({ message: `after ${i}` });
    }
    return 'said';
  }),

  flood: defineTask(
    { isolate, input: z.object({ count: z.number(), size: z.number() }) },
    (task, { count, size }) => {
      const text = 'x'.repeat(size);
      for (let i = 1; i <= count; i++) task.log(text, { i });
      return 'said';
    },
  ),

  /** Leaves a promise rejected and a timer that throws, and completes all the same. */
  stray: defineTask({ isolate }, async (task) => {
    Promise.reject(new Error(`a promise of ${task.id}`));
    setTimeout(() => {
      throw new Error(`a timer of ${task.id}`);
    }, 5);
    await task.sleep(50);
    return 'stray';
  }),

  /** On the main loop: tells of itself every 20 ms, and how late it was at the most. */
  steady: defineTask({ input: span }, async (task, { ms }) => {
    let latest = 0;
    for (let at = performance.now(), end = at + ms; at < end; ) {
      await later(20);
      const now = performance.now();
      latest = Math.max(latest, now - at - 20);
      at = now;
      task.update({ message: `at ${Math.round(now)}` });
    }
    return { latest };
  }),
});
