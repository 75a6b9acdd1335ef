/**
 * Which run the code at hand belongs to, so that a failure which nobody awaited can be logged with its run, and a block of the
 * event loop with whoever made it.
 *
 * Before Node 24, knowing it costs each promise of the whole process something: measured, a quarter of the start rate. So it is known as long as
 * attempts begin at a leisurely rate, where that cost is nothing, and given up while they come by the hundred.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { LeasedRun } from './engine.ts';
import { ignoreCallbacks, measureCallbacks, spend } from './runTime.ts';

const storage = new AsyncLocalStorage<LeasedRun>();

/** More attempts than this in a window, and the next ones are not tracked. */
const busyAttempts = 200;
const windowMs = 1000;
const isCheap = Number(process.versions.node.split('.')[0]) >= 24;

let windowEnds = 0;
let inWindow = 0;
/** The window before was busy: this one is not tracked from its start either, lest tracking go on and off every second. */
let wasBusy = false;

/** Calls `attempt`; what it does, also in its timers and promises, belongs to `run` then. */
export function asRun<T>(run: LeasedRun, attempt: () => T): T {
  const before = performance.now();
  if (before >= windowEnds) {
    wasBusy = inWindow > busyAttempts && before < windowEnds + windowMs;
    windowEnds = before + windowMs;
    inWindow = 0;
  }
  const isLeisurely = ++inWindow <= busyAttempts && !wasBusy;
  if (isLeisurely) measureCallbacks(currentLease);
  // Off for everybody, since only that takes the cost away. The next leisurely attempt turns it on again.
  else if (inWindow === busyAttempts + 1 && !wasBusy) {
    ignoreCallbacks();
    if (!isCheap) storage.disable();
  }
  try {
    return isLeisurely || isCheap ? storage.run(run, attempt) : attempt();
  } finally {
    spend(run, performance.now() - before);
  }
}

/** The run whose task the calling code belongs to, where that is known. */
export function currentRun(): Pick<LeasedRun, 'id' | 'state' | 'task'> | undefined {
  return storage.getStore();
}

function currentLease(): LeasedRun | undefined {
  return storage.getStore();
}
