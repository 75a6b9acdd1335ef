/**
 * What an attempt has said and no event has been made of yet: mostly what one tick brought, more where numbers have to be
 * reserved first. Bounded, since a task can log without awaiting, and a store can be slow to answer.
 */
import type { RunPatch } from '../../engine.ts';

export interface Line {
  text: string;
  fields: Record<string, unknown> | undefined;
}

const mostEntries = 50_000;
const mostBytes = 16 * 1024 * 1024;

export class Unnumbered {
  #entries: (RunPatch | Line)[] = [];
  /** Entries before this one have been taken. */
  #from = 0;
  /** Of the lines. Updates melt into one another, so that there are never many. */
  #bytes = 0;
  #dropped = 0;

  get size(): number {
    return this.#entries.length - this.#from + (this.#dropped > 0 ? 1 : 0);
  }

  update(patch: RunPatch): void {
    const last = this.#entries.at(-1);
    if (last && !isLine(last)) Object.assign(last, patch);
    else this.#entries.push({ ...patch });
  }

  log(line: Line): void {
    this.#entries.push(line);
    this.#bytes += lineSize(line);
    if (this.#bytes > mostBytes || this.size > mostEntries) this.#dropOldest();
  }

  /** The oldest thing said, which is then no longer here. */
  take(): RunPatch | Line | undefined {
    if (this.#dropped > 0) {
      const text = `${this.#dropped} log lines were dropped here: the task logs faster than they can be stored.`;
      this.#dropped = 0;
      return { text, fields: undefined };
    }
    const entry = this.#entries[this.#from];
    if (!entry) return undefined;
    if (isLine(entry)) this.#bytes -= lineSize(entry);
    if (++this.#from === this.#entries.length) {
      this.#entries = [];
      this.#from = 0;
    }
    return entry;
  }

  /** Frees half of both bounds. Of updates nothing is lost: those that are passed over melt into one. */
  #dropOldest(): void {
    const melted: RunPatch = {};
    let at = this.#from;
    for (; this.#bytes > mostBytes / 2 || this.#entries.length - at > mostEntries / 2; at++) {
      const entry = this.#entries[at] as RunPatch | Line;
      if (isLine(entry)) {
        this.#bytes -= lineSize(entry);
        this.#dropped++;
      } else Object.assign(melted, entry);
    }
    this.#entries = [melted, ...this.#entries.slice(at)];
    this.#from = 0;
  }
}

export function isLine(entry: RunPatch | Line): entry is Line {
  return 'text' in entry;
}

function lineSize({ text, fields }: Line): number {
  return text.length + jsonSize(fields);
}

/** About how much memory a value takes, by its JSON. */
export function jsonSize(value: unknown): number {
  if (value === undefined || value === null) return 0;
  return typeof value === 'string' ? value.length : JSON.stringify(value).length;
}
