/**
 * `spyglass-tasks cancel`: ends all runs that match. Those at work are in the server's process, so it is the server that does it, the
 * running one or the next.
 */
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import type { AdminStore, CancelProgress } from './admin.ts';
import { existingDataOption, refuseUnknown, withAdmin } from './adminCommand.ts';
import { systemClock } from './clock.ts';
import type { Match } from './engine.ts';
import { exitCode, StartError, shown } from './errors.ts';
import type { Flags } from './serveCommand.ts';
import { type ClientToken, tokenDigest, tokenPrefix } from './token.ts';

const notes = `
What is given must all hold. Runs that are accepted after the command was given
are not meant.

Examples:
  spyglass-tasks cancel --state reports
  spyglass-tasks cancel --state reports --task nightly --active pending
  spyglass-tasks cancel --client "Ann"
`;

/** How soon an order that was carried out is heard of, and how long one that comes no further is waited for. */
const pollMs = 25;
const patienceMs = 10_000;

export function cancelCommand(root: Command): void {
  const filters = ['state', 'task', 'client', 'direct'];
  root
    .command('cancel')
    .description('end all runs that match: those that wait at once, those at work are asked to stop')
    .option('--state <name>', 'runs of this state')
    .option('--task <name>', 'of this task of the state')
    .option('--client <id or label>', 'runs of this client token, by what "token list" shows of it')
    .addOption(new Option('--direct', 'runs that were started without a token').conflicts('client'))
    .addOption(
      new Option('--active <pending|running>', 'only those that wait, or only those at work').choices([
        'pending',
        'running',
      ]),
    )
    .addOption(new Option('--all', 'the runs of everybody').conflicts(filters))
    .addOption(existingDataOption())
    .addHelpText('after', notes)
    .action(cancel);
}

async function cancel(flags: Flags): Promise<void> {
  if (!flags.all && !flags.state && !flags.task && !flags.client && !flags.direct) {
    throw new StartError(
      'cancel: say which runs, with --state, --task, --client or --direct; or --all for the runs of everybody.',
    );
  }
  if (flags.task !== undefined && flags.state === undefined) {
    throw new StartError(`--task: say with --state which state has the task ${shown(flags.task)}.`);
  }
  await withAdmin(flags, async (admin, data) => {
    const match = readMatch(flags, admin, data);
    const order = admin.orderCancel(match, systemClock.now());
    const progress = await followed(order, admin);
    if (progress.isDone) process.stdout.write(`${told(progress)}\n`);
    else if (admin.isServerRunning()) {
      throw new StartError(
        `The server on ${resolve(data)} has not carried this out for ${patienceMs / 1000} s; its log may say what is in the way. ` +
          'It is kept: the server does it when it can, or the next one before it runs anything.',
        exitCode.failed,
      );
    } else {
      process.stderr.write(
        `No server runs on ${resolve(data)}. This is kept: the next one does it before it runs anything.\n`,
      );
    }
  });
}

function readMatch({ state, task, client, direct, active }: Flags, admin: AdminStore, data: string): Match {
  if (state !== undefined) refuseUnknown(task === undefined ? { state } : { state, task }, admin, data, '');
  return {
    ...(state !== undefined && { state }),
    ...(task !== undefined && { task }),
    ...(client !== undefined && { client: clientId(client, admin.tokens()) }),
    ...(direct && { client: null }),
    ...(active !== undefined && { active: active as 'pending' | 'running' }),
  };
}

/** Also of a token that was revoked: its runs go on. */
function clientId(given: string, tokens: readonly ClientToken[]): string {
  const isToken = given.startsWith(tokenPrefix);
  const digest = isToken ? tokenDigest(given) : undefined;
  const named = tokens.find((token) => token.id === given || token.digest === digest);
  if (named) return named.id;
  const labelled = tokens.filter(({ label }) => label === given).map(({ id }) => id);
  if (labelled.length > 1) {
    throw new StartError(
      `--client: ${labelled.length} client tokens are labelled ${shown(given)}. Name one by its id: ${labelled.join(', ')}.`,
    );
  }
  const [id] = labelled;
  if (id !== undefined) return id;
  const what = isToken
    ? 'this token is not known here'
    : `no client token has the id or label ${shown(given)}`;
  throw new StartError(`--client: ${what}. "token list" shows those there are; --data says in which folder.`);
}

/** Waits as long as the order comes on, and a server is there to carry it out. */
async function followed(order: number, admin: AdminStore): Promise<CancelProgress> {
  let progress = admin.cancelProgress(order);
  for (let waitedMs = 0; !progress.isDone && waitedMs < patienceMs; waitedMs += pollMs) {
    const isOver = !admin.isServerRunning();
    const before = progress;
    if (!isOver) await sleep(pollMs);
    // Once more after the server has gone: it may have been its last deed.
    progress = admin.cancelProgress(order);
    if (isOver) break;
    if (progress.ended !== before.ended || progress.asked !== before.asked) waitedMs = 0;
  }
  return progress;
}

function told({ ended, asked }: CancelProgress): string {
  const parts = [
    ...(ended > 0 ? [`${ended} that waited`] : []),
    ...(asked > 0 ? [`${asked} at work, asked to stop`] : []),
  ];
  const count = ended + asked;
  return `${count} ${count === 1 ? 'run' : 'runs'} cancelled: ${parts.join(', ') || 'none matches'}.`;
}
