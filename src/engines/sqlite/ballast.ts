/**
 * Space kept back for the day the disk is full: ending a run, and deleting one, need some too.
 */
import { closeSync, fsyncSync, openSync, rmSync, statfsSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';

const ballastBytes = 2 * 1024 * 1024;

export class Ballast {
  readonly #path: string;
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    this.#path = join(folder, 'ballast');
  }

  /** Takes the space, unless it is held already. False: the disk has no room for it and twice as much again. */
  fill(): boolean {
    try {
      if (this.#held()) return true;
      const { bavail, bsize } = statfsSync(this.#folder);
      if (bavail * bsize < 3 * ballastBytes) return false;
      const file = openSync(this.#path, 'w', 0o600);
      try {
        // Written out, since a sparse file would hold nothing.
        const block = Buffer.alloc(64 * 1024, 1);
        for (let written = 0; written < ballastBytes; written += block.length) writeSync(file, block);
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
      return true;
    } catch {
      this.release();
      return false;
    }
  }

  /** Gives the space to the store, where that is possible: a disk may have become read-only. */
  release(): void {
    try {
      rmSync(this.#path, { force: true });
    } catch {
      // Then it is of no use to anybody.
    }
  }

  #held(): boolean {
    return statSync(this.#path, { throwIfNoEntry: false })?.size === ballastBytes;
  }
}
