/**
 * One server for one data folder. The lock is an exclusive transaction held open on a database beside the store's: the
 * kernel lets go of it when the process dies, however it dies, which a lock file does not do.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { exitCode, StartError } from '../../errors.ts';
import { type Database, type DriverName, openDatabase, sqliteFault } from './driver.ts';

const lockFile = 'lock.db';

/** A command that looks whether a server is there holds the lock for less than a millisecond: a server that starts then waits. */
const patienceMs = 250;

/** Takes the folder, or throws a `StartError`. The returned function lets go of it. */
export function lockDataFolder(folder: string, driver?: DriverName): () => void {
  const database = takeLock(folder, patienceMs, driver);
  if (!database) {
    throw new StartError(
      `The data folder ${folder} is in use by another spyglass-tasks server. Stop that one, or name another folder with --data.`,
      exitCode.dataInUse,
    );
  }
  return () => release(database);
}

/** Whether a server has the folder just now. */
export function isDataFolderLocked(folder: string): boolean {
  // Not made by looking.
  if (!existsSync(join(folder, lockFile))) return false;
  const database = takeLock(folder, 0);
  if (!database) return true;
  release(database);
  return false;
}

/** Undefined when somebody else has it. */
function takeLock(folder: string, waitMs: number, driver?: DriverName): Database | undefined {
  let database: Database;
  try {
    database = openDatabase(join(folder, lockFile), driver);
  } catch (error) {
    // Even opening it fails while the other holds it in its rollback-journal mode.
    if (sqliteFault(error) === 'busy') return undefined;
    throw error;
  }
  try {
    database.exec(`PRAGMA busy_timeout = ${waitMs}`);
    database.exec('BEGIN EXCLUSIVE');
    return database;
  } catch (error) {
    database.close();
    if (sqliteFault(error) === 'busy') return undefined;
    throw error;
  }
}

function release(database: Database): void {
  // libsql closes a database no sooner than its statements are collected, and the folder is to be free now.
  database.exec('ROLLBACK');
  database.close();
}
