/**
 * What the commands of an admin share: the data that they are about, and the refusal of names that are not there.
 */
import { resolve } from 'node:path';
import type { Option } from 'commander';
import type { AdminStore } from './admin.ts';
import { readSetting, settings } from './config.ts';
import type { Scope } from './engine.ts';
import { openAdmin } from './engines/open.ts';
import { StartError } from './errors.ts';
import { type Flags, settingOption } from './serveCommand.ts';
import { ServedTasks } from './servedTasks.ts';

/** `--data` of a command that refuses a folder without a database: there is nothing in a new one to decide about. */
export function existingDataOption(): Option {
  return settingOption('data', 'folder of the database, which a server must have made');
}

export async function withAdmin(
  flags: Flags,
  use: (admin: AdminStore, data: string) => Promise<void>,
): Promise<void> {
  const data = readSetting('data', flags.data, process.env) ?? settings.data.fallback;
  const admin = await openAdmin({ data });
  try {
    await use(admin, data);
  } finally {
    admin.close();
  }
}

/** A misspelt name would do nothing, and look as if it did. `otherwise`: what to do about a name that is right all the same. */
export function refuseUnknown(scope: Scope, admin: AdminStore, data: string, otherwise: string): void {
  const served = new ServedTasks(admin.served());
  const missing = served.missing(scope);
  if (missing === undefined || admin.hasActive(scope)) return;
  const folder = resolve(data);
  const why = served.isEmpty
    ? `No server has served anything from ${folder} yet.`
    : `${missing} So says the latest server on ${folder}.`;
  throw new StartError(`${why} Check the name and --data${otherwise}.`);
}
