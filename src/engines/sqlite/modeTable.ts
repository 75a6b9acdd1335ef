/**
 * What an admin has decided about states and tasks: which are paused or drained.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Mode, ModeStore, Scope, ScopeMode } from '../../engine.ts';
import { openDatabase } from './driver.ts';
import { migrate } from './migrations.ts';
import { Statements } from './statements.ts';
import { databaseFile } from './tokens.ts';

/** The modes opened from outside the server, which may be running on the same data or not. */
export function openModeStore(folder: string): ModeStore & { close(): void } {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, databaseFile);
  const database = openDatabase(path);
  migrate(database, path);
  const table = new ModeTable(new Statements(database));
  return {
    all: () => table.all(),
    set: (scope, mode) => table.set(scope, mode),
    close: () => database.close(),
  };
}

export class ModeTable implements ModeStore {
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
