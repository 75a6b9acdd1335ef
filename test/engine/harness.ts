/**
 * What the engine tests share: an engine on a folder of its own, and one tiny task with modes.
 */
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { type Clock, systemClock } from '../../src/clock.ts';
import type {
  AttemptContext,
  Engine,
  EngineLog,
  Execute,
  LeasedRun,
  StartRequest,
} from '../../src/engine.ts';
import type { DriverName } from '../../src/engines/sqlite/driver.ts';
import { SqliteEngine } from '../../src/engines/sqlite/engine.ts';
import { defaultPolicy, type Policies, type TaskPolicy } from '../../src/policy.ts';
import {
  isTerminal,
  type Outcome,
  type Run,
  type RunEvent,
  type Snapshot,
  type Standing,
  TaskStatus,
} from '../../src/run.ts';
import type { TokenStore } from '../../src/token.ts';
import { DrivenClock } from '../fixtures/drivenClock.ts';

export interface EngineSettings {
  concurrency: number;
  threads: number;
  keepMs: number;
  keepRuns: number;
  /** Of every task; default: what holds where the author has said nothing. */
  policy: Partial<TaskPolicy>;
  /** Of tasks of the state `lab`, by their names. */
  policies: Record<string, Partial<TaskPolicy>>;
  clock: Clock;
  log: EngineLog;
}

/** Makes engines on one store, one after the other: what one leaves the next one finds. */
export interface EngineHome {
  make(settings?: Partial<EngineSettings>): { engine: Engine; tokens: TokenStore };
  /** The store as a process that is killed now would leave it, for another engine. */
  crash(): EngineHome;
  readonly folder: string;
}

export type EngineFactory = { name: string; home(folder?: string): EngineHome };

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'spyglass-test-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function sqliteFactory(driver: DriverName): EngineFactory {
  return {
    name: `sqlite (${driver})`,
    home(folder = temporaryFolder()) {
      return {
        folder,
        crash() {
          const copy = temporaryFolder();
          // What is in the files now is what a kill leaves: the log is written, and synced, commit by commit.
          for (const file of ['spyglass.db', 'spyglass.db-wal']) cpSync(join(folder, file), join(copy, file));
          return sqliteFactory(driver).home(copy);
        },
        make(settings = {}) {
          const {
            concurrency = 100,
            threads = 4,
            keepMs = 30 * 86_400_000,
            keepRuns = 1_000_000,
            policy = {},
            policies = {},
            clock = systemClock,
            log = () => {},
          } = settings;
          const engine = new SqliteEngine(
            { data: folder, concurrency, threads, keepMs, keepRuns },
            {
              clock,
              log,
              policies: policiesOf(policy, policies),
              driver,
            },
          );
          return { engine, tokens: engine.tokens };
        },
      };
    },
  };
}

function policiesOf(common: Partial<TaskPolicy>, own: EngineSettings['policies']): Policies {
  const of = (_state: string, task: string) => ({ ...defaultPolicy, ...common, ...own[task] });
  const all = Object.keys(own).map((task) => ({ state: 'lab', task, policy: of('lab', task) }));
  return { of, all: () => all, keysOf: () => ({}) };
}

/** What is out of the ordinary about a start. */
export type RequestOptions = Partial<Omit<StartRequest, 'task' | 'input'>> & { input?: unknown };

/** An opened engine with everything it said, closed when the test ends. */
export class Bench {
  readonly engine: Engine;
  readonly tokens: TokenStore;
  readonly events: RunEvent[] = [];
  readonly #clock: DrivenClock | undefined;
  readonly #waiting: { test: (event: RunEvent) => boolean; resolve: (event: RunEvent) => void }[] = [];
  #closed = false;

  private constructor(engine: Engine, tokens: TokenStore, clock: Clock | undefined) {
    this.engine = engine;
    this.tokens = tokens;
    this.#clock = clock instanceof DrivenClock ? clock : undefined;
    engine.onEvent((event) => {
      this.events.push(event);
      for (const waiting of this.#waiting) if (waiting.test(event)) waiting.resolve(event);
    });
  }

  static async open(
    home: EngineHome,
    execute: Execute | null = modes,
    settings?: Partial<EngineSettings>,
  ): Promise<Bench> {
    const { engine, tokens } = home.make(settings);
    const bench = new Bench(engine, tokens, settings?.clock);
    await engine.open();
    onTestFinished(async () => {
      await bench.close();
      expectSound(bench.events);
    });
    if (execute) engine.start(execute);
    return bench;
  }

  async start(task: string, options: RequestOptions = {}): Promise<Run> {
    return (await this.startAll([this.request(task, options)]))[0] as Run;
  }

  request(task: string, options: RequestOptions = {}): StartRequest {
    const { state = 'lab', client = null, input, ...more } = options;
    return { state, task, client, input: input === undefined ? null : JSON.stringify(input), ...more };
  }

  async startAll(requests: readonly StartRequest[]): Promise<Run[]> {
    return (await this.engine.accept(requests)).map(({ run }) => run);
  }

  /** The first event, past or to come, for which `test` holds. */
  event(test: (event: RunEvent) => boolean): Promise<RunEvent> {
    const past = this.events.find(test);
    if (past) return Promise.resolve(past);
    return new Promise((resolve) => this.#waiting.push({ test, resolve }));
  }

  async status(id: string, status: Snapshot['status']): Promise<Snapshot> {
    return (await this.event(({ snapshot }) => snapshot.task_id === id && snapshot.status === status))
      .snapshot;
  }

  async end(id: string): Promise<Snapshot> {
    return (await this.event(({ snapshot }) => snapshot.task_id === id && isTerminal(snapshot.status)))
      .snapshot;
  }

  async read(id: string): Promise<Snapshot> {
    const run = await this.engine.read(id);
    if (!run) throw new Error(`There is no run ${id}`);
    return run.snapshot;
  }

  /** The whole history, page by page. */
  async history(id: string, since = 0): Promise<RunEvent[]> {
    const events: RunEvent[] = [];
    for (;;) {
      const page = await this.engine.history(id, since);
      if (!page) throw new Error(`There is no run ${id}`);
      events.push(...page.events);
      since = events.at(-1)?.snapshot.seq ?? since;
      if (!page.more) return events;
    }
  }

  seqs(id: string): number[] {
    return this.told(id).map(({ seq }) => seq);
  }

  /** What was told of a run, as its events came out. */
  told(id: string): Snapshot[] {
    return this.events.map(({ snapshot }) => snapshot).filter(({ task_id }) => task_id === id);
  }

  /** Where a run that waits stands; undefined when it does not. */
  async standing(id: string): Promise<Standing | undefined> {
    return (await this.engine.standings([id])).get(id);
  }

  /** Until what was asked of the engine has been done, with what follows from it at once. */
  async settle(): Promise<void> {
    for (let round = 0; round < 3; round++) {
      // It goes the way of all changes, behind those that were asked for before, and changes nothing.
      await this.engine.cancel('nobody');
      for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Time goes on for a driven clock, in steps no longer than a second, with each of which the engine does what it makes of it. */
  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 1000) {
      await this.#clock?.goOn(Math.min(left, 1000));
      await this.settle();
      if (!this.#clock?.isDue) continue;
      await this.#clock.goOn(0);
      await this.settle();
    }
  }

  /** The clock is set: from one moment to the next it is another time, which the engine finds out. */
  async setClock(byMs: number): Promise<void> {
    if (this.#clock) this.#clock.wallTime += byMs;
    await this.settle();
    await this.pass(2000);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    let closed = false;
    const closing = this.engine.close().finally(() => {
      closed = true;
    });
    // Whoever waits for time waits for ever when nobody drives it.
    while (this.#clock && !closed) await this.#clock.pass(1000);
    await closing;
  }
}

/** What holds for the stream of each run, whatever becomes of it. */
function expectSound(events: readonly RunEvent[]): void {
  const latest = new Map<string, Snapshot>();
  for (const { snapshot } of events) {
    const before = latest.get(snapshot.task_id);
    latest.set(snapshot.task_id, snapshot);
    if (before) {
      expect(isTerminal(before.status), `${snapshot.task_id} went on after its end`).toBe(false);
      expect(snapshot.seq, `the number after ${before.seq}`).toBe(before.seq + 1);
      expect(snapshot.retry_of, 'retry_of, as in the event before').toBe(before.retry_of);
      expect(snapshot.attempt).toBeGreaterThanOrEqual(before.attempt);
    }
    if (snapshot.status !== TaskStatus.PENDING) expect(snapshot).not.toHaveProperty('starts_at');
    // Where it stands among others is no event.
    expect(snapshot).not.toHaveProperty('position');
    expect(snapshot).not.toHaveProperty('ends_at');
  }
}

/** The same checks for what is remembered: one end, and nothing after it. */
export function expectSoundHistory(history: readonly RunEvent[]): void {
  const seqs = history.map(({ snapshot }) => snapshot.seq);
  expect(seqs).toEqual([...new Set(seqs)].sort((a, b) => a - b));
  const ends = history.filter(({ snapshot }) => isTerminal(snapshot.status));
  expect(ends).toHaveLength(1);
  expect(history.at(-1)).toBe(ends[0]);
  for (const { snapshot } of history) {
    if (snapshot.status !== TaskStatus.PENDING) expect(snapshot).not.toHaveProperty('starts_at');
    expect(snapshot.retry_of).toBe(history[0]?.snapshot.retry_of);
  }
}

/** The tiny task: its name says what it does. */
export const modes: Execute = async (run, attempt) => {
  switch (run.task) {
    case 'ok':
      return { kind: 'completed', result: 'fine' };
    case 'echo':
      return { kind: 'completed', result: JSON.parse(run.input ?? 'null') };
    case 'throw':
      return { kind: 'failed', error: { name: 'Error', message: 'as told' } };
    case 'steps':
      for (const progress of [25, 50, 75]) {
        attempt.update({ progress, message: `at ${progress}` });
        await new Promise((resolve) => setImmediate(resolve));
      }
      return { kind: 'completed', result: { steps: 3 } };
    case 'hang':
      return untilAborted(attempt);
    default:
      throw new Error(`There is no mode ${run.task}`);
  }
};

/** Works until its signal says otherwise, and heeds it. */
export function untilAborted(attempt: AttemptContext): Promise<Outcome> {
  return new Promise((resolve) => {
    const { signal } = attempt;
    const heed = () => resolve({ kind: signal.reason.because === 'cancel' ? 'cancelled' : 'interrupted' });
    if (signal.aborted) heed();
    else signal.addEventListener('abort', heed);
  });
}

/** A task that ends when the test says so, or when the engine stops; only a deaf one is to be given up then. */
export class Gate {
  readonly leased: LeasedRun[] = [];
  readonly #deaf: boolean;
  readonly contexts = new Map<string, AttemptContext>();
  readonly #ends = new Map<string, (outcome: Outcome) => void>();
  #arrived: (() => void)[] = [];

  constructor({ deaf = false } = {}) {
    this.#deaf = deaf;
  }

  readonly execute: Execute = (run, attempt) => {
    if (!this.#deaf) {
      attempt.onAbort(({ because }) => {
        if (because === 'shutdown') this.end(run.id, { kind: 'interrupted' });
      });
    }
    this.leased.push(run);
    this.contexts.set(run.id, attempt);
    for (const arrived of this.#arrived.splice(0)) arrived();
    return new Promise((resolve) => this.#ends.set(run.id, resolve));
  };

  async leasedCount(count: number): Promise<void> {
    while (this.leased.length < count) await new Promise<void>((resolve) => this.#arrived.push(resolve));
  }

  end(id: string, outcome: Outcome = { kind: 'completed', result: null }): void {
    this.#ends.get(id)?.(outcome);
  }
}
