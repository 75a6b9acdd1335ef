/**
 * Attempts of tasks with `isolate`: each in a worker thread, which can be killed. The threads are piscina's; which attempt gets
 * one, when it is killed and what that makes of its run is decided here.
 */
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { dirname, resolve } from 'node:path';
import type { Worker } from 'node:worker_threads';
import type { Piscina } from 'piscina';
import { abortedOutcome } from './attempt.ts';
import type { Clock } from './clock.ts';
import type { AttemptContext, LeasedRun } from './engine.ts';
import { defaultHeapMb, HeapWatch } from './heapWatch.ts';
import { MainLine } from './mainLine.ts';
import type { Outcome } from './run.ts';
import type { StateDefinition, TaskDefinition } from './task.ts';
import type { Stray, ThreadTask } from './threadLine.ts';
import { patienceMs } from './timeLimits.ts';

/** A thread that has nothing to do goes away. Starting one takes some 200 ms where task files are TypeScript. */
const idleMs = 30_000;
/** Threads are nicer than the main loop by so much, so that it gets its turn at once while they keep every CPU busy. */
const niceIncrement = 10;
/**
 * Of a thread's heap, what was made lately: little, so that a heap is mostly what is alive. Where nobody can look at heaps it must be
 * less than the 16 MiB that Node lets a thread have to come to its end by, or V8 ends the whole process instead (its default is 48).
 */
const youngMb = 12;
/** Longer than any thread takes to start and to load its file: one that has not called the method by then is killed. */
const beginMs = 60_000;
/** What threads get to end that were killed; one inside a call that cannot be interrupted (`execSync`) takes longer. */
const closeMs = 2000;

export interface IsolationOptions {
  /** At the most so many attempts at once; the others wait for their turn. */
  threads: number;
  /** The folder that the registry was loaded from; null: each file's own. */
  folder: string | null;
  clock: Clock;
  /** Hears of what a task left behind in its thread, rejected or thrown, and nobody caught. */
  onStray(stray: Stray): void;
  /** Hears, once, why nobody can look at the heaps of threads: then `memoryMb` is kept to as V8 does it alone. */
  onBlind(reason: string): void;
}

export interface IsolatedWork {
  run: LeasedRun;
  state: StateDefinition;
  task: TaskDefinition;
  /** The label of the run's client token. */
  client: string | null;
}

export class Isolation {
  readonly #options: IsolationOptions;
  /** By the size of their heaps: threads of a pool are all alike. */
  readonly #pools = new Map<number | null, Promise<Piscina>>();
  /** Threads that have not ended, be they at work, idle or killed. */
  readonly #threads = new Set<Worker>();
  readonly #running = new Set<ThreadedAttempt>();
  readonly #heaps: HeapWatch;
  /** How far V8's limit is beyond that of a task. */
  #reserveMb: Promise<number> | undefined;
  /** Who waits for a place. Piscina's own line of them forgets its tasks when a thread is killed, and is left empty. */
  readonly #waiting: (() => void)[] = [];
  #places: number;
  #isClosed = false;

  constructor(options: IsolationOptions) {
    this.#options = options;
    this.#heaps = new HeapWatch(options.clock);
    this.#places = options.threads;
  }

  /** Runs one attempt. `begun` is called when its method is. Never rejects. */
  async run(work: IsolatedWork, attempt: AttemptContext, begun: () => void): Promise<Outcome> {
    if (!(await this.#place(attempt))) return abortedOutcome(attempt.signal.reason);
    try {
      if (this.#isClosed) return { kind: 'interrupted' };
      if (attempt.signal.aborted) return abortedOutcome(attempt.signal.reason);
      const { memoryMb } = work.task.policy;
      const pool = await this.#pool(memoryMb);
      const threaded = new ThreadedAttempt(work, attempt, new MainLine(attempt, begun), this.#options);
      this.#running.add(threaded);
      try {
        const ended = threaded.run(pool);
        this.#watch(pool.threads, memoryMb ?? defaultHeapMb);
        return await ended;
      } finally {
        this.#running.delete(threaded);
      }
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#places++;
    }
  }

  /** How many threads there are, at work or idle. */
  get threads(): number {
    return this.#threads.size;
  }

  /**
   * Kills all threads at once. Attempts that were at work are interrupted. Answers whether every thread has ended: one inside a
   * call that cannot be interrupted has not, and the process cannot exit before it does.
   */
  async close(): Promise<boolean> {
    this.#isClosed = true;
    for (const threaded of this.#running) threaded.kill();
    for (const next of this.#waiting.splice(0)) next();
    const opened = [...this.#pools.values()].map((pool) => pool.then((open) => open.destroy()));
    const ended = Promise.allSettled(opened).then(() => this.#allEnded());
    await Promise.race([ended, new Promise<void>((late) => setTimeout(late, closeMs).unref())]);
    return this.#threads.size === 0;
  }

  /** Whether the attempt has its place: one that is aborted while it waits gets none. */
  #place(attempt: AttemptContext): Promise<boolean> {
    if (this.#places > 0) {
      this.#places--;
      return Promise.resolve(true);
    }
    return new Promise((resolve) => {
      const take = () => resolve(true);
      this.#waiting.push(take);
      attempt.onAbort(() => {
        const at = this.#waiting.indexOf(take);
        if (at === -1) return;
        this.#waiting.splice(at, 1);
        resolve(false);
      });
    });
  }

  #pool(memoryMb: number | null): Promise<Piscina> {
    let pool = this.#pools.get(memoryMb);
    if (!pool) {
      pool = this.#open(memoryMb);
      this.#pools.set(memoryMb, pool);
      pool.catch(() => this.#pools.delete(memoryMb));
    }
    return pool;
  }

  async #open(memoryMb: number | null): Promise<Piscina> {
    // Only for those who isolate.
    const { Piscina } = await import('piscina');
    this.#reserveMb ??= this.#openHeaps();
    const reserveMb = await this.#reserveMb;
    const pool = new Piscina({
      filename: null,
      minThreads: 0,
      maxThreads: this.#options.threads,
      idleTimeout: idleMs,
      // Otherwise the loop of an idle thread stands still, and with it what a task left behind.
      atomics: 'disabled',
      recordTiming: false,
      resourceLimits: {
        maxYoungGenerationSizeMb: youngMb,
        maxOldGenerationSizeMb: (memoryMb ?? defaultHeapMb) + reserveMb,
      },
      // Elsewhere it is the whole process that would be nicer.
      ...(process.platform === 'linux' && { niceIncrement }),
    });
    pool.on('message', (message: Partial<Stray> | null) => {
      if (message?.kind === 'spyglass-tasks.stray') this.#options.onStray(message as Stray);
    });
    pool.on('error', (error: Error) => {
      // A thread that dies before it has taken a task leaves the one that waits for it waiting.
      for (const threaded of this.#running) if (threaded.pool === pool) threaded.threadFailed(error);
    });
    return pool;
  }

  async #openHeaps(): Promise<number> {
    try {
      return await this.#heaps.open();
    } catch (error) {
      this.#options.onBlind((error as Error).message);
      return 0;
    }
  }

  /** As long as they are there: what a task left behind in one grows beyond its end, and that of a file before it begins. */
  #watch(threads: readonly Worker[], limitMb: number): void {
    for (const thread of threads) {
      if (this.#threads.has(thread)) continue;
      this.#threads.add(thread);
      const { threadId } = thread;
      const stopWatching = this.#heaps.watch(threadId, limitMb, () => {
        const atWork = [...this.#running].find((threaded) => threaded.thread === threadId);
        if (atWork) atWork.outgrewItsHeap();
        else void thread.terminate();
      });
      thread.once('exit', () => {
        stopWatching();
        this.#threads.delete(thread);
      });
    }
  }

  async #allEnded(): Promise<void> {
    await Promise.all([...this.#threads].map((thread) => once(thread, 'exit')));
  }
}

/** An attempt that has its place, from its thread's point of view. */
class ThreadedAttempt {
  pool: Piscina | undefined;
  readonly #work: IsolatedWork;
  readonly #attempt: AttemptContext;
  readonly #line: MainLine;
  readonly #options: IsolationOptions;
  /** Piscina kills the thread of a task whose signal is aborted. */
  readonly #killer = new AbortController();
  /** Why its thread ended, where piscina does not know. */
  #death: Error | undefined;

  constructor(work: IsolatedWork, attempt: AttemptContext, line: MainLine, options: IsolationOptions) {
    this.#work = work;
    this.#attempt = attempt;
    this.#line = line;
    this.#options = options;
  }

  async run(pool: Piscina): Promise<Outcome> {
    this.pool = pool;
    const { clock } = this.#options;
    // It may have been aborted while its pool was made.
    if (this.#attempt.signal.aborted) return abortedOutcome(this.#attempt.signal.reason);
    const stops = [clock.after(beginMs, () => this.#beginOrDie())];
    // First the port, since whoever aborts must be heard by the thread, however soon it is.
    const port = this.#line.open(() => this.kill());
    this.#attempt.onAbort((reason) => {
      this.#line.abort(reason);
      stops.push(clock.after(patienceMs, () => this.kill()));
    });
    try {
      return await pool.run(this.#task(port), {
        name: 'runIsolated',
        filename: createRequire(import.meta.url).resolve('#isolated-attempt'),
        transferList: [port],
        signal: this.#killer.signal,
      });
    } catch (error) {
      this.#line.close();
      return this.#line.outcome ?? this.#deathOutcome(this.#death ?? (error as Error));
    } finally {
      this.#line.close();
      for (const stop of stops) stop();
    }
  }

  kill(): void {
    this.#killer.abort();
  }

  get thread(): number | undefined {
    return this.#line.thread;
  }

  /** A thread of its pool has failed that had no attempt, as far as the pool knows. */
  threadFailed(error: Error): void {
    if (this.thread !== undefined) return;
    this.#death = error;
    this.kill();
  }

  outgrewItsHeap(): void {
    this.#death = Object.assign(new Error('its heap was too large'), { code: outOfMemory });
    this.kill();
  }

  #beginOrDie(): void {
    if (this.#line.hasBegun) return;
    this.#death = new Error(`its thread had not begun with it after ${beginMs / 1000} s`);
    this.kill();
  }

  #task(port: ThreadTask['port']): ThreadTask {
    const { run, state, client } = this.#work;
    const { id, task, input, attempt, timeoutMs } = run;
    const file = state.file as string;
    return {
      file,
      state: state.name,
      folder: this.#options.folder ?? dirname(resolve(file)),
      // An engine's own object is more than this, and cannot be cloned.
      run: { id, state: run.state, task, client: run.client, input, attempt, timeoutMs },
      client,
      port,
      gauge: this.#line.gauge.memory,
    };
  }

  /** Whoever was asked to end has ended by that, however; whoever was not has died. */
  #deathOutcome(error: Error): Outcome {
    const { signal } = this.#attempt;
    if (signal.aborted) {
      const outcome = abortedOutcome(signal.reason);
      return outcome.kind === 'failed' ? { ...outcome, killed: true } : outcome;
    }
    if (this.#killer.signal.aborted && !this.#death) return { kind: 'interrupted' };
    return {
      kind: 'died',
      error: { name: 'ThreadDiedError', message: deathSentence(error, this.#work.task) },
    };
  }
}

/** As Node names it where V8 finds it first. */
const outOfMemory = 'ERR_WORKER_OUT_OF_MEMORY';

function deathSentence(error: Error & { code?: string }, { policy }: TaskDefinition): string {
  if (error.code === outOfMemory) {
    const limit =
      policy.memoryMb === null
        ? "Node's default heap: set memoryMb, "
        : `its heap of ${policy.memoryMb} MiB (memoryMb): set it higher, `;
    return `The thread of the attempt ran out of ${limit}or let the task hold less at a time.`;
  }
  const [, code] = /^worker exited with code: (\d+)$/.exec(error.message) ?? [];
  if (code !== undefined) {
    return (
      `The thread of the attempt ended with exit code ${code} before the task did: something in it called process.exit(). ` +
      'Let the task return or throw instead.'
    );
  }
  return `The thread of the attempt ended before the task did: ${error.message}.`;
}
