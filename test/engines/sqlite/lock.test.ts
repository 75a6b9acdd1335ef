import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { isDataFolderLocked, lockDataFolder } from '../../../src/engines/sqlite/lock.ts';
import { temporaryFolder } from '../../engine/harness.ts';

/** As a command holds it that looks whether a server is there, only longer. */
const holdFor30Ms = `
const Libsql = require('libsql');
const database = new Libsql(process.argv[1]);
database.exec('BEGIN EXCLUSIVE');
console.log('held');
setTimeout(() => database.exec('ROLLBACK'), 30);
`;

test('Who looks whether a folder is locked leaves nothing there, and does not keep it', () => {
  const folder = temporaryFolder();
  expect(isDataFolderLocked(folder)).toBe(false);
  expect(readdirSync(folder)).toEqual([]);
  const unlock = lockDataFolder(folder);
  expect(isDataFolderLocked(folder)).toBe(true);
  unlock();
  expect(isDataFolderLocked(folder)).toBe(false);
  lockDataFolder(folder)();
});

test('Who wants the lock waits for one who has it for a moment only', async () => {
  const folder = temporaryFolder();
  lockDataFolder(folder)();
  const holder = spawn(process.execPath, ['-e', holdFor30Ms, join(folder, 'lock.db')]);
  const exited = once(holder, 'exit');
  await once(holder.stdout, 'data');
  lockDataFolder(folder)();
  await exited;
});
