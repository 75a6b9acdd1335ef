/**
 * An attempt as its method sees it inside a thread: what it says goes over the line, and the abort comes from there. Both work
 * while the method never lets the thread's loop turn.
 */
import { setMaxListeners } from 'node:events';
import { type MessagePort, receiveMessageOnPort, threadId } from 'node:worker_threads';
import { AbortReason, type AttemptContext, type RunPatch } from './engine.ts';
import type { Outcome } from './run.ts';
import { type Abort, type FromThread, type Gauge, type Word, wordBytes } from './threadLine.ts';

/** A post costs the main loop some 8 µs, besides what is in it. So many may leave at once … */
const mostCredit = 32;
/** … and one more each so many milliseconds: what is said faster than that shares a post. */
const creditMs = 10;
const wordsPerPost = 128;
const bytesPerPost = 512 * 1024;
/** After so many words an author who awaits them is made to wait for the next turn of the loop. */
const wordsPerTurn = 256;

const resolved = Promise.resolve();

export class ThreadAttempt implements AttemptContext {
  readonly #port: MessagePort;
  readonly #gauge: Gauge;
  readonly #controller = new AbortController();
  readonly #abortListeners: ((reason: AbortReason) => void)[] = [];
  #words: Word[] = [];
  #cost = 0;
  #credit = mostCredit;
  #creditAt = performance.now();
  #timer: NodeJS.Timeout | undefined;
  #said = 0;
  #closed = false;

  constructor(port: MessagePort, gauge: Gauge) {
    this.#port = port;
    this.#gauge = gauge;
    setMaxListeners(0, this.#controller.signal);
    port.on('message', (abort: Abort) => this.#receive(abort));
  }

  /** This thread has it. */
  take(): void {
    this.#post({ kind: 'taken', thread: threadId });
  }

  /** The method is about to be called. */
  begin(): void {
    this.#post({ kind: 'begun' });
  }

  /** Sends what is left to say; what comes later is not heard. */
  end(): void {
    this.#flush();
    this.#closed = true;
    // The main side closes it, when it has read all.
    this.#port.unref();
  }

  /** After its end: has the thread killed, which goes on with what was left behind. */
  leave(outcome: Outcome): void {
    this.#post({ kind: 'left', outcome });
  }

  get signal(): AbortSignal {
    this.#poll();
    return this.#controller.signal;
  }

  abort(reason: AbortReason): void {
    if (this.#controller.signal.aborted) return;
    this.#controller.abort(reason);
    for (const listener of this.#abortListeners) listener(reason);
  }

  onAbort(listener: (reason: AbortReason) => void): void {
    const { signal } = this.#controller;
    if (signal.aborted) listener(signal.reason);
    else this.#abortListeners.push(listener);
  }

  update(patch: RunPatch): Promise<void> {
    if (this.#closed) return resolved;
    const last = this.#words.at(-1);
    // Of updates the latest counts, but none moves across a log line.
    if (last && 'patch' in last) Object.assign(last.patch, patch);
    else this.#words.push({ patch: { ...patch } });
    return this.#spoke(patchBytes(patch) + (last && 'patch' in last ? 0 : wordBytes));
  }

  log(text: string, fields: Record<string, unknown> | undefined): Promise<void> {
    if (this.#closed) return resolved;
    this.#words.push({ text, fields });
    return this.#spoke(wordBytes + text.length + jsonLength(fields));
  }

  #spoke(cost: number): Promise<void> {
    this.#cost += cost;
    this.#poll();
    if (this.#words.length >= wordsPerPost || this.#cost >= bytesPerPost || this.#mayPost()) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), creditMs);
    if (++this.#said < wordsPerTurn) return resolved;
    // As on the main loop: whoever awaits every word lets the loop turn now and then.
    this.#said = 0;
    return new Promise((resolve) => setImmediate(resolve));
  }

  #mayPost(): boolean {
    const now = performance.now();
    this.#credit = Math.min(this.#credit + (now - this.#creditAt) / creditMs, mostCredit);
    this.#creditAt = now;
    return this.#credit >= 1;
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#words.length === 0 || this.#closed) return;
    const words = this.#words;
    const cost = this.#cost;
    this.#words = [];
    this.#cost = 0;
    this.#credit = Math.max(this.#credit - 1, 0);
    this.#gauge.take(cost);
    this.#post({ kind: 'words', words, cost });
  }

  #post(message: FromThread): void {
    this.#port.postMessage(message);
  }

  /** An abort is waiting on a loop that does not turn: `while (!task.signal.aborted)` then ends all the same. */
  #poll(): void {
    if (!this.#gauge.aborted || this.#controller.signal.aborted) return;
    const waiting = receiveMessageOnPort(this.#port);
    if (waiting) this.#receive(waiting.message);
  }

  #receive({ because, message }: Abort): void {
    this.abort(Object.assign(new AbortReason(because), { message }));
  }
}

function patchBytes({ message, result }: RunPatch): number {
  return (message?.length ?? 0) + jsonLength(result);
}

function jsonLength(value: unknown): number {
  return value === undefined ? 0 : JSON.stringify(value).length;
}
