/**
 * The server under test: the command line as it is shipped, in a process of its own, with the probe preloaded.
 */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Child } from './child.ts';
import { Connection, get, post } from './http.ts';
import { type Memory, memoryOf } from './memory.ts';

const checkout = fileURLToPath(new URL('../..', import.meta.url));
const command = join(checkout, 'dist/cli.js');
const probe = new URL('probe.js', import.meta.url).href;

/** Runs that wait for a `go` are not waited for at the end. */
const quiet = ['--log-level', 'warn', '--grace', '0s'];

export interface Delay {
  p50: number;
  p99: number;
  max: number;
}

export class Server {
  readonly #child: Child;
  readonly data: string;
  readonly port: number;
  /** From the start of the process until it said that it listens. */
  readonly startMs: number;

  private constructor(child: Child, data: string, port: number, startMs: number) {
    this.#child = child;
    this.data = data;
    this.port = port;
    this.startMs = startMs;
  }

  /** `root`: another checkout, built, whose server and tasks it is. */
  static async start(data: string, flags: readonly string[] = [], root = checkout): Promise<Server> {
    const node = ['--expose-gc', '--import', probe, join(root, 'dist/cli.js')];
    const serve = ['serve', join(root, 'bench/tasks'), '--port', '0', '--data', data, ...quiet, ...flags];
    const begin = performance.now();
    const { child, match } = await Child.start([...node, ...serve], /http:\/\/[^:]+:(\d+)\n/);
    return new Server(child, data, Number(match[1]), performance.now() - begin);
  }

  startUrl(task: string): string {
    return `http://127.0.0.1:${this.port}${startPath(task)}`;
  }

  /** A new client token, made beside the running server, which then knows it. */
  async createToken(): Promise<string> {
    const flags = [command, 'token', 'create', '--data', this.data];
    const token = execFileSync(process.execPath, flags, { encoding: 'utf8', stdio: 'pipe' }).trim();
    const connection = await Connection.open(this.port);
    const isKnown = () =>
      connection.request(get(`/api/bench/tasks/${token}`)).then(
        () => true,
        () => false,
      );
    while (!(await isKnown())) await pause(10);
    connection.close();
    return token;
  }

  /** Starts one run and answers its id. */
  async startRun(task: string, input?: unknown): Promise<string> {
    const connection = await Connection.open(this.port);
    const snapshot = JSON.parse(await connection.request(post(startPath(task), input)));
    connection.close();
    return snapshot.task_id;
  }

  /** Starts a run for each of the inputs, in one request. */
  async startBulk(task: string, inputs: readonly unknown[], query = ''): Promise<string[]> {
    const connection = await Connection.open(this.port);
    const { task_ids: ids } = JSON.parse(
      await connection.request(post(`${startPath(task)}/bulk${query}`, { inputs })),
    );
    connection.close();
    return ids;
  }

  /** What a run of the task gives, once it has ended. */
  async resultOf<T>(task: string, input?: unknown): Promise<T> {
    const id = await this.startRun(task, input);
    const connection = await Connection.open(this.port);
    const { result } = JSON.parse(await connection.request(get(`${resultPath(id)}?wait=60`)));
    connection.close();
    return result;
  }

  /** Pauses or resumes a task of the running server. */
  setMode(mode: 'pause' | 'resume', task: string): void {
    execFileSync(process.execPath, [command, mode, 'bench', task, '--data', this.data], { stdio: 'pipe' });
  }

  /**
   * Resolves when all runs that were started before have ended: runs of one client are executed in order, so the end of one
   * that is started now is the end of all of them.
   */
  async settled(): Promise<void> {
    const id = await this.startRun('noop', person);
    const connection = await Connection.open(this.port);
    while (!(await connection.request(get(resultPath(id)))).includes('"Completed"')) await pause(1);
    connection.close();
  }

  cpuMicros(): Promise<number> {
    return this.#child.call('cpuMicros');
  }

  watchDelay(): Promise<void> {
    return this.#child.call('watchDelay');
  }

  delay(): Promise<Delay> {
    return this.#child.call('delay');
  }

  collectGarbage(): Promise<void> {
    return this.#child.call('collectGarbage');
  }

  memory(): Memory {
    return memoryOf(this.#child.pid);
  }

  stop(): Promise<void> {
    return this.#child.stop();
  }
}

/** The input of `noop`, and what the bare route is sent. */
export const person = { name: 'Matt', age: 25 };

export function startPath(task: string): string {
  return `/api/bench/task/start/${task}`;
}

export function resultPath(id: string): string {
  return `/api/bench/task/result/${id}`;
}

export function watchPath(id: string): string {
  return `/ws/bench/task/ws/${id}`;
}
