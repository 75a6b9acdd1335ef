/**
 * `spyglass-tasks pause`, `drain` and `resume`: what an admin decides about a state or a task, beside a running server or without
 * one. It outlives both.
 */
import type { Command } from 'commander';
import type { AdminStore } from './admin.ts';
import { existingDataOption, refuseUnknown, withAdmin } from './adminCommand.ts';
import type { Mode, Scope } from './engine.ts';
import type { Flags } from './serveCommand.ts';

const commands: { name: string; mode: Mode; meaning: string; told: string }[] = [
  {
    name: 'pause',
    mode: 'pause',
    meaning: 'let the runs of a state or a task wait: starts are taken, and none begins',
    told: 'is paused: starts are taken and wait; what is at work goes on',
  },
  {
    name: 'drain',
    mode: 'drain',
    meaning: 'take no more starts of a state or a task, and run those that wait',
    told: 'is drained: starts are refused with 503; what waits is run',
  },
  {
    name: 'resume',
    mode: 'run',
    meaning: 'end the pause, or the draining, of a state or a task',
    told: 'is neither paused nor drained by itself any more',
  },
];

export function modeCommands(root: Command): void {
  for (const { name, mode, meaning, told } of commands) {
    const command = root
      .command(name)
      .description(meaning)
      .argument('<state>', 'the name of the state')
      .argument('[task]', 'one of its tasks (default: all of them)')
      .addOption(existingDataOption());
    if (mode !== 'run') command.option('--force', 'also for a name that only a later server will have');
    command.action(async (state: string, task: string | undefined, flags: Flags) => {
      await decide(task === undefined ? { state } : { state, task }, mode, told, flags);
    });
  }
}

/** A running server notices within 100 ms: a script's next line can then rely on it. */
const noticeMs = 120;

async function decide(scope: Scope, mode: Mode, told: string, flags: Flags): Promise<void> {
  await withAdmin(flags, async (admin, data) => {
    // What is in force can always be ended, whoever still has it.
    const isEnding = mode === 'run' && isInForce(scope, admin);
    if (!flags.force && !isEnding) {
      const otherwise =
        mode === 'run'
          ? `; ${inForce(admin) || 'nothing is paused or drained'}`
          : '; --force takes a name that only a later server will have';
      refuseUnknown(scope, admin, data, otherwise);
    }
    admin.setMode(scope, mode);
    await new Promise((resolve) => setTimeout(resolve, noticeMs));
    process.stderr.write(`${described(scope)} ${told}.\n${rest(admin)}`);
  });
}

function isInForce({ state, task }: Scope, admin: AdminStore): boolean {
  return admin.modes().some(({ scope }) => scope.state === state && scope.task === task);
}

/** What else is paused or drained, lest an admin wonder why nothing moves. */
function rest(admin: AdminStore): string {
  const text = inForce(admin);
  return text === '' ? '' : `I${text.slice(1)}.\n`;
}

function inForce(admin: AdminStore): string {
  const all = admin
    .modes()
    .map(({ scope, mode }) => `${mode} ${scope.state}${scope.task === undefined ? '' : ` ${scope.task}`}`);
  return all.length === 0 ? '' : `in force: ${all.join(', ')}`;
}

function described({ state, task }: Scope): string {
  return task === undefined ? `The state ${state}` : `The task ${task} of the state ${state}`;
}
