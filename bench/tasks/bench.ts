/**
 * The tasks that the benchmarks run. They are tasks like any other: nothing in the server knows of them.
 */
import { EventEmitter, once } from 'node:events';
import { defineState, defineTask, type TaskContext } from 'spyglass-tasks';
import { z } from 'zod';

const Person = z.object({ name: z.string(), age: z.number().int() });

const Talk = z.object({
  /** Each begins when `go` has been started once more. */
  rounds: z.number().int(),
  ticks: z.number().int(),
  periodMs: z.number(),
  messagesPerTick: z.number().int(),
});

const Storm = z.object({ calls: z.number().int() });

/** How often `go` has been started, and who waits for it. */
let signals = 0;
const signalled = new EventEmitter().setMaxListeners(0);

const lateness: number[] = [];

/** How long each run of `single` began after the end of the one before, in milliseconds. */
const gaps: number[] = [];
let singleEnded = Number.NaN;
const picked = new EventEmitter();

/** Those whom `release` lets end, by their places. */
const held = new Map<number, () => void>();

async function signal(number: number, task: TaskContext): Promise<void> {
  while (signals < number) await once(signalled, 'go', { signal: task.signal });
}

export const bench = defineState('bench', {
  /** Nothing but what the server itself does: validate, store, execute, store. */
  noop: defineTask({ input: Person }, (_task, { name, age }) => `${name}, ${age}`),

  /** Log lines at a steady pace, a round for each `go`; one more `go` ends it. Lines, since updates of one tick would merge. */
  chatter: defineTask({ input: Talk }, async (task, { rounds, ticks, periodMs, messagesPerTick }) => {
    const first = signals + 1;
    for (let round = 0; round < rounds; round++) {
      await signal(first + round, task);
      const begin = performance.now();
      for (let tick = 1; tick <= ticks; tick++) {
        for (let message = 1; message <= messagesPerTick; message++) {
          task.log('GET /index.html answered 200 in 12 ms');
        }
        await task.sleep(Math.max(0, begin + tick * periodMs - performance.now()));
      }
    }
    await signal(first + rounds, task);
  }),

  /** Tells how late it begins. */
  punctual: defineTask({ input: z.object({ due: z.number() }) }, (_task, { due }) => {
    lateness.push(Date.now() - due);
  }),

  /** How late those have begun, in milliseconds. */
  lateness: defineTask({}, () => lateness),

  /** One at a time, with a pause: a thousand of them last for some seconds. */
  single: defineTask({ concurrency: 1 }, async (task) => {
    gaps.push(performance.now() - singleEnded);
    picked.emit('one');
    await task.sleep(10);
    singleEnded = performance.now();
  }),

  /** How many of them have begun. */
  singles: defineTask({}, () => gaps.length),

  /** The next so many gaps between two of them, without the first: it may be as long as a pause was. */
  picks: defineTask({ input: z.object({ count: z.number().int() }) }, async (task, { count }) => {
    const from = gaps.length + 1;
    while (gaps.length < from + count) await once(picked, 'one', { signal: task.signal });
    return gaps.slice(from, from + count);
  }),

  /** To be paused. */
  idle: defineTask({}, () => {}),

  /** Ends when it is released. */
  held: defineTask({ input: z.object({ place: z.number().int() }) }, async (task, { place }) => {
    await new Promise<void>((resolve, reject) => {
      held.set(place, resolve);
      task.signal.addEventListener('abort', () => reject(task.signal.reason));
    });
  }),

  /** How many of them there are. */
  holding: defineTask({}, () => held.size),

  /** Lets one end; without a place, all. */
  release: defineTask({ input: z.object({ place: z.number().int().optional() }) }, (_task, { place }) => {
    const places = place === undefined ? [...held.keys()] : [place];
    for (const each of places) {
      held.get(each)?.();
      held.delete(each);
    }
  }),

  go: defineTask({}, () => {
    signals++;
    signalled.emit('go');
  }),

  /** As many updates as it can make; returns how long they took it. */
  storm: defineTask({ input: Storm }, async (task, { calls }) => {
    const begin = performance.now();
    for (let call = 1; call <= calls; call++) {
      await task.update({ progress: (100 * call) / calls, message: `call ${call}` });
    }
    return { seconds: (performance.now() - begin) / 1000 };
  }),
});
