/**
 * `spyglass-tasks token`: makes, lists and revokes client tokens, beside a running server or without one.
 */
import { type Command, Option } from 'commander';
import { systemClock } from './clock.ts';
import { duration, readSetting, settings } from './config.ts';
import { openTokens } from './engines/open.ts';
import { exitCode, StartError, shown } from './errors.ts';
import { type Flags, joinRepeated, settingOption } from './serveCommand.ts';
import { type ClientToken, makeToken, type TokenStore, tokenDigest, tokenPrefix } from './token.ts';

export function tokenCommand(root: Command): void {
  const command = root
    .command('token')
    .description('make, list and revoke client tokens, beside a running server or without one')
    .helpCommand(false);
  command
    .command('create')
    .description('make a client token and print it, alone, on standard output: it is shown this once')
    .option('--label <text>', 'whose it is, for you to know it again; tasks see it')
    .addOption(
      new Option(
        '--state <name>',
        'a state it may be used for; repeat it, or separate names with commas (default: all)',
      ).argParser(joinRepeated),
    )
    .option('--expires <duration>', 'when it stops working, such as 12h or 30d from now (default: never)')
    .addOption(settingOption('data'))
    .action(create);
  command
    .command('list')
    .description('list the client tokens, oldest first')
    .option('--json', 'one JSON object a line')
    .addOption(settingOption('data'))
    .action(list);
  command
    .command('revoke')
    .description('end a client token at once; its open streams are closed')
    .argument('<id or token>', 'the id that "token list" shows, or the token itself')
    .addOption(settingOption('data'))
    .action(revoke);
}

async function create(flags: Flags): Promise<void> {
  const now = systemClock.now();
  const states = flags.state?.split(',').map((name) => name.trim()) ?? null;
  if (states?.includes('')) throw new StartError(`--state: "${flags.state}" is not a list of state names.`);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they would garble the list
  if (flags.label !== undefined && !/^[^\x00-\x1f\x7f]{1,200}$/.test(flags.label)) {
    throw new StartError(`--label: ${shown(flags.label)} is not a line of 1 to 200 characters.`);
  }
  const expiresAt = flags.expires === undefined ? null : now + expiresIn(flags.expires);
  const { token, secret } = makeToken({ label: flags.label ?? null, states, expiresAt }, now);
  await withTokens(flags, (tokens) => tokens.create(token));
  process.stdout.write(`${secret}\n`);
  const where = flags.data === undefined ? '' : ` --data ${flags.data}`;
  process.stderr.write(
    `${described(token)} It is shown this once; "spyglass-tasks token revoke ${token.id}${where}" ends it.\n`,
  );
}

const longestMs = 36_500 * 86_400_000;

function expiresIn(text: string): number {
  const ms = duration(text, longestMs);
  if (ms !== undefined && ms > 0) return ms;
  throw new StartError(`--expires: "${text}" is not a duration of up to 36500d, such as 90s, 12h or 30d.`);
}

async function list(flags: Flags): Promise<void> {
  const tokens = await withTokens(flags, (store) => store.list());
  if (flags.json) {
    for (const token of tokens) process.stdout.write(`${JSON.stringify(row(token))}\n`);
  } else if (tokens.length === 0) {
    process.stderr.write('There are no client tokens. Make one with "spyglass-tasks token create".\n');
  } else {
    const rows = tokens.map(row).map(({ id, label, states, created, expires, status }) => {
      return [id, label ?? '-', states?.join(',') ?? 'all', created, expires ?? 'never', status];
    });
    process.stdout.write(table(['ID', 'LABEL', 'STATES', 'CREATED', 'EXPIRES', 'STATUS'], rows));
  }
}

function row({ id, label, states, createdAt, expiresAt, revokedAt }: ClientToken) {
  const isOver = expiresAt !== null && systemClock.now() >= expiresAt;
  return {
    id,
    label,
    states,
    created: dateTime(createdAt),
    expires: expiresAt === null ? null : dateTime(expiresAt),
    status: revokedAt !== null ? 'revoked' : isOver ? 'expired' : 'active',
  };
}

async function revoke(idOrToken: string, flags: Flags): Promise<void> {
  const isToken = idOrToken.startsWith(tokenPrefix);
  const key = isToken ? tokenDigest(idOrToken) : idOrToken;
  const token = await withTokens(flags, (tokens) => tokens.revoke(key, systemClock.now()));
  if (!token) {
    const what = isToken ? 'This token' : `A token with the id "${idOrToken}"`;
    throw new StartError(
      `${what} is not known here. "token list" shows the ids; --data says in which folder to look.`,
      exitCode.failed,
    );
  }
  process.stderr.write(`${described(token)} It was revoked at ${dateTime(token.revokedAt ?? 0)}.\n`);
}

const noticeMs = 120;

async function withTokens<T>(flags: Flags, use: (tokens: TokenStore) => Promise<T>): Promise<T> {
  const data = readSetting('data', flags.data, process.env) ?? settings.data.fallback;
  const tokens = await openTokens({ data });
  try {
    const answer = await use(tokens);
    // A running server notices within 100 ms: a script's next line can then rely on it.
    await new Promise((resolve) => setTimeout(resolve, noticeMs));
    return answer;
  } finally {
    tokens.close();
  }
}

function described({ id, label, states, expiresAt }: ClientToken): string {
  const whose = label === null ? '' : ` (${label})`;
  const where = states === null ? 'all states' : states.join(', ');
  const until = expiresAt === null ? '' : `, until ${dateTime(expiresAt)}`;
  return `Client token ${id}${whose} for ${where}${until}.`;
}

/** UTC, to the second. */
function dateTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

function table(head: string[], rows: string[][]): string {
  const widths = head.map((_, column) =>
    Math.max(...[head, ...rows].map((cells) => cells[column]?.length ?? 0)),
  );
  const line = (cells: string[]) => cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ');
  return [head, ...rows].map((cells) => `${line(cells).trimEnd()}\n`).join('');
}
