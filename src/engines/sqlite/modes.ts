/**
 * Which scopes an admin has paused or drained, as they are asked about at each start.
 */
import type { Mode, ScopeMode } from '../../engine.ts';

export class Modes {
  all: readonly ScopeMode[] = [];

  replace(modes: readonly ScopeMode[]): void {
    this.all = modes;
  }

  isPaused(state: string, task: string): boolean {
    return this.#has('pause', state, task);
  }

  isDrained(state: string, task: string): boolean {
    return this.#has('drain', state, task);
  }

  /** Mostly there are none. */
  #has(mode: Mode, state: string, task: string): boolean {
    return this.all.some(
      (each) =>
        each.mode === mode &&
        each.scope.state === state &&
        (each.scope.task === undefined || each.scope.task === task),
    );
  }
}
