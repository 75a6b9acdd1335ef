/**
 * One WebSocket as a sink: blocks of ready-made frames go straight to its connection, each frame having been made once for
 * all who watch.
 */
import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import type { Sink } from '../channel.ts';
import type { Framing } from '../message.ts';

/** A text frame in one piece, unmasked as a server's are (RFC 6455, section 5.2). */
export const webSocketFraming: Framing = {
  name: 'websocket',
  frame(json) {
    const length = Buffer.byteLength(json);
    const headerLength = length < 126 ? 2 : length < 65_536 ? 4 : 10;
    const frame = Buffer.allocUnsafe(headerLength + length);
    frame[0] = 0x81;
    if (headerLength === 2) frame[1] = length;
    else if (headerLength === 4) {
      frame[1] = 126;
      frame.writeUInt16BE(length, 2);
    } else {
      frame[1] = 127;
      frame.writeBigUInt64BE(BigInt(length), 2);
    }
    frame.write(json, headerLength);
    return frame;
  },
};

/**
 * Safe beside the library's own writes, since those too are whole frames written at once: without compression `ws` never
 * holds one back.
 */
export class WebSocketSink implements Sink {
  readonly framing = webSocketFraming;
  readonly #socket: WebSocket;
  readonly #connection: Duplex;

  constructor(socket: WebSocket, connection: Duplex) {
    this.#socket = socket;
    this.#connection = connection;
  }

  get bufferedBytes(): number {
    return this.#connection.writableLength;
  }

  send(block: Buffer): void {
    // After a close frame nothing may follow (RFC 6455, section 5.5.1).
    if (this.#socket.readyState === this.#socket.OPEN) this.#connection.write(block);
  }

  onDrain(callback: () => void): void {
    if (this.#connection.writableNeedDrain) this.#connection.once('drain', callback);
    else setImmediate(callback);
  }

  end(): void {
    this.close(1000, '');
  }

  close(code: number, reason: string): void {
    this.#socket.close(code, reason);
  }
}
