/**
 * Which runs are at work on this event loop, and how much of its time each takes: counted while somebody watches the loop.
 *
 * Two things are measured. The synchronous beginning of each method, always: two looks at the clock. And each callback and
 * continuation that belongs to a run, by a hook of `async_hooks`: that costs all promises of the process something, so
 * `currentRun.ts` asks for it only while attempts begin at a leisurely rate.
 */
import { createHook } from 'node:async_hooks';
import type { LeasedRun } from './engine.ts';
import type { TaskDefinition } from './task.ts';

/** Less than this at the beginning of a method is nobody's block, nor a part of one. */
const leastMs = 1;

/**
 * Each callback costs 150 to 300 ns more while it is measured. More of them than this between two looks, and they are let alone
 * for a while: a task that awaits its every update, say, is not to be slowed down by half so that nobody blocks the loop unseen.
 */
const mostCallbacks = 5000;
const restMs = 10_000;

/** How many attempts of a task are at work. A count, and no set of runs: each attempt of the server pays for it. */
export interface AtWork {
  readonly state: string;
  readonly task: string;
  runs: number;
}

const atWork = new Map<TaskDefinition, AtWork>();
let allRuns = 0;
let spent = new Map<LeasedRun, number>();
let watchers = 0;

/** The method of `task` is about to be called for `run`. What is returned is for `endWork`. */
export function beginWork(task: TaskDefinition, run: LeasedRun): AtWork {
  let work = atWork.get(task);
  if (!work) {
    work = { state: run.state, task: run.task, runs: 0 };
    atWork.set(task, work);
  }
  work.runs++;
  allRuns++;
  return work;
}

export function endWork(work: AtWork): void {
  work.runs--;
  if (--allRuns === 0) ignoreCallbacks();
}

/** The tasks with attempts whose methods have not ended. */
export function tasksAtWork(): readonly AtWork[] {
  return [...atWork.values()].filter(({ runs }) => runs > 0);
}

/** Counts from now on; the returned function ends that. */
export function watchRunTime(): () => void {
  if (watchers++ === 0) restsUntil = 0;
  return () => {
    if (--watchers > 0) return;
    ignoreCallbacks();
    spent.clear();
  };
}

/** What each run took of the loop's time since the last call, in milliseconds. */
export function takeSpent(): ReadonlyMap<LeasedRun, number> {
  // Of callbacks that are running now, what they took so far.
  switchTo(current);
  if (callbacks > mostCallbacks) {
    ignoreCallbacks();
    restsUntil = performance.now() + restMs;
  }
  callbacks = 0;
  const taken = spent;
  if (taken.size > 0) spent = new Map();
  return taken;
}

/** `run` had the loop for so long, without letting it turn. */
export function spend(run: LeasedRun, ms: number): void {
  if (ms >= leastMs && watchers > 0) add(run, ms);
}

function add(run: LeasedRun, ms: number): void {
  spent.set(run, (spent.get(run) ?? 0) + ms);
}

/** Whose callback is running, since when, and whose callbacks it runs inside of. */
let current: LeasedRun | undefined;
let since = 0;
const outer: (LeasedRun | undefined)[] = [];
let whose: () => LeasedRun | undefined = () => undefined;
let isMeasuring = false;
let callbacks = 0;
let restsUntil = 0;

const hook = createHook({
  before() {
    callbacks++;
    outer.push(current);
    switchTo(whose());
  },
  after() {
    // The callback in which measuring began has no `before`.
    switchTo(outer.pop());
  },
});

/** Measures callbacks, too. `currentRun` says whose callback is being run. */
export function measureCallbacks(currentRun: () => LeasedRun | undefined): void {
  if (isMeasuring || watchers === 0 || performance.now() < restsUntil) return;
  isMeasuring = true;
  whose = currentRun;
  hook.enable();
}

export function ignoreCallbacks(): void {
  if (!isMeasuring) return;
  isMeasuring = false;
  hook.disable();
  switchTo(undefined);
  outer.length = 0;
}

function switchTo(next: LeasedRun | undefined): void {
  // What belongs to nobody needs no time, and most of what a server does is that.
  if (current === undefined && next === undefined) return;
  const now = performance.now();
  if (current !== undefined) add(current, now - since);
  current = next;
  since = now;
}
