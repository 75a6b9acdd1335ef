/**
 * The line between the main loop and an isolated attempt in its thread: what goes over it, and how the thread knows that the main
 * loop keeps up. Everything is a structured clone; nothing is shared but two numbers.
 */
import type { MessagePort } from 'node:worker_threads';
import type { AbortCause, LeasedRun, RunPatch } from './engine.ts';
import type { Outcome } from './run.ts';

/** What a thread is given to do. */
export interface ThreadTask {
  /** The file of the state, and what the state is called here. */
  file: string;
  state: string;
  /** The folder that was loaded: where the `tsconfig.json` of its task files is looked for. */
  folder: string;
  run: LeasedRun;
  /** The label of its client token. */
  client: string | null;
  port: MessagePort;
  gauge: SharedArrayBuffer;
}

/** Something that an attempt said. */
export type Word = { patch: RunPatch } | { text: string; fields: Record<string, unknown> | undefined };

export type FromThread =
  /** The thread of this id has taken the attempt. */
  | { kind: 'taken'; thread: number }
  /** The method is about to be called. */
  | { kind: 'begun' }
  /** In the order in which they were said. `cost`: what they take up of the window. */
  | { kind: 'words'; words: Word[]; cost: number }
  /** The end of an attempt that leaves something running: its thread is not to be used again. */
  | { kind: 'left'; outcome: Outcome };

/** An `AbortReason`, which would arrive as a plain Error. */
export interface Abort {
  because: AbortCause;
  message: string;
}

/** What a task left behind, rejected or thrown, and nobody caught: with its run where that is known. */
export interface Stray {
  kind: 'spyglass-tasks.stray';
  what: 'rejected' | 'thrown';
  run: Pick<LeasedRun, 'id' | 'state' | 'task'> | undefined;
  error: Error;
}

/** Of what a thread has said and the main loop has not heard yet, so much is under way at the most: then the thread stands still. */
const windowBytes = 4 * 1024 * 1024;
/** A word takes up so much besides its text, so that not too many small ones come at once. */
export const wordBytes = 4096;

const heardPlace = 0;
const abortedPlace = 1;

/** Two numbers that both sides see at once, also while the thread never lets its loop turn. */
export class Gauge {
  readonly memory: SharedArrayBuffer;
  readonly #numbers: Int32Array;
  #sent = 0;

  constructor(memory = new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT)) {
    this.memory = memory;
    this.#numbers = new Int32Array(memory);
  }

  /** Main side: so much more has been heard. */
  heard(cost: number): void {
    Atomics.add(this.#numbers, heardPlace, cost);
    Atomics.notify(this.#numbers, heardPlace);
  }

  /** Main side: an abort is on the line. */
  tellAborted(): void {
    Atomics.store(this.#numbers, abortedPlace, 1);
  }

  /** Thread side. */
  get aborted(): boolean {
    return Atomics.load(this.#numbers, abortedPlace) === 1;
  }

  /** Thread side: stands still until there is room for `cost` in the window, and takes it. */
  take(cost: number): void {
    for (;;) {
      const heard = Atomics.load(this.#numbers, heardPlace);
      // Both run over, and their difference does not.
      const underWay = (this.#sent - heard) | 0;
      if (underWay === 0 || underWay + cost <= windowBytes) break;
      Atomics.wait(this.#numbers, heardPlace, heard);
    }
    this.#sent = (this.#sent + cost) | 0;
  }
}
