/**
 * A watcher on a bare TCP connection: it reads when it is told to, and otherwise lets the server's messages pile up.
 */
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import type { WireMessage } from './watcher.ts';

export interface Frame {
  opcode: number;
  payload: Buffer;
}

export class RawWatcher {
  readonly socket: Socket;
  readonly messages: WireMessage[] = [];
  /** The code and reason of the server's close frame. */
  closed: { code: number; reason: string } | undefined;
  /** Whether the connection is gone. */
  gone = false;
  #head = '';
  #unread: Buffer = Buffer.alloc(0);
  #isOpen = false;
  #wake: (() => void)[] = [];

  /** `url` as of a WebSocket. */
  constructor(url: string) {
    const { hostname, port, host, pathname, search } = new URL(url);
    this.socket = connect(Number(port), hostname);
    this.socket.write(upgradeRequest(host, pathname + search));
    this.socket.on('data', (bytes) => this.#take(bytes));
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.gone = true;
      this.#changed();
    });
    onTestFinished(() => {
      this.socket.destroy();
    });
  }

  /** Resolves when the stream has begun; not a byte more is read then, until `read` is called. */
  async open(): Promise<this> {
    await this.until(() => this.#isOpen);
    return this;
  }

  read(): void {
    this.socket.resume();
  }

  /** Resolves as soon as `ready` holds; rejects when the connection ends before. */
  async until(ready: () => boolean): Promise<void> {
    while (!ready()) {
      if (this.gone)
        throw new Error(`The connection ended after ${this.messages.length} messages. ${this.#head}`);
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }

  /** Resolves when the connection is gone. */
  async ended(): Promise<void> {
    while (!this.gone) await new Promise<void>((resolve) => this.#wake.push(resolve));
  }

  of(id: string): WireMessage[] {
    return this.messages.filter(({ task_id }) => task_id === id);
  }

  #take(bytes: Buffer): void {
    this.#unread = this.#unread.length > 0 ? Buffer.concat([this.#unread, bytes]) : bytes;
    if (!this.#isOpen) {
      const end = this.#unread.indexOf('\r\n\r\n');
      if (end < 0) return;
      this.#head = this.#unread.toString('latin1', 0, end);
      this.#isOpen = this.#head.startsWith('HTTP/1.1 101');
      this.#unread = this.#unread.subarray(end + 4);
      if (!this.#isOpen) return;
      this.socket.pause();
    }
    const { frames, rest } = readFrames(this.#unread);
    this.#unread = rest;
    for (const { opcode, payload } of frames) {
      if (opcode === 1) this.messages.push(JSON.parse(payload.toString()) as WireMessage);
      if (opcode === 8) this.closed = { code: payload.readUInt16BE(0), reason: payload.toString('utf8', 2) };
    }
    this.#changed();
  }

  #changed(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}

export function upgradeRequest(host: string, path: string): string {
  return [
    `GET ${path} HTTP/1.1`,
    `Host: ${host}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
    '\r\n',
  ].join('\r\n');
}

/** The whole frames that `bytes` begins with: unmasked, as a server's are (RFC 6455, section 5.2). */
export function readFrames(bytes: Buffer): { frames: Frame[]; rest: Buffer } {
  const frames: Frame[] = [];
  let at = 0;
  while (bytes.length - at >= 2) {
    const short = bytes.readUInt8(at + 1) & 0x7f;
    const headLength = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (bytes.length - at < headLength) break;
    const length =
      short < 126
        ? short
        : short === 126
          ? bytes.readUInt16BE(at + 2)
          : Number(bytes.readBigUInt64BE(at + 2));
    const end = at + headLength + length;
    if (bytes.length < end) break;
    frames.push({ opcode: bytes.readUInt8(at) & 0x0f, payload: bytes.subarray(at + headLength, end) });
    at = end;
  }
  return { frames, rest: bytes.subarray(at) };
}
