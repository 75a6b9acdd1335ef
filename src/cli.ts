#!/usr/bin/env node
/**
 * The command line: what is asked for, and how it ends.
 */
import { Command, CommanderError } from 'commander';
import { cancelCommand } from './cancelCommand.ts';
import { exitCode, StartError } from './errors.ts';
import { modeCommands } from './modeCommand.ts';
import { serveCommand } from './serveCommand.ts';
import { tokenCommand } from './tokenCommand.ts';
import { packageVersion } from './version.ts';

const examples = `
Examples:
  spyglass-tasks serve                          serve the task files in ./tasks on http://localhost:8000
  spyglass-tasks serve ./reports --port 8123    another folder, another port
  spyglass-tasks token create --label "Ann"     a client token, printed once
  spyglass-tasks token revoke 8mWc1KxTqZ        by the id that "token list" shows
  spyglass-tasks pause reports nightly          a task, or a whole state; "resume" ends it
  spyglass-tasks cancel --state reports --active pending

Each command has its own help: spyglass-tasks serve --help

Exit codes:
  0  fine
  1  failed while running (a port that is taken, a disk that cannot be written)
  2  wrong use: a flag, an environment variable, a task file
  3  the data folder is in use by another server
`;

function program(): Command {
  // Commands take over the settings that their parent has when they are added, so these come first.
  const root = new Command('spyglass-tasks').exitOverride().configureOutput({
    outputError: (text, write) => write(text.replace(/^error: /, 'spyglass-tasks: ')),
  });
  root
    .description(
      'Write one static method, get a live task API: REST, WebSocket progress and documents, durable on one machine.',
    )
    .version(packageVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .helpCommand(false)
    .showHelpAfterError('Add --help to see what there is.')
    .addHelpText('after', examples);
  serveCommand(root);
  tokenCommand(root);
  modeCommands(root);
  cancelCommand(root);
  return root;
}

/** Whoever read our output may have gone (`| head`): nothing is left to be said then, and no reason to stop serving. */
function ignoreClosedOutput(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
}

/** Says why, and answers with how the process is to end. */
function report(error: unknown): number {
  // Commander has printed what it has to say.
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCode.fine : exitCode.wrongUse;
  if (error instanceof StartError) {
    process.stderr.write(`spyglass-tasks: ${error.message}\n`);
    return error.exitCode;
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.stderr.write(`spyglass-tasks: ${text}\n`);
  return exitCode.failed;
}

ignoreClosedOutput();
// What is stored, and so what tasks write, is for the server's own user, also in a folder that others can read.
process.umask(0o077);
try {
  await program().parseAsync();
} catch (error) {
  const code = report(error);
  // A start that failed half-way must not be kept alive by what it opened.
  process.exit(code);
}
