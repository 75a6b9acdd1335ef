/**
 * The server's log: one line for each thing worth knowing, for people or for machines. No line ever carries a client token.
 */
import { tokenPrefix } from './token.ts';

/** From the least important to the most; `silent` logs nothing. */
export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

export const logFormats = ['pretty', 'json'] as const;
export type LogFormat = (typeof logFormats)[number];

/** Says one line. An `Error` among the fields is shown with its stack. */
export interface Log {
  (level: Exclude<LogLevel, 'silent'>, message: string, fields?: Record<string, unknown>): void;
  /** Whether lines of this level are written: asked before a line that is costly to make. */
  enabled(level: LogLevel): boolean;
}

export interface LogOptions {
  level: LogLevel;
  format: LogFormat;
  /** Takes each line, its line break included. */
  write: (line: string) => void;
  /** Colours for a terminal; only for `pretty`. */
  colour?: boolean;
  now?: () => number;
}

export function createLog(options: LogOptions): Log {
  const threshold = logLevels.indexOf(options.level);
  const now = options.now ?? Date.now;
  const enabled = (level: LogLevel) => level !== 'silent' && logLevels.indexOf(level) >= threshold;
  const render = options.format === 'json' ? jsonLine : options.colour ? colouredLine : prettyLine;
  const log: Log = (level, message, fields = {}) => {
    if (enabled(level)) options.write(`${redactTokens(render(new Date(now()), level, message, fields))}\n`);
  };
  log.enabled = enabled;
  return log;
}

function jsonLine(time: Date, level: string, message: string, fields: Record<string, unknown>): string {
  try {
    return JSON.stringify({ time: time.toISOString(), level, message, ...fields }, plainErrors);
  } catch (error) {
    // A field that cannot be written (a cycle, a BigInt) must not cost the line.
    return JSON.stringify({ time: time.toISOString(), level, message, unloggable: textOf(error) });
  }
}

function plainErrors(_key: string, value: unknown): unknown {
  try {
    return value instanceof Error ? { name: value.name, message: value.message, stack: value.stack } : value;
  } catch {
    return unshowable;
  }
}

const unshowable = 'something was thrown that cannot be shown';

/** Whatever a task throws comes here, and no getter or trap of its making may throw at whoever logs it. */
function textOf(value: unknown): string {
  try {
    return value instanceof Error ? String(value.stack ?? value) : String(value);
  } catch {
    return unshowable;
  }
}

/** `instanceof` asks a proxy, which may throw. */
function isError(value: unknown): value is Error {
  try {
    return value instanceof Error;
  } catch {
    return false;
  }
}

/** What was thrown as an `Error`, whatever it is. */
export function asError(thrown: unknown): Error {
  return isError(thrown) ? thrown : new Error(textOf(thrown));
}

function prettyLine(time: Date, level: string, message: string, fields: Record<string, unknown>): string {
  let line = `${time.toISOString().slice(11, 23)} ${level.toUpperCase().padEnd(5)} ${oneLine(message)}`;
  let stacks = '';
  for (const [name, value] of Object.entries(fields)) {
    if (isError(value)) stacks += `\n${withoutControls(textOf(value)).replace(/^/gm, '    ')}`;
    else if (value !== undefined && value !== null) line += ` ${name}=${plainValue(value)}`;
  }
  return line + stacks;
}

const colours: Record<string, string> = { warn: '33', error: '31', fatal: '31', info: '32' };

function colouredLine(time: Date, level: string, message: string, fields: Record<string, unknown>): string {
  return prettyLine(time, level, message, fields).replace(
    /^(\S+) (\S+ *)/,
    `\x1b[2m$1\x1b[0m \x1b[${colours[level] ?? '2'}m$2\x1b[0m`,
  );
}

/** Nothing that a task or a caller says may look like a line of its own. */
export function oneLine(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return text.replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029]+/g, ' ');
}

/** What a task throws may have as many lines as it likes, and must not speak to the terminal. */
function withoutControls(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return text.replace(/[\x00-\x09\x0b-\x1f\x7f-\x9f]/g, ' ');
}

/** A field of a line for people: quoted only where it would otherwise run into its neighbours. */
function plainValue(value: unknown): string {
  if (typeof value === 'string' && /^[\x21-\x7e]+$/.test(value) && !value.includes('"')) return value;
  try {
    return oneLine(JSON.stringify(value) ?? String(value));
  } catch {
    return oneLine(textOf(value));
  }
}

/** Shorter than a token, so that one that lost a few characters is hidden too; longer than what ends `test_…` in plain text. */
const tokens = new RegExp(`${tokenPrefix}[0-9A-Za-z]{24,}`, 'g');

/** `text` with every client token in it made unreadable. */
export function redactTokens(text: string): string {
  return text.includes(tokenPrefix) ? text.replace(tokens, `${tokenPrefix}[redacted]`) : text;
}

/**
 * A URL as it may be logged. The segment where a client token stands is hidden whatever it holds, since a mistyped token is
 * nearly a token; so is any other that holds one, or that cannot be read, however it is percent-encoded.
 */
export function redactUrl(url: string): string {
  const pieces = url.split(/([/?&=;#])/);
  for (let i = 0; i < pieces.length; i += 2) {
    const piece = decoded(pieces[i] as string);
    const afterTasks = i >= 4 && pieces[i - 1] === '/' && decoded(pieces[i - 2] as string) === 'tasks';
    if (piece === undefined || (afterTasks && piece !== '') || piece !== redactTokens(piece))
      pieces[i] = '[redacted]';
  }
  return pieces.join('');
}

/** Decoded until nothing changes, so that no number of encodings hides anything; undefined when it cannot be decoded. */
function decoded(piece: string): string | undefined {
  let text = piece;
  for (let round = 0; round < 8 && text.includes('%'); round++) {
    try {
      const next = decodeURIComponent(text);
      if (next === text) return text;
      text = next;
    } catch {
      return undefined;
    }
  }
  return text.includes('%') ? undefined : text;
}
