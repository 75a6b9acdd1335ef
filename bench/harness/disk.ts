/**
 * What the disk under a folder takes, by itself.
 */
import { closeSync, fdatasyncSync, openSync, statfsSync, writeSync } from 'node:fs';
import { join } from 'node:path';

const pageBytes = 4096;
const pages = 500;

/** Times of an fdatasync after writing one page into a file that has its size already, as a write-ahead log has. */
export function fdatasyncMs(folder: string): number[] {
  const file = openSync(join(folder, 'fdatasync'), 'w');
  try {
    const page = Buffer.alloc(pageBytes, 1);
    for (let place = 0; place < pages; place++) writeSync(file, page, 0, pageBytes, place * pageBytes);
    fdatasyncSync(file);
    const times: number[] = [];
    for (let place = 0; place < pages; place++) {
      writeSync(file, page, 0, pageBytes, place * pageBytes);
      const begin = performance.now();
      fdatasyncSync(file);
      times.push(performance.now() - begin);
    }
    return times;
  } finally {
    closeSync(file);
  }
}

const tmpfsMagic = 0x01021994;
const ramfsMagic = 0x858458f6;

/** Throws for a folder in memory: an fsync there costs nothing, and every figure would flatter. */
export function requireRealDisk(folder: string): void {
  const { type } = statfsSync(folder);
  if (type === tmpfsMagic || type === ramfsMagic) {
    throw new Error(`${folder} is in memory (tmpfs). Set TMPDIR to a folder on a disk.`);
  }
}
