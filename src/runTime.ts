/**
 * Which runs are at work on this event loop, and how much of its time each takes: counted while somebody watches the loop.
 *
 * Two things are measured. The synchronous beginning of each method, always: two looks at the clock. And each callback and
 * continuation that belongs to a run, by a hook of `async_hooks`: that costs all promises of the process something, so
 * `currentRun.ts` asks for it only while attempts begin at a leisurely rate.
 */
import { createHook } from 'node:async_hooks';
import type { LeasedRun } from './engine.ts';

/** Less than this at the beginning of a method is nobody's block, nor a part of one. */
const leastMs = 1;

const atWork = new Set<LeasedRun>();
let spent = new Map<LeasedRun, number>();
let watchers = 0;

export function beginWork(run: LeasedRun): void {
  atWork.add(run);
}

export function endWork(run: LeasedRun): void {
  atWork.delete(run);
  if (atWork.size === 0) ignoreCallbacks();
}

/** The runs whose methods have not ended. */
export function runsAtWork(): readonly LeasedRun[] {
  return [...atWork];
}

/** Counts from now on; the returned function ends that. */
export function watchRunTime(): () => void {
  watchers++;
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

const hook = createHook({
  before() {
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
  if (isMeasuring || watchers === 0) return;
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
