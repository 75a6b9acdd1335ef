/**
 * Names a task that holds up the event loop, and with it everybody else's: a loop that should have turned, and did not.
 */
import type { LeasedRun } from './engine.ts';
import { listed } from './errors.ts';
import type { Log } from './logging.ts';
import { takeSpent, tasksAtWork, watchRunTime } from './runTime.ts';

/** How often the loop is looked at: each look finds out how late it is. */
const periodMs = 50;
/** A task that takes longer than this at a time is named. */
const blockMs = 200;
/** After a warning the next ones about the same task are counted for so long, and told together. */
const quietMs = 10_000;

const advice =
  'Everything else stood still meanwhile. Declare the task with isolate: true to run it in a thread of its own';

/** What one task took of a block. */
interface Share {
  ms: number;
  /** The run that took most of it. */
  run: LeasedRun;
  runMs: number;
  runs: number;
}

/** Blocks of a task, or of nobody knows whom, that are not told yet. */
interface Quiet {
  until: number;
  blocks: number;
  longestMs: number;
  fields: Record<string, unknown>;
}

export class LoopWatch {
  readonly #log: Log;
  readonly #quiet = new Map<string, Quiet>();
  #timer: NodeJS.Timeout | undefined;
  #unwatch: (() => void) | undefined;
  #lookedAt = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  start(): void {
    this.#unwatch = watchRunTime();
    this.#lookedAt = performance.now();
    this.#timer = setInterval(() => this.#look(), periodMs);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#unwatch?.();
    this.#unwatch = undefined;
    for (const key of this.#quiet.keys()) this.#tellCounted(key);
  }

  #look(): void {
    const now = performance.now();
    const sinceMs = now - this.#lookedAt;
    this.#lookedAt = now;
    const spent = takeSpent();
    for (const [key, { until }] of this.#quiet) if (now >= until) this.#tellCounted(key);
    if (sinceMs <= blockMs) return;
    // Up to a period of the time since the last look the loop was waiting, as it should.
    const blockedMs = sinceMs - periodMs;
    const share = largestShare(spent);
    if (share && share.ms > blockMs) this.#nameTask(share, share.ms, now);
    else if (blockedMs <= blockMs) return;
    // What measuring takes is counted as nobody's: of many short callbacks, that is half of the time.
    else if (share && share.ms > blockedMs / 3) this.#nameTask(share, blockedMs, now);
    else this.#nameNobody(blockedMs, now);
  }

  #nameTask({ ms: sharedMs, run, runMs, runs }: Share, ms: number, now: number): void {
    const { id, state, task } = run;
    const fields = runMs >= sharedMs / 2 ? { task_id: id, state, task } : { state, task, runs };
    this.#tell(`${state}/${task}`, ms, now, fields, `A task blocked the event loop for ${Math.round(ms)} ms`);
  }

  /** A loop that was late while no task was at work was late for other reasons. */
  #nameNobody(ms: number, now: number): void {
    const tasks = tasksAtWork();
    if (tasks.length === 0) return;
    const names = tasks.map(
      ({ state, task, runs }) => `${state}/${task}${runs === 1 ? '' : ` (${runs} runs)`}`,
    );
    const what = `The event loop was blocked for ${Math.round(ms)} ms, by which run cannot be told. At work were ${listed(names)}`;
    this.#tell('', ms, now, {}, what);
  }

  #tell(key: string, ms: number, now: number, fields: Record<string, unknown>, what: string): void {
    const quiet = this.#quiet.get(key);
    if (quiet) {
      quiet.blocks++;
      quiet.longestMs = Math.max(quiet.longestMs, ms);
      quiet.fields = fields;
      return;
    }
    this.#quiet.set(key, { until: now + quietMs, blocks: 0, longestMs: 0, fields });
    this.#log('warn', `${what}. ${advice}`, { ...fields, blocked_ms: Math.round(ms) });
  }

  #tellCounted(key: string): void {
    const { blocks, longestMs, fields } = this.#quiet.get(key) as Quiet;
    this.#quiet.delete(key);
    if (blocks === 0) return;
    const whose = key === '' ? 'The event loop was blocked' : 'A task blocked the event loop';
    const times = blocks === 1 ? 'once more' : `${blocks} more times`;
    this.#log(
      'warn',
      `${whose} ${times} within ${quietMs / 1000} s, for up to ${Math.round(longestMs)} ms. ${advice}`,
      { ...fields, blocks, blocked_ms: Math.round(longestMs) },
    );
  }
}

function largestShare(spent: ReadonlyMap<LeasedRun, number>): Share | undefined {
  const shares = new Map<string, Share>();
  for (const [run, ms] of spent) {
    const key = `${run.state}/${run.task}`;
    const share = shares.get(key);
    if (!share) shares.set(key, { ms, run, runMs: ms, runs: 1 });
    else {
      share.ms += ms;
      share.runs++;
      if (ms > share.runMs) Object.assign(share, { run, runMs: ms });
    }
  }
  let largest: Share | undefined;
  for (const share of shares.values()) if (!largest || share.ms > largest.ms) largest = share;
  return largest;
}
