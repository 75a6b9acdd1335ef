/**
 * One response of server-sent events as a sink (https://html.spec.whatwg.org/multipage/server-sent-events.html).
 */
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { bufferLimitBytes, type Sink } from '../channel.ts';
import { oneLine } from '../logging.ts';
import type { Framing } from '../message.ts';
import { Outflow, patienceMs } from './outflow.ts';

/** With the number of the message as its `id`, which a reader that comes back has in `Last-Event-ID`. JSON has no line breaks. */
export const numberedEvents: Framing = {
  name: 'events',
  frame: (json, seq) => Buffer.from(seq === null ? `data: ${json}\n\n` : `id: ${seq}\ndata: ${json}\n\n`),
};

/** For the stream of many runs, where a number would not say of which. */
export const unnumberedEvents: Framing = {
  name: 'events',
  frame: (json) => Buffer.from(`data: ${json}\n\n`),
};

/** A line that is passed over by whoever reads the stream. */
const stillHere = Buffer.from(':\n\n');

export class EventStreamSink implements Sink {
  readonly framing: Framing;
  readonly #response: ServerResponse;
  readonly #connection: Socket;
  readonly #outflow: Outflow;
  /** For how long nothing has left though something lay unsent. */
  #stuckMs = 0;

  constructor(response: ServerResponse, connection: Socket, framing: Framing) {
    this.#response = response;
    this.#connection = connection;
    this.#outflow = new Outflow(connection);
    this.framing = framing;
  }

  get bufferedBytes(): number {
    return this.#response.writableLength;
  }

  send(block: Buffer): void {
    if (this.#response.writableEnded || this.#response.destroyed) return;
    this.#response.write(block);
  }

  onDrain(callback: () => void): void {
    if (this.#response.writableNeedDrain) this.#response.once('drain', callback);
    else setImmediate(callback);
  }

  end(): void {
    this.#response.end();
  }

  /** There are no close codes here: who comes back is told by the status of the answer. */
  close(_code: number, reason: string): void {
    this.send(Buffer.from(`: ${oneLine(reason)}\n\n`));
    this.#response.end();
  }

  /**
   * Shows whoever is in between that the stream lives, and gives up a peer that has taken nothing for too long though there was
   * something to be taken. To be called once every `periodMs`.
   */
  beat(periodMs: number): void {
    this.#stuckMs = this.#outflow.look() === 'stuck' ? this.#stuckMs + periodMs : 0;
    // Closed in the ordinary way, the kernel would keep what it holds and go on offering it.
    if (this.#stuckMs >= patienceMs) this.#connection.resetAndDestroy();
    else if (this.bufferedBytes <= bufferLimitBytes) this.send(stillHere);
  }
}
