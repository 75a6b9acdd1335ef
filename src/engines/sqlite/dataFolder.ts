/**
 * The store's database as commands open it, beside a server that may be running.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { exitCode, StartError } from '../../errors.ts';
import { type Database, openDatabase } from './driver.ts';
import { migrate } from './migrations.ts';

export const databaseFile = 'spyglass.db';

/** Opens the database of a data folder, and makes both where they are missing. */
export function openOrMakeDatabase(folder: string): Database {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return openMigrated(join(folder, databaseFile));
}

/**
 * Opens the database of a data folder that a server has used. Throws a `StartError` where there is none: what is decided in a folder
 * that was made for it, because its name was misspelt, nobody would ever hear of.
 */
export function openExistingDatabase(folder: string): Database {
  const path = join(folder, databaseFile);
  if (!existsSync(path)) {
    throw new StartError(
      `--data: there is no database in ${resolve(folder)}. ` +
        'Name the folder that the server has with --data or SPYGLASS_DATA, or start a server on this one first.',
    );
  }
  try {
    return openMigrated(path);
  } catch (error) {
    if (error instanceof StartError) throw error;
    throw new StartError(
      `--data: the database in ${resolve(folder)} cannot be opened: ${(error as Error).message}.`,
      exitCode.failed,
    );
  }
}

function openMigrated(path: string): Database {
  const database = openDatabase(path);
  migrate(database, path);
  return database;
}
