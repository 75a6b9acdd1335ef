/**
 * The main loop's end of the line to an isolated attempt: hears what it says, tells it to stop.
 */
import { MessageChannel, type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import type { AbortReason, AttemptContext } from './engine.ts';
import type { Outcome } from './run.ts';
import { type Abort, type FromThread, Gauge } from './threadLine.ts';

export class MainLine {
  readonly gauge = new Gauge();
  /** The id of the thread that has taken the attempt. */
  thread: number | undefined;
  hasBegun = false;
  /** The end of an attempt that has left something running in its thread. */
  outcome: Outcome | undefined;
  readonly #attempt: AttemptContext;
  readonly #begun: () => void;
  #port: MessagePort | undefined;
  #left = () => {};

  constructor(attempt: AttemptContext, begun: () => void) {
    this.#attempt = attempt;
    this.#begun = begun;
  }

  /** The end that the thread gets. `left` is called when `outcome` has come, and the thread is not to be used again. */
  open(left: () => void): MessagePort {
    this.#left = left;
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    port1.on('message', (message: FromThread) => this.#receive(message));
    return port2;
  }

  abort({ because, message }: AbortReason): void {
    this.#port?.postMessage({ because, message } satisfies Abort);
    this.gauge.tellAborted();
  }

  /** Hears all that was said before the end, also by a thread that is no more; then nothing. */
  close(): void {
    const port = this.#port;
    if (!port) return;
    for (let next = receiveMessageOnPort(port); next; next = receiveMessageOnPort(port)) {
      this.#receive(next.message);
    }
    this.#port = undefined;
    port.close();
  }

  #receive(message: FromThread): void {
    if (!this.#port) return;
    if (message.kind === 'taken') {
      this.thread = message.thread;
      return;
    }
    if (message.kind === 'begun') {
      this.hasBegun = true;
      this.#begun();
      return;
    }
    if (message.kind === 'left') {
      this.outcome = message.outcome;
      this.#left();
      return;
    }
    let heard: Promise<void> | undefined;
    for (const word of message.words) {
      heard = 'patch' in word ? this.#attempt.update(word.patch) : this.#attempt.log(word.text, word.fields);
    }
    // The engine's own pace is the thread's: a flood waits for everybody else's turn.
    heard?.finally(() => this.gauge.heard(message.cost));
  }
}
