/**
 * What a process and its children hold, as the kernel counts it.
 */
import { readdirSync, readFileSync } from 'node:fs';

export interface Memory {
  /** Proportional set size: pages that several processes have are divided among them. */
  pssBytes: number;
  /** Resident set size: shared pages in full. What it would be without another Node on the machine. */
  rssBytes: number;
}

export function memoryOf(pid: number): Memory {
  const total = { pssBytes: 0, rssBytes: 0 };
  for (const member of family(pid)) {
    const rollup = readFileSync(`/proc/${member}/smaps_rollup`, 'utf8');
    total.pssBytes += 1024 * Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1]);
    total.rssBytes += 1024 * Number(/^Rss:\s+(\d+)/m.exec(rollup)?.[1]);
  }
  return total;
}

function family(pid: number): number[] {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
    readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
  );
  return [pid, ...children.flatMap(family)];
}
