/**
 * What an admin has decided about states and tasks: which are paused or drained.
 */
import type { Mode, Scope, ScopeMode } from '../../engine.ts';
import type { Statements } from './statements.ts';

export class ModeTable {
  readonly #statements: Statements;

  constructor(statements: Statements) {
    this.#statements = statements;
  }

  all(): ScopeMode[] {
    return this.#statements
      .all('SELECT state, task, mode FROM modes ORDER BY state, task')
      .map(({ state, task, mode }) => ({
        scope: task === '' ? { state: state as string } : { state: state as string, task: task as string },
        mode: mode as Mode,
      }));
  }

  set({ state, task = '' }: Scope, mode: Mode): void {
    if (mode === 'run') {
      this.#statements.run('DELETE FROM modes WHERE state = ? AND task = ?', [state, task]);
    } else {
      this.#statements.run('INSERT OR REPLACE INTO modes (state, task, mode) VALUES (?, ?, ?)', [
        state,
        task,
        mode,
      ]);
    }
  }
}
