/**
 * The database, and what is done with it, commit by commit. Synchronous: it lives in the store thread.
 */
import { join } from 'node:path';
import type { ScopeMode } from '../../engine.ts';
import type { CancelOrder } from './cancelOrder.ts';
import { CancelOrderTable } from './cancelOrderTable.ts';
import { Cancels } from './cancels.ts';
import { databaseFile } from './dataFolder.ts';
import { type Database, openDatabase, type Row, sqliteFault } from './driver.ts';
import { HistoryTable } from './historyTable.ts';
import { KeyTable } from './keyTable.ts';
import { Leases } from './leases.ts';
import { migrate } from './migrations.ts';
import { ModeTable } from './modeTable.ts';
import type { ReadAnswers, ReadOperation, StoreSettings, WriteAnswers, WriteOperation } from './protocol.ts';
import { placeOf, RunTable } from './runTable.ts';
import { ScheduleTable } from './scheduleTable.ts';
import { ServedTable } from './servedTable.ts';
import { Starts } from './starts.ts';
import { Statements } from './statements.ts';
import type { StoreParts } from './storeParts.ts';
import type { Limits } from './taskLimits.ts';
import { insertToken, revokeToken } from './tokens.ts';
import { WaitingRuns } from './waitingRuns.ts';

// `status < 3` stands in every query for active runs, next to what it already implies: SQLite uses a partial index only for a
// query that repeats the index's own condition (https://www.sqlite.org/partialindex.html).

export class Store {
  readonly #database: Database;
  readonly #sql: Statements;
  readonly #parts: StoreParts;
  readonly #waiting: WaitingRuns;
  readonly #modes: ModeTable;
  readonly #served: ServedTable;
  readonly #starts: Starts;
  readonly #leases: Leases;
  readonly #cancels: Cancels;

  private constructor(database: Database, waiting: WaitingRuns) {
    this.#database = database;
    this.#sql = new Statements(database);
    this.#waiting = waiting;
    this.#modes = new ModeTable(this.#sql);
    this.#served = new ServedTable(this.#sql);
    const history = new HistoryTable(this.#sql);
    this.#parts = {
      sql: this.#sql,
      runs: new RunTable(this.#sql, history, waiting),
      history,
      keys: new KeyTable(this.#sql),
      schedules: new ScheduleTable(this.#sql),
      orders: new CancelOrderTable(this.#sql),
      waiting,
      memory: { nextDue: Number.NEGATIVE_INFINITY, lookedAt: Number.POSITIVE_INFINITY, ended: 0 },
    };
    this.#cancels = new Cancels(this.#parts);
    this.#leases = new Leases(this.#parts, this.#cancels);
    this.#starts = new Starts(this.#parts, this.#leases);
  }

  /** Runs that ended since the store was opened. */
  get ended(): number {
    return this.#parts.memory.ended;
  }

  static open(settings: StoreSettings): Store {
    const path = join(settings.folder, databaseFile);
    const database = openDatabase(path, settings.driver);
    // Whoever holds the database longer is answered for with 503, lest reads wait behind it.
    database.exec('PRAGMA busy_timeout = 100');
    // 16 MB of log between checkpoints, and a page cache that holds the hot end of the indexes.
    database.exec('PRAGMA wal_autocheckpoint = 4000');
    database.exec('PRAGMA cache_size = -16000');
    migrate(database, path);
    const store = new Store(database, new WaitingRuns(settings.limits, settings.threads));
    store.#load(settings);
    return store;
  }

  get database(): Database {
    return this.#database;
  }

  /** Runs that are not leased and have not ended. */
  pending(): number {
    return this.#sql.get('SELECT count(*) AS count FROM runs WHERE status < 3 AND status = 0')
      ?.count as number;
  }

  lastN(): number {
    return (this.#sql.get('SELECT max(n) AS n FROM runs')?.n as number | null) ?? 0;
  }

  /** Runs that were leased when the process died. */
  interrupted(): Row[] {
    return this.#sql.all('SELECT * FROM runs WHERE status < 3 AND status IN (1, 2) ORDER BY n');
  }

  /** Runs the operations as one commit: on disk when this returns, undone when it throws. */
  commit(operations: readonly WriteOperation[]): WriteAnswers[WriteOperation['op']][] {
    const { memory } = this.#parts;
    const { ended } = memory;
    this.#sql.run('BEGIN IMMEDIATE');
    try {
      const answers = operations.map((operation) => this.#write(operation));
      this.#sql.run('COMMIT');
      this.#waiting.committed();
      return answers;
    } catch (error) {
      memory.ended = ended;
      this.#rollback();
      throw error;
    }
  }

  #rollback(): void {
    try {
      this.#database.exec('ROLLBACK');
    } catch {
      // SQLite has rolled back by itself, as it does when the disk is full.
    }
    this.#waiting.rolledBack();
    const { memory } = this.#parts;
    memory.nextDue = Number.NEGATIVE_INFINITY;
    memory.lookedAt = Number.POSITIVE_INFINITY;
  }

  /** What waits, what is paused, and when attempts of tasks with a rate began. */
  #load({ limits, openedAt }: StoreSettings): void {
    const lines = this.#sql.all(
      `SELECT state, task, client, key, priority, json_group_array(n) AS ns FROM runs
       WHERE status < 3 AND status = 0 AND due_at IS NULL GROUP BY state, task, client, key, priority`,
    );
    for (const line of lines) {
      const ns = (JSON.parse(line.ns as string) as number[]).sort((a, b) => a - b);
      this.#waiting.load(ns, placeOf(line), openedAt);
    }
    this.readModes();
    const rated = limits.filter(({ rateLimit }) => rateLimit !== null);
    this.#forgetOtherRates(rated);
    for (const { state, task } of rated) {
      const begun = this.#sql.all('SELECT at FROM begun WHERE state = ? AND task = ? ORDER BY at', [
        state,
        task,
      ]);
      this.#waiting.restoreBegun(
        state,
        task,
        begun.map(({ at }) => at as number),
      );
    }
    this.#waiting.committed();
  }

  /** Deletes what was kept for the rates of tasks that have none any more. */
  #forgetOtherRates(rated: readonly Limits[]): void {
    const others = this.#sql
      .all('SELECT DISTINCT state, task FROM begun')
      .filter((row) => !rated.some(({ state, task }) => row.state === state && row.task === task));
    try {
      for (const { state, task } of others as { state: string; task: string }[]) {
        this.#sql.run('DELETE FROM begun WHERE state = ? AND task = ?', [state, task]);
      }
    } catch (error) {
      // A disk that cannot be written keeps no server from starting, which reads all the same: the next start tries again.
      if (sqliteFault(error) === 'other') throw error;
    }
  }

  /** Reads the modes anew: another process may have set them. */
  readModes(): ScopeMode[] {
    const modes = this.#modes.all();
    this.#waiting.replaceModes(modes);
    return modes;
  }

  /** Orders that are to be carried out. */
  orders(): CancelOrder[] {
    return this.#parts.orders.open();
  }

  #write(operation: WriteOperation): WriteAnswers[WriteOperation['op']] {
    switch (operation.op) {
      case 'accept':
        return this.#starts.accept(operation.runs);
      case 'lease':
        return this.#leases.lease(operation.max, operation.at);
      case 'progress':
        return this.#leases.progress(operation.run, operation.reserved, operation.outgrown);
      case 'finish':
        return this.#leases.finish(operation.run);
      case 'release':
        return this.#leases.release(operation.run, operation.because, operation.dueAt);
      case 'cancel':
        return this.#cancels.cancel(operation.id, operation.at);
      case 'cancelAll':
        return this.#cancels.cancelAll(operation.match, operation.limit, operation.at);
      case 'carryOut':
        return this.#cancels.carryOut(operation.order, operation.limit, operation.at);
      case 'setMode':
        this.#modes.set(operation.scope, operation.mode);
        this.#waiting.setMode(operation.scope, operation.mode);
        return this.#modes.all();
      case 'seeSchedules':
        return this.#parts.schedules.see(operation.keys, operation.at);
      case 'occur':
        return this.#starts.occur(operation.key, operation.occurrence, operation.run);
      case 'serve':
        this.#served.replace(operation.tasks);
        return true;
      case 'createToken':
        insertToken(this.#database, operation.token);
        return true;
      case 'revokeToken':
        return revokeToken(this.#database, operation.idOrDigest, operation.at);
    }
  }

  // ---- Reading

  answer(operation: ReadOperation): ReadAnswers[ReadOperation['op']] {
    const { runs } = this.#parts;
    switch (operation.op) {
      case 'read': {
        const row = runs.byId(operation.id);
        return row && runs.stored(row, operation.at);
      }
      case 'list':
        return runs.list(operation);
      case 'history':
        return runs.page(operation.id, operation.since);
      case 'input':
        return runs.input(operation.id);
      case 'standings':
        return runs.waitingOf(operation.ids, operation.at);
    }
  }

  // ---- Retention

  /** Finished runs in the store. A scan of an index: once, not on the way to listening. */
  countFinished(): number {
    const all = this.#sql.get('SELECT count(*) AS count FROM runs', [])?.count as number;
    return all - (this.#sql.get('SELECT count(*) AS count FROM runs WHERE status < 3', [])?.count as number);
  }

  /** The oldest runs after `n`, in the order of acceptance. `keyed`: a key still stands for it. */
  oldest(after: number, limit: number, now: number): Row[] {
    return this.#sql.all(
      `SELECT n, status, at, created_at, EXISTS (SELECT 1 FROM keys WHERE keys.n = runs.n AND until > ?) AS keyed
       FROM runs WHERE n > ? ORDER BY n LIMIT ?`,
      [now, after, limit],
    );
  }

  /** Deletes runs with all that belongs to them. */
  deleteRuns(ns: readonly number[]): void {
    this.#sql.run('BEGIN IMMEDIATE');
    try {
      for (const n of ns) {
        this.#parts.history.forget(n);
        this.#parts.keys.forget(n);
        this.#sql.run('DELETE FROM runs WHERE n = ?', [n]);
      }
      this.#sql.run('COMMIT');
    } catch (error) {
      this.#rollback();
      throw error;
    }
  }

  /** Changes when another connection has committed. */
  dataVersion(): number {
    return this.#sql.get('PRAGMA data_version', [])?.data_version as number;
  }

  close(): void {
    this.#database.close();
  }
}
