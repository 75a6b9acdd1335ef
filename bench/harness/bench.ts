/**
 * What a question is given to answer itself with: servers, peers, folders, all of which end with it.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Child } from './child.ts';
import { requireRealDisk } from './disk.ts';
import { Server } from './server.ts';
import { Watchers } from './watchers.ts';

export class Bench {
  /** How often each measurement is repeated. */
  readonly rounds: number;
  /** Asked for less: what takes minutes is left out. */
  readonly quick: boolean;
  readonly #children: { stop(): Promise<void> }[] = [];
  readonly #folders: string[] = [];

  constructor(rounds: number, quick: boolean) {
    this.rounds = rounds;
    this.quick = quick;
    // Also when it is interrupted.
    process.on('exit', () => this.#removeFolders());
  }

  /** A data folder on a real disk. */
  folder(): string {
    const folder = mkdtempSync(join(tmpdir(), 'spyglass-bench-'));
    this.#folders.push(folder);
    requireRealDisk(folder);
    return folder;
  }

  async server(data = this.folder(), flags: readonly string[] = [], root?: string): Promise<Server> {
    const server = await Server.start(data, flags, root);
    this.#children.push(server);
    return server;
  }

  /** A process that runs `bench/peers/<name>.ts` and says which port it listens on. */
  async peer(name: string): Promise<{ child: Child; port: number }> {
    const { child, match } = await this.#script(name, /^(\d+)\n/);
    return { child, port: Number(match[1]) };
  }

  /** So many watchers of one address, in a process of their own. */
  async watchers(port: number, path: string, count: number): Promise<Watchers> {
    const { child } = await this.#script('watchers', /^ready\n/);
    return Watchers.connect(child, { port, path, count });
  }

  /** Stores so many finished runs; answers ids of runs that can be read directly. */
  async fill(data: string, runs: number): Promise<string[]> {
    const { child } = await this.#script('fill', /^ready\n/);
    const ids = await child.call<string[]>('fill', { data, runs });
    await child.stop();
    return ids;
  }

  /** A process that runs `bench/peers/<name>.ts` and answers calls. */
  async script(name: string): Promise<Child> {
    return (await this.#script(name, /^ready\n/)).child;
  }

  async #script(name: string, ready: RegExp): Promise<{ child: Child; match: RegExpExecArray }> {
    const file = fileURLToPath(new URL(`../peers/${name}.ts`, import.meta.url));
    const started = await Child.start(['--import', 'tsx', file], ready);
    this.#children.push(started.child);
    return started;
  }

  say(text: string): void {
    process.stderr.write(`  ${text}\n`);
  }

  async close(): Promise<void> {
    await Promise.all(this.#children.map((child) => child.stop()));
    this.#removeFolders();
  }

  #removeFolders(): void {
    for (const folder of this.#folders.splice(0)) rmSync(folder, { recursive: true, force: true });
  }
}
