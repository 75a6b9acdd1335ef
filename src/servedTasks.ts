/**
 * The states and tasks that a server has, for whoever has named one: what is missing is said together with what there is.
 */
import type { Scope } from './engine.ts';
import { listed, shown } from './errors.ts';

export interface TaskName {
  state: string;
  task: string;
}

export class ServedTasks {
  readonly #tasks = new Map<string, string[]>();

  constructor(names: readonly TaskName[]) {
    for (const { state, task } of names) {
      const tasks = this.#tasks.get(state);
      if (tasks) tasks.push(task);
      else this.#tasks.set(state, [task]);
    }
  }

  get isEmpty(): boolean {
    return this.#tasks.size === 0;
  }

  /** A sentence on what is not there, and one on what is; undefined when the scope is there. */
  missing({ state, task }: Scope): string | undefined {
    const tasks = this.#tasks.get(state);
    if (!tasks)
      return `There is no state ${shown(state)}. ${choice('The states are', [...this.#tasks.keys()])}`;
    if (task === undefined || tasks.includes(task)) return undefined;
    return `The state ${state} has no task ${shown(task)}. ${choice('Its tasks are', tasks)}`;
  }
}

function choice(those: string, names: readonly string[]): string {
  return names.length === 0 ? 'There are none.' : `${those} ${listed(names)}.`;
}
