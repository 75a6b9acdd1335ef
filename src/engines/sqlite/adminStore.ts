/**
 * The database as an admin's commands use it, beside a running server or without one.
 */
import { resolve } from 'node:path';
import type { AdminStore, CancelProgress } from '../../admin.ts';
import type { Match, Mode, Scope, ScopeMode } from '../../engine.ts';
import { exitCode, StartError } from '../../errors.ts';
import type { TaskName } from '../../servedTasks.ts';
import type { ClientToken } from '../../token.ts';
import { CancelOrderTable } from './cancelOrderTable.ts';
import { openExistingDatabase } from './dataFolder.ts';
import { type Database, sqliteFault } from './driver.ts';
import { isDataFolderLocked } from './lock.ts';
import { ModeTable } from './modeTable.ts';
import { matching } from './selection.ts';
import { ServedTable } from './servedTable.ts';
import { Statements } from './statements.ts';
import { readTokens } from './tokens.ts';

export class SqliteAdminStore implements AdminStore {
  readonly #database: Database;
  readonly #sql: Statements;
  readonly #modes: ModeTable;
  readonly #orders: CancelOrderTable;
  readonly #folder: string;

  private constructor(folder: string, database: Database) {
    this.#folder = folder;
    this.#database = database;
    this.#sql = new Statements(database);
    this.#modes = new ModeTable(this.#sql);
    this.#orders = new CancelOrderTable(this.#sql);
  }

  /** Throws a `StartError` where no server has ever been. */
  static open(folder: string): SqliteAdminStore {
    return new SqliteAdminStore(folder, openExistingDatabase(folder));
  }

  served(): TaskName[] {
    return new ServedTable(this.#sql).all();
  }

  hasActive(scope: Scope): boolean {
    const { where, params } = matching(scope);
    // `status < 3` for the sake of the index, as in the store.
    const sql = `SELECT 1 FROM runs WHERE status < 3 AND status IN (0, 1, 2) AND ${where} LIMIT 1`;
    return this.#sql.get(sql, params) !== undefined;
  }

  modes(): ScopeMode[] {
    return this.#modes.all();
  }

  setMode(scope: Scope, mode: Mode): void {
    this.#write(() => this.#modes.set(scope, mode));
  }

  tokens(): ClientToken[] {
    return readTokens(this.#database);
  }

  orderCancel(match: Match, at: number): number {
    return this.#write(() => this.#orders.give(match, at));
  }

  cancelProgress(order: number): CancelProgress {
    const progress = this.#orders.progress(order);
    if (!progress) throw new Error(`There is no order ${order}`);
    return progress;
  }

  isServerRunning(): boolean {
    return isDataFolderLocked(this.#folder);
  }

  /** What the disk is to blame for is told without a stack. */
  #write<T>(write: () => T): T {
    try {
      return write();
    } catch (error) {
      if (sqliteFault(error) === 'other') throw error;
      throw new StartError(
        `The database in ${resolve(this.#folder)} cannot be written: ${(error as Error).message}. Nothing was changed; try again.`,
        exitCode.failed,
      );
    }
  }

  close(): void {
    this.#database.close();
  }
}
