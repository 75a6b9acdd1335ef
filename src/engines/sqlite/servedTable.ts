/**
 * The names of the tasks that the latest server on this data serves: for commands, which do not load task files.
 */
import type { TaskName } from '../../servedTasks.ts';
import type { Statements } from './statements.ts';

export class ServedTable {
  readonly #sql: Statements;

  constructor(sql: Statements) {
    this.#sql = sql;
  }

  /** In the order of the server. */
  all(): TaskName[] {
    return this.#sql
      .all('SELECT state, task FROM served ORDER BY place')
      .map(({ state, task }) => ({ state: state as string, task: task as string }));
  }

  /** Writes only what is new: most starts of a server have nothing to sync here. */
  replace(tasks: readonly TaskName[]): void {
    if (JSON.stringify(this.all()) === JSON.stringify(tasks)) return;
    this.#sql.run('DELETE FROM served');
    for (const [place, { state, task }] of tasks.entries()) {
      this.#sql.run('INSERT INTO served (place, state, task) VALUES (?, ?, ?)', [place, state, task]);
    }
  }
}
