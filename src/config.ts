/**
 * Every setting once: its flag, its environment names, its default, what it means and what it allows. `--help`, the
 * environment and the defaults of `createServer` all come out of the one table below.
 */
import { isIP, isIPv4 } from 'node:net';
import { availableParallelism } from 'node:os';
import { StartError } from './errors.ts';
import { type LogFormat, type LogLevel, logFormats, logLevels } from './logging.ts';

export interface Config {
  /** Folder of the task files. */
  folder: string;
  /** `localhost` binds both loopback addresses. */
  host: string;
  /** 0 picks a free one. */
  port: number;
  /** Folder of the database; made when missing. */
  data: string;
  logLevel: LogLevel;
  logFormat: LogFormat;
  /** Whether the direct routes exist; undefined: not said, which is "on" on loopback and refused on a public address. */
  direct: boolean | undefined;
  /** Names that the `Host` of a request may have besides those the server knows itself; lower case, without a port. */
  allowHost: string[];
  /** Origins that may use the server from a browser, such as `https://app.example.com`. */
  allowOrigin: string[];
  /** Starts and watches a second for each IP, and for each token; 0: no limit. undefined: none on loopback, else 100. */
  rateLimit: number | undefined;
  /** How long running attempts may go on after SIGTERM. */
  graceMs: number;
  /** Attempts at once. */
  concurrency: number;
  /** Of them in worker threads, for tasks with `isolate`. */
  threads: number;
  /** Finished runs are kept so long at the most. */
  keepMs: number;
  /** This many finished runs are kept at the most. */
  keepRuns: number;
}

/** What a flag or an environment variable can set: everything but the folder, which is the argument of `serve`. */
export type SettingName = Exclude<keyof Config, 'folder'>;

export interface Setting<T> {
  /** As the command line takes it: `--port <number>`. */
  flag: string;
  /** The first that is set and not empty counts. */
  environment: readonly string[];
  fallback: T;
  /** The default as `--help` shows it, where that is not the value itself. */
  fallbackShown?: string;
  meaning: string;
  /** Ends the sentence "… is not ": what would have been right. */
  allowed: string;
  /** The value that `text` stands for, or undefined when it is not allowed. */
  parse(text: string): T | undefined;
}

export const settings: { readonly [Name in SettingName]: Setting<Config[Name]> } = {
  host: {
    flag: '--host <name>',
    environment: ['SPYGLASS_HOST'],
    fallback: 'localhost',
    meaning: 'address to listen on; localhost is both 127.0.0.1 and ::1',
    allowed: 'a host name or an IP address, such as localhost or 0.0.0.0',
    parse: (text) => hostName(text)?.replace(/^\[(.*)\]$/, '$1'),
  },
  port: {
    flag: '--port <number>',
    environment: ['SPYGLASS_PORT', 'PORT'],
    fallback: 8000,
    meaning: 'port to listen on; 0 picks a free one',
    allowed: 'a whole number from 0 to 65535',
    parse: (text) => wholeNumber(text, 0, 65_535),
  },
  data: {
    flag: '--data <folder>',
    environment: ['SPYGLASS_DATA'],
    fallback: './.spyglass',
    meaning: 'folder of the database, made when missing',
    allowed: 'the path of a folder',
    parse: (text) => (text.trim() === '' || text.includes('\0') ? undefined : text),
  },
  logLevel: {
    flag: '--log-level <level>',
    environment: ['SPYGLASS_LOG_LEVEL'],
    fallback: 'info',
    meaning: 'the least important lines to log',
    allowed: `one of ${logLevels.join(', ')}`,
    parse: (text) => logLevels.find((level) => level === text),
  },
  logFormat: {
    flag: '--log-format <format>',
    environment: ['SPYGLASS_LOG_FORMAT'],
    fallback: 'pretty',
    meaning: 'pretty for people, json for machines (one object a line)',
    allowed: `one of ${logFormats.join(', ')}`,
    parse: (text) => logFormats.find((format) => format === text),
  },
  direct: {
    flag: '--direct <on|off>',
    environment: ['SPYGLASS_DIRECT'],
    fallback: undefined,
    fallbackShown: 'on for localhost, must be said otherwise',
    meaning: 'whether runs can be started and read without a client token',
    allowed: 'on or off',
    parse: (text) => (text === 'on' ? true : text === 'off' ? false : undefined),
  },
  allowHost: {
    flag: '--allow-host <name>',
    environment: ['SPYGLASS_ALLOW_HOST'],
    fallback: [],
    fallbackShown: 'none',
    meaning: 'also serve requests whose Host is this name; repeat it, or separate names with commas',
    allowed: 'a host name without scheme, port or path, such as tasks.example.com',
    parse: (text) => list(text, hostName),
  },
  allowOrigin: {
    flag: '--allow-origin <origin>',
    environment: ['SPYGLASS_ALLOW_ORIGIN'],
    fallback: [],
    fallbackShown: 'none',
    meaning: 'let pages of this origin use the server (CORS); repeat it, or separate origins with commas',
    allowed: 'an origin without a path, such as https://app.example.com',
    parse: (text) => list(text, origin),
  },
  rateLimit: {
    flag: '--rate-limit <number>',
    environment: ['SPYGLASS_RATE_LIMIT'],
    fallback: undefined,
    fallbackShown: 'none on localhost, else 100',
    meaning: 'starts and watches a second for each IP address, and for each token; 0 for no limit',
    allowed: 'a whole number from 0 to 1000000',
    parse: (text) => wholeNumber(text, 0, 1_000_000),
  },
  graceMs: {
    flag: '--grace <duration>',
    environment: ['SPYGLASS_GRACE'],
    fallback: 20_000,
    fallbackShown: '20s',
    meaning: 'how long running attempts may go on after SIGTERM or SIGINT',
    allowed: 'a duration of up to 24h, such as 500ms, 20s or 5m',
    parse: (text) => duration(text, 86_400_000),
  },
  concurrency: {
    flag: '--concurrency <number>',
    environment: ['SPYGLASS_CONCURRENCY'],
    fallback: 100,
    meaning: 'attempts at once',
    allowed: 'a whole number from 1 to 100000',
    parse: (text) => wholeNumber(text, 1, 100_000),
  },
  threads: {
    flag: '--threads <number>',
    environment: ['SPYGLASS_THREADS'],
    fallback: Math.max(4, availableParallelism()),
    fallbackShown: 'as many as CPUs, at least 4',
    meaning: 'worker threads for tasks with isolate: true',
    allowed: 'a whole number from 1 to 1000',
    parse: (text) => wholeNumber(text, 1, 1000),
  },
  keepMs: {
    flag: '--keep-for <duration>',
    environment: ['SPYGLASS_KEEP_FOR'],
    fallback: 30 * 86_400_000,
    fallbackShown: '30d',
    meaning: 'how long finished runs are kept',
    allowed: 'a duration of up to 36500d, such as 90s, 12h or 30d',
    parse: (text) => duration(text, 36_500 * 86_400_000),
  },
  keepRuns: {
    flag: '--keep-runs <number>',
    environment: ['SPYGLASS_KEEP_RUNS'],
    fallback: 1_000_000,
    meaning: 'how many finished runs are kept at the most',
    allowed: 'a whole number from 1 to 1000000000',
    parse: (text) => wholeNumber(text, 1, 1_000_000_000),
  },
};

export const settingNames = Object.keys(settings) as SettingName[];

/** `--port` of `--port <number>`. */
export function flagName(name: SettingName): string {
  return settings[name].flag.split(' ', 1)[0] as string;
}

export const defaultFolder = './tasks';

/** A whole config out of the settings that were given, the rest at their defaults. Throws a `StartError` when it cannot stand. */
export function completeConfig(given: Partial<Config>): Config {
  const config = { folder: defaultFolder, ...given } as Record<string, unknown>;
  for (const name of settingNames) config[name] ??= settings[name].fallback;
  const complete = config as unknown as Config;
  if (complete.direct === undefined && !isLoopback(complete.host)) {
    throw new StartError(
      `--host ${complete.host} can be reached from other machines. Say --direct off, so that only holders of a client ` +
        'token can start runs, or --direct on, so that everybody who reaches the address can.',
    );
  }
  return complete;
}

/**
 * Reads the settings: a flag wins over the environment, the environment over the default. Throws a `StartError` that names
 * the flag or the environment name, the value and what is allowed.
 */
export function readConfig(
  folder: string | undefined,
  flags: Partial<Record<SettingName, string>>,
  environment: Readonly<Record<string, string | undefined>>,
): Config {
  const given: Record<string, unknown> = {};
  if (folder !== undefined) given.folder = folder;
  for (const name of settingNames) {
    const value = readSetting(name, flags[name], environment);
    if (value !== undefined) given[name] = value;
  }
  return completeConfig(given as Partial<Config>);
}

/** One setting as said by its flag or else by the environment; undefined when nobody said it. */
export function readSetting<Name extends SettingName>(
  name: Name,
  flagText: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
): Config[Name] | undefined {
  const setting = settings[name];
  if (flagText !== undefined) return parsed(flagName(name), flagText, setting);
  for (const variable of setting.environment) {
    const text = environment[variable];
    if (text !== undefined && text !== '') return parsed(variable, text, setting);
  }
  return undefined;
}

function parsed<T>(source: string, text: string, setting: Setting<T>): T {
  const value = setting.parse(text);
  if (value === undefined) throw new StartError(`${source}: "${text}" is not ${setting.allowed}.`);
  return value;
}

/** Whether the direct routes exist. */
export function directIsOn(config: Config): boolean {
  return config.direct ?? isLoopback(config.host);
}

/** Starts a second for each IP address and each token; 0: no limit. */
export function startsPerSecond(config: Config): number {
  return config.rateLimit ?? (isLoopback(config.host) ? 0 : 100);
}

/** Whether a host name or address (without brackets or port) can only be this machine. */
export function isLoopback(host: string): boolean {
  const name = host.toLowerCase();
  if (name === 'localhost' || name.endsWith('.localhost') || name === '::1') return true;
  return isIPv4(name) && name.startsWith('127.');
}

const unitsMs: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds of a duration such as `500ms`, `20s`, `5m`, `2h` or `30d`; undefined when it is none, or longer than `atMostMs`. */
export function duration(text: string, atMostMs: number): number | undefined {
  const [, amount, unit] = /^(\d{1,12})(ms|s|m|h|d)$/.exec(text.trim()) ?? [];
  if (amount === undefined || unit === undefined) return undefined;
  const ms = Number(amount) * (unitsMs[unit] as number);
  return ms <= atMostMs ? ms : undefined;
}

function wholeNumber(text: string, atLeast: number, atMost: number): number | undefined {
  const trimmed = text.trim();
  if (!/^\d{1,15}$/.test(trimmed)) return undefined;
  const value = Number(trimmed);
  return value >= atLeast && value <= atMost ? value : undefined;
}

/** A name or an address as the `Host` header writes it (an IPv6 address in brackets), in lower case. */
function hostName(text: string): string | undefined {
  const name = text.trim().toLowerCase();
  if (isIP(name) === 6) return `[${name}]`;
  if (name.startsWith('[') && name.endsWith(']') && isIP(name.slice(1, -1)) === 6) return name;
  return /^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$/.test(name) ? name : undefined;
}

function origin(text: string): string | undefined {
  const trimmed = text.trim();
  if (!/^https?:\/\/[^/?#@\s]+\/?$/i.test(trimmed) || !URL.canParse(trimmed)) return undefined;
  return new URL(trimmed).origin;
}

function list<T>(text: string, parse: (item: string) => T | undefined): T[] | undefined {
  const items: T[] = [];
  for (const item of text.split(',')) {
    const value = parse(item);
    if (value === undefined) return undefined;
    items.push(value);
  }
  return items;
}
