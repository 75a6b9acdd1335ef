/**
 * `spyglass-tasks serve`, as the command line shows it. What it does is loaded when it is asked for: `token` and `--help`
 * need none of it.
 */
import { type Command, Option } from 'commander';
import { defaultFolder, flagName, readConfig, type SettingName, settingNames, settings } from './config.ts';

const notes = `
In brackets is the name by which the environment sets the same; a flag wins.
A duration is a number with a unit: 500ms, 20s, 5m, 2h, 30d.

Examples:
  spyglass-tasks serve
  SPYGLASS_PORT=8123 spyglass-tasks serve ./reports --data /var/lib/spyglass
  spyglass-tasks serve --host 0.0.0.0 --direct off --allow-host tasks.example.com

SIGTERM or SIGINT stops it: starts are refused, running attempts get the grace
time, and what is left is run again at the next start. A second signal exits at
once.
`;

/** The values of the flags as they were given, by Commander's camel-case names. */
export type Flags = Record<string, string | undefined>;

export function serveCommand(root: Command): void {
  const command = root
    .command('serve')
    .description('serve the tasks of a folder')
    .argument('[folder]', `folder of the task files (default: ${defaultFolder})`)
    .addHelpText('after', notes);
  for (const name of settingNames) command.addOption(settingOption(name));
  command.action(async (folder: string | undefined, flags: Flags) => {
    const config = readConfig(folder, flagValues(flags), process.env);
    const { serve } = await import('./serve.ts');
    await serve(config);
  });
}

/** `meaning`: what it is to a command for which it is not quite what it is to `serve`. */
export function settingOption(name: SettingName, meaning: string = settings[name].meaning): Option {
  const { flag, fallback, fallbackShown, environment } = settings[name];
  const shown = fallbackShown ?? String(fallback);
  const option = new Option(flag, `${meaning} (default: ${shown}) [${environment.join(', ')}]`);
  return Array.isArray(fallback) ? option.argParser(joinRepeated) : option;
}

/** A flag that is repeated arrives as one text with commas, as the environment has it. */
export function joinRepeated(value: string, before: string | undefined): string {
  return before === undefined ? value : `${before},${value}`;
}

function flagValues(flags: Flags): Partial<Record<SettingName, string>> {
  const values: Partial<Record<SettingName, string>> = {};
  for (const name of settingNames) {
    const camelCase = flagName(name)
      .slice(2)
      .replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
    const text = flags[camelCase];
    if (text !== undefined) values[name] = text;
  }
  return values;
}
