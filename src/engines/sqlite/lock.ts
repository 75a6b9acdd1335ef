/**
 * One server for one data folder. The lock is an exclusive transaction held open on a database beside the store's: the
 * kernel lets go of it when the process dies, however it dies, which a lock file does not do.
 */
import { join } from 'node:path';
import { exitCode, StartError } from '../../errors.ts';
import { type DriverName, openDatabase, sqliteFault } from './driver.ts';

/** Takes the folder, or throws a `StartError`. The returned function lets go of it. */
export function lockDataFolder(folder: string, driver?: DriverName): () => void {
  const refused = new StartError(
    `The data folder ${folder} is in use by another spyglass-tasks server. Stop that one, or name another folder with --data.`,
    exitCode.dataInUse,
  );
  let database: ReturnType<typeof openDatabase>;
  try {
    database = openDatabase(join(folder, 'lock.db'), driver);
  } catch (error) {
    // Even opening it fails while the other holds it in its rollback-journal mode.
    if (sqliteFault(error) === 'busy') throw refused;
    throw error;
  }
  try {
    database.exec('PRAGMA busy_timeout = 0');
    database.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if (sqliteFault(error) === 'busy') throw refused;
    throw error;
  }
  return () => {
    // libsql closes a database no sooner than its statements are collected, and the folder is to be free now.
    database.exec('ROLLBACK');
    database.close();
  };
}
