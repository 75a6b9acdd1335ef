/**
 * A disk of a few megabytes, in a mount namespace that ends with the test: a tmpfs that can be filled up.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished, type TestContext } from 'vitest';
import { requireCommand } from './requires.ts';
import type { Home } from './serverProcess.ts';

/** Without being root it takes a user namespace, too. */
const namespaces = process.getuid?.() === 0 ? ['--mount'] : ['--user', '--map-root-user', '--mount'];

export class SmallDisk {
  /** As processes that were started `through` it name it. */
  readonly path: string;
  /** The words to put before a command that is to live with this disk. */
  readonly through: string[];
  /** As everybody else reaches it. */
  readonly outside: string;
  readonly #filler: string;

  private constructor(path: string, keeper: number) {
    this.path = path;
    this.outside = `/proc/${keeper}/root${path}`;
    const user = namespaces.includes('--user') ? ['--user', '--preserve-credentials'] : [];
    this.through = ['nsenter', '--target', String(keeper), '--mount', ...user];
    this.#filler = join(this.outside, 'filler');
  }

  static async mount(context: TestContext, home: Home, megabytes: number): Promise<SmallDisk> {
    const path = join(home.root, 'disk');
    mkdirSync(path);
    const mount = `mount -t tmpfs -o size=${megabytes}m tmpfs "$0"`;
    requireCommand(context, 'unshare', [...namespaces, 'sh', '-c', mount, path]);
    const keeper = spawn(
      'unshare',
      [...namespaces, 'sh', '-c', `${mount} && echo mounted && exec cat`, path],
      {
        env: home.environment,
        stdio: ['pipe', 'pipe', 'ignore'],
      },
    );
    const ended = once(keeper, 'exit');
    onTestFinished(async () => {
      keeper.stdin.end();
      await ended;
    });
    await once(keeper.stdout, 'data');
    return new SmallDisk(path, keeper.pid as number);
  }

  /** Takes all the space there is. */
  fill(): void {
    const file = openSync(this.#filler, 'a');
    try {
      for (const size of [256 * 1024, 4096]) {
        const block = Buffer.alloc(size, 1);
        while (this.freeBytes > 0) {
          try {
            writeSync(file, block);
          } catch (error) {
            if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
            break;
          }
        }
      }
    } finally {
      closeSync(file);
    }
  }

  get freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.outside);
    return bavail * bsize;
  }

  /** Gives it back. */
  clear(): void {
    rmSync(this.#filler);
  }
}
