/**
 * The database as an admin's commands use it, beside a running server or without one.
 */
import type { AdminStore } from '../../admin.ts';
import type { Mode, Scope, ScopeMode } from '../../engine.ts';
import type { TaskName } from '../../servedTasks.ts';
import { openExistingDatabase } from './dataFolder.ts';
import type { Database } from './driver.ts';
import { ModeTable } from './modeTable.ts';
import { matching } from './selection.ts';
import { ServedTable } from './servedTable.ts';
import { Statements } from './statements.ts';

export class SqliteAdminStore implements AdminStore {
  readonly #database: Database;
  readonly #sql: Statements;
  readonly #modes: ModeTable;

  private constructor(database: Database) {
    this.#database = database;
    this.#sql = new Statements(database);
    this.#modes = new ModeTable(this.#sql);
  }

  /** Throws a `StartError` where no server has ever been. */
  static open(folder: string): SqliteAdminStore {
    return new SqliteAdminStore(openExistingDatabase(folder));
  }

  served(): TaskName[] {
    return new ServedTable(this.#sql).all();
  }

  hasActive(scope: Scope): boolean {
    const { where, params } = matching(scope);
    const sql = `SELECT 1 FROM runs WHERE status < 3 AND status IN (0, 1, 2) AND ${where} LIMIT 1`;
    return this.#sql.get(sql, params) !== undefined;
  }

  modes(): ScopeMode[] {
    return this.#modes.all();
  }

  setMode(scope: Scope, mode: Mode): void {
    this.#modes.set(scope, mode);
  }

  close(): void {
    this.#database.close();
  }
}
