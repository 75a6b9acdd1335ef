/**
 * The built server as a process of its own: `node dist/cli.js serve` on a free port, with folders of its own. When the test
 * ends all of it is gone, or the test fails. It needs `npm run build`.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { onTestFinished } from 'vitest';
import { openTokens } from '../../src/engines/open.ts';
import { makeToken } from '../../src/token.ts';
import { Api } from './api.ts';

export const cliFile = resolve(import.meta.dirname, '../../dist/cli.js');
/** The state `lab`, in plain JavaScript: nothing has to be compiled, so that a server is there soon. */
export const labFolder = resolve(import.meta.dirname, '../reliability/tasks');

/** Marks every process of a home, whoever started it. */
const homeVariable = 'SPYGLASS_TEST_HOME';

export interface LaunchOptions {
  /** Flags of `serve` besides those that are always given. */
  flags?: string[];
  /** Words before `node`, such as `strace …`; the process they make must become `node`. */
  through?: string[];
  /** Of task files. Default: that of the state `lab`. */
  folder?: string;
  /** Default: the home's. */
  data?: string;
  environment?: Record<string, string>;
}

export interface LogLine {
  time: string;
  level: string;
  message: string;
  [field: string]: unknown;
}

/** What a command that has ended said. */
export interface Said {
  code: number;
  stdout: string;
  stderr: string;
}

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** Folders for servers that live one after the other, or fight over them. */
export class Home {
  readonly root: string;
  readonly data: string;
  /** Where its processes put temporary files: there must be none in the end. */
  readonly #temporary: string;
  readonly #processes: ServerProcess[] = [];

  constructor() {
    this.root = mkdtempSync(join(tmpdir(), 'spyglass-home-'));
    this.data = join(this.root, 'data');
    this.#temporary = join(this.root, 'tmp');
    mkdirSync(this.#temporary);
    onTestFinished(() => this.#leave());
  }

  /** Starts a server, and does not wait for it. */
  launch(options: LaunchOptions = {}): ServerProcess {
    const { flags = [], through = [], folder = labFolder, data = this.data, environment = {} } = options;
    const [command, ...words] = [...through, process.execPath, cliFile, 'serve', folder];
    const standing = ['--host', '127.0.0.1', '--port', '0', '--data', data, '--log-format', 'json'];
    const child = spawn(command as string, [...words, ...standing, ...flags], {
      env: { ...this.environment, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const server = new ServerProcess(child);
    this.#processes.push(server);
    return server;
  }

  /** Starts a server, and waits until it answers. */
  async serve(options: LaunchOptions = {}): Promise<ServerProcess> {
    const server = this.launch(options);
    await server.ready();
    return server;
  }

  /** Any other command, on the home's data folder, to its end. */
  command(...words: string[]): Promise<Said> {
    return new Promise((resolve) => {
      const args = [cliFile, ...words, '--data', this.data];
      execFile(process.execPath, args, { env: this.environment }, (error, stdout, stderr) =>
        resolve({ code: error ? Number(error.code) : 0, stdout, stderr }),
      );
    });
  }

  /** For any other process that belongs to this home. */
  get environment(): NodeJS.ProcessEnv {
    const inherited = Object.entries(process.env).filter(
      ([name]) => !name.startsWith('SPYGLASS_') && !name.startsWith('VITEST') && name !== 'NODE_OPTIONS',
    );
    return {
      ...Object.fromEntries(inherited),
      NODE_ENV: 'production',
      TMPDIR: this.#temporary,
      [homeVariable]: this.root,
    };
  }

  /** A client token, made beside the server as the command line makes it. Known at once to a server that starts later. */
  async token(): Promise<string> {
    const { token, secret } = makeToken({}, Date.now());
    const tokens = await openTokens({ data: this.data });
    await tokens.create(token);
    tokens.close();
    return secret;
  }

  async #leave(): Promise<void> {
    for (const server of this.#processes) server.signal('SIGKILL');
    await Promise.all(this.#processes.map(({ exited }) => exited));
    const strays = await this.#strays();
    for (const pid of strays) process.kill(pid, 'SIGKILL');
    const temporary = readdirSync(this.#temporary);
    rmSync(this.root, { recursive: true, force: true });
    if (strays.length > 0) throw new Error(`Processes were left behind: ${strays.join(', ')}`);
    if (temporary.length > 0) throw new Error(`Temporary files were left behind: ${temporary.join(', ')}`);
    if (existsSync(this.root)) throw new Error(`${this.root} is still there`);
  }

  /** Processes of this home that are still there a moment after their parents have gone. */
  async #strays(): Promise<number[]> {
    let strays: number[] = [];
    for (let round = 0; round < 20; round++) {
      strays = processesWith(`${homeVariable}=${this.root}`);
      if (strays.length === 0) break;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return strays;
  }
}

/** Ids of the processes whose environment has this entry; none where there is no `/proc`. */
export function processesWith(entry: string): number[] {
  if (!existsSync('/proc/self/environ')) return [];
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(entry);
      } catch {
        // Gone meanwhile, or somebody else's.
        return false;
      }
    });
}

export class ServerProcess {
  readonly pid: number;
  readonly exited: Promise<Exit>;
  /** How it ended; undefined while it lives. */
  exit: Exit | undefined;
  readonly log: LogLine[] = [];
  errors = '';
  /** Such as `http://127.0.0.1:40123`; empty until it is ready. */
  url = '';
  readonly #child: ChildProcess;
  readonly #ready: Promise<void>;
  #wake: (() => void)[] = [];

  constructor(child: ChildProcess) {
    this.#child = child;
    this.pid = child.pid ?? -1;
    this.exited = new Promise((resolve) => {
      child.once('error', (error) => {
        this.errors += error.message;
        resolve({ code: null, signal: null });
      });
      // Not 'exit': its last lines may still be on their way then.
      child.once('close', (code, signal) => resolve({ code, signal }));
    });
    this.#ready = new Promise((resolve, reject) => {
      readLines(child, (line) => {
        this.log.push(line);
        if (line.message === 'Ready') {
          this.url = `http://${(line.addresses as string[])[0]}`;
          resolve();
        }
        this.#changed();
      });
      this.exited.then((exit) => {
        this.exit = exit;
        this.#changed();
        reject(
          new Error(`The server ended (${exit.signal ?? exit.code}) before it was ready: ${this.errors}`),
        );
      });
    });
    this.#ready.catch(() => {});
    child.stderr?.on('data', (text) => {
      this.errors += text;
    });
  }

  /** Resolves when it answers requests; rejects when it ends before. */
  ready(): Promise<void> {
    return this.#ready;
  }

  get ws(): string {
    return this.url.replace('http', 'ws');
  }

  get api(): Api {
    return new Api(this.url);
  }

  signal(signal: NodeJS.Signals): void {
    if (!this.exit) this.#child.kill(signal);
  }

  async kill(): Promise<Exit> {
    this.signal('SIGKILL');
    return this.exited;
  }

  async stop(): Promise<Exit> {
    this.signal('SIGTERM');
    return this.exited;
  }

  /** The first log line, past or to come, for which `test` holds. */
  async line(test: (line: LogLine) => boolean): Promise<LogLine> {
    for (;;) {
      const found = this.log.find(test);
      if (found) return found;
      if (this.exit)
        throw new Error(`The server ended without that line. It said:\n${JSON.stringify(this.log)}`);
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }

  /** Resident memory in bytes; 0 once it has ended. */
  get residentBytes(): number {
    if (this.exit || !existsSync(`/proc/${this.pid}/status`)) return 0;
    const [, kib] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8')) ?? [];
    return Number(kib) * 1024;
  }

  #changed(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}

function readLines(child: ChildProcess, take: (line: LogLine) => void): void {
  let rest = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      // A task may write to standard output, too.
      if (line.startsWith('{')) take(JSON.parse(line) as LogLine);
    }
  });
}
