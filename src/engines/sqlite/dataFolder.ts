/**
 * The store's database as commands open it, beside a server that may be running.
 */
import { accessSync, constants, mkdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { exitCode, StartError } from '../../errors.ts';
import { type Database, openDatabase } from './driver.ts';
import { migrate } from './migrations.ts';

export const databaseFile = 'spyglass.db';

/** Opens the database of a data folder, and makes both where they are missing. Throws a `StartError` where that cannot be. */
export function openOrMakeDatabase(folder: string): Database {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    if (exists(folder)) requireUsable(folder);
    return openMigrated(folder);
  } catch (error) {
    throw explained(folder, error);
  }
}

/**
 * Opens the database of a data folder that a server has used. Throws a `StartError` where there is none: what is decided in a folder
 * that was made for it, because its name was misspelt, nobody would ever hear of.
 */
export function openExistingDatabase(folder: string): Database {
  try {
    if (!exists(folder)) {
      throw new StartError(
        `--data: there is no database in ${resolve(folder)}. ` +
          'Name the folder that the server has with --data or SPYGLASS_DATA, or start a server on this one first.',
      );
    }
    requireUsable(folder);
    return openMigrated(folder);
  } catch (error) {
    throw explained(folder, error);
  }
}

/** Throws where the folder does not let anybody look. */
function exists(folder: string): boolean {
  try {
    statSync(join(folder, databaseFile));
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return false;
    throw error;
  }
}

/** Asked of the file system, since all that the drivers say is that it cannot be opened. */
function requireUsable(folder: string): void {
  const path = join(folder, databaseFile);
  if (!statSync(path).isFile()) {
    throw new StartError(
      `--data: ${resolve(path)} is not a file. Name another folder with --data or SPYGLASS_DATA.`,
    );
  }
  accessSync(path, constants.R_OK | constants.W_OK);
}

function openMigrated(folder: string): Database {
  const path = join(folder, databaseFile);
  const database = openDatabase(path);
  migrate(database, path);
  return database;
}

function explained(folder: string, error: unknown): StartError {
  if (error instanceof StartError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  const why =
    code === 'EACCES' || code === 'EPERM'
      ? `may not be read and written by this user (${code}). Run the command as the user that runs the server`
      : `cannot be opened: ${message}`;
  return new StartError(`--data: the database in ${resolve(folder)} ${why}.`, exitCode.failed);
}
