/**
 * When the runs that are at work will about have ended, sorted for each of the limits that others wait for. There may be ten
 * thousand at work and a thousand who ask at once: what is common to these is worked out once.
 */
import type { Policies } from '../../policy.ts';
import type { LiveRun } from './liveRun.ts';
import type { RunTimes } from './runTimes.ts';
import { fullName } from './taskName.ts';

/** By `Clock.elapsed`, the earliest first. One that has taken longer than usual may end at any time: its time is over. */
export type Ends = readonly number[];

const none: Ends = [];

/** The runs of one task, and their ends, each list made when it is first asked for. */
interface TaskAtWork {
  readonly state: string;
  readonly task: string;
  readonly runs: LiveRun[];
  ends?: Ends;
  byClient?: ReadonlyMap<string | null, Ends>;
  byKey?: ReadonlyMap<string | null, Ends>;
}

export class AtWork {
  readonly #times: RunTimes;
  readonly #policies: Policies;
  readonly #tasks = new Map<string, TaskAtWork>();
  #all: Ends | undefined;
  #isolated: Ends | undefined;

  constructor(live: Iterable<LiveRun>, times: RunTimes, policies: Policies) {
    this.#times = times;
    this.#policies = policies;
    for (const run of live) {
      const { state, task } = run;
      const key = fullName(state, task);
      const known = this.#tasks.get(key);
      if (known) known.runs.push(run);
      else this.#tasks.set(key, { state, task, runs: [run] });
    }
  }

  get all(): Ends {
    this.#all ??= this.#together([...this.#tasks.values()]);
    return this.#all;
  }

  /** Of those that each have a worker thread. */
  get isolated(): Ends {
    this.#isolated ??= this.#together(
      [...this.#tasks.values()].filter(({ state, task }) => this.#policies.of(state, task).isolate),
    );
    return this.#isolated;
  }

  ofTask(state: string, task: string): Ends {
    const known = this.#tasks.get(fullName(state, task));
    return known ? this.#endsOf(known) : none;
  }

  ofClient(state: string, task: string, client: string | null): Ends {
    const known = this.#tasks.get(fullName(state, task));
    if (!known) return none;
    known.byClient ??= this.#grouped(known, (run) => run.client);
    return known.byClient.get(client) ?? none;
  }

  ofKey(state: string, task: string, key: string): Ends {
    const known = this.#tasks.get(fullName(state, task));
    if (!known) return none;
    known.byKey ??= this.#grouped(known, (run) => run.key);
    return known.byKey.get(key) ?? none;
  }

  #endsOf(task: TaskAtWork): Ends {
    if (!task.ends) {
      const usualMs = this.#usualMs(task);
      task.ends = task.runs.map((run) => run.begunAt + usualMs).sort(byTime);
    }
    return task.ends;
  }

  #grouped(task: TaskAtWork, groupOf: (run: LiveRun) => string | null): ReadonlyMap<string | null, Ends> {
    const usualMs = this.#usualMs(task);
    const groups = new Map<string | null, number[]>();
    for (const run of task.runs) {
      const group = groups.get(groupOf(run));
      if (group) group.push(run.begunAt + usualMs);
      else groups.set(groupOf(run), [run.begunAt + usualMs]);
    }
    for (const ends of groups.values()) ends.sort(byTime);
    return groups;
  }

  #together(tasks: readonly TaskAtWork[]): Ends {
    return tasks.flatMap((task) => this.#endsOf(task)).sort(byTime);
  }

  #usualMs({ state, task }: TaskAtWork): number {
    return this.#times.meanMs(state, task) ?? this.#times.overallMeanMs() ?? 0;
  }
}

function byTime(a: number, b: number): number {
  return a - b;
}
