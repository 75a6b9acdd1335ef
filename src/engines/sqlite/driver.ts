/**
 * The slice of SQLite that the store needs: six methods, filled by `node:sqlite` where Node has it, and by `libsql`
 * (prebuilt in the registry, no compiler) where it has not.
 */
import { createRequire } from 'node:module';

/** The only values that cross: libsql aborts the process on booleans and lone objects, and rounds integers past 2^53. */
export type SqlValue = null | number | string;
export type Row = Record<string, SqlValue>;

export interface Statement {
  /** The number of rows changed. */
  run(params?: SqlValue[]): number;
  get(params?: SqlValue[]): Row | undefined;
  all(params?: SqlValue[]): Row[];
}

export interface Database {
  exec(sql: string): void;
  prepare(sql: string): Statement;
  close(): void;
}

export type DriverName = 'node:sqlite' | 'libsql';

const require = createRequire(import.meta.url);

/** The drivers that this Node can load, the preferred one first. */
export function availableDrivers(): DriverName[] {
  return hasNodeSqlite() ? ['node:sqlite', 'libsql'] : ['libsql'];
}

function hasNodeSqlite(): boolean {
  try {
    loadNodeSqlite();
    return true;
  } catch {
    return false;
  }
}

/** Opens (and makes) a database with the settings that durability rests on. */
export function openDatabase(path: string, driver = availableDrivers()[0] as DriverName): Database {
  const database = driver === 'node:sqlite' ? openNodeSqlite(path) : openLibsql(path);
  database.exec('PRAGMA busy_timeout = 5000');
  database.exec('PRAGMA journal_mode = WAL');
  // Set on every connection: some builds fall back to NORMAL, under which a commit that was answered can be lost.
  database.exec('PRAGMA synchronous = FULL');
  const [synchronous] = Object.values(database.prepare('PRAGMA synchronous').get() ?? {});
  if (synchronous !== 2) throw new Error(`SQLite (${driver}) does not keep synchronous=FULL on ${path}`);
  return database;
}

/** What of `better-sqlite3`'s interface libsql is used for. */
interface LibsqlDatabase {
  exec(sql: string): void;
  prepare(sql: string): {
    run(params: SqlValue[]): { changes: number };
    all(params: SqlValue[]): Row[];
  };
  close(): void;
}

function openLibsql(path: string): Database {
  const Libsql = require('libsql') as new (path: string) => LibsqlDatabase;
  const database = new Libsql(path);
  return {
    exec: (sql) => database.exec(sql),
    close: () => database.close(),
    prepare(sql) {
      const statement = database.prepare(sql);
      return {
        run: (params = []) => statement.run(params).changes,
        // libsql's own get() adds a `_metadata` key.
        get: (params = []) => statement.all(params)[0],
        all: (params = []) => statement.all(params),
      };
    },
  };
}

/** What of `node:sqlite` is used; declared here because the types of Node 20 do not know it. */
interface NodeSqlite {
  DatabaseSync: new (
    path: string,
  ) => {
    exec(sql: string): void;
    prepare(sql: string): {
      run(...params: SqlValue[]): { changes: number | bigint };
      get(...params: SqlValue[]): Row | undefined;
      all(...params: SqlValue[]): Row[];
    };
    close(): void;
  };
}

function loadNodeSqlite(): NodeSqlite {
  const emitWarning = process.emitWarning;
  // Node 22 and 24 call the module experimental on every start; its six methods used here have been stable since 22.5.
  process.emitWarning = () => {};
  try {
    return require('node:sqlite') as NodeSqlite;
  } finally {
    process.emitWarning = emitWarning;
  }
}

function openNodeSqlite(path: string): Database {
  const database = new (loadNodeSqlite().DatabaseSync)(path);
  return {
    exec: (sql) => database.exec(sql),
    close: () => database.close(),
    prepare(sql) {
      const statement = database.prepare(sql);
      return {
        run: (params = []) => Number(statement.run(...params).changes),
        get: (params = []) => statement.get(...params),
        all: (params = []) => statement.all(...params),
      };
    },
  };
}

/** What went wrong, in the terms the store acts on. SQLite's primary result codes: https://www.sqlite.org/rescode.html */
export type SqliteFault = 'busy' | 'full' | 'unwritable' | 'other';

const faults: Record<string, SqliteFault> = {
  SQLITE_BUSY: 'busy',
  5: 'busy',
  SQLITE_FULL: 'full',
  13: 'full',
  SQLITE_IOERR: 'unwritable',
  10: 'unwritable',
  SQLITE_READONLY: 'unwritable',
  8: 'unwritable',
  SQLITE_CANTOPEN: 'unwritable',
  14: 'unwritable',
};

export function sqliteFault(error: unknown): SqliteFault {
  const { code, errcode } = error as { code?: unknown; errcode?: unknown };
  if (typeof errcode === 'number') return faults[errcode & 0xff] ?? 'other';
  if (typeof code !== 'string') return 'other';
  const primary = /^SQLITE_[A-Z]+/.exec(code)?.[0];
  return (primary && faults[primary]) || 'other';
}
