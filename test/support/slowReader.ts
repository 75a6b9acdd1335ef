/**
 * Somebody on a bare TCP connection who reads as little as it is told to, and answers nothing.
 */
import { connect, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

export class SlowReader {
  readonly #socket: Socket;
  /** Whether the connection is gone. */
  gone = false;
  #readBytes = 0;
  #wantedBytes = 0;
  #wake: (() => void)[] = [];

  /** `url` says whom to connect to, `head` is sent to it. */
  constructor(url: string, head: string) {
    const { hostname, port } = new URL(url);
    this.#socket = connect(Number(port), hostname);
    this.#socket.write(head);
    this.#socket.on('data', ({ length }) => {
      this.#readBytes += length;
      if (this.#readBytes >= this.#wantedBytes) this.#socket.pause();
      this.#changed();
    });
    this.#socket.on('error', () => {});
    this.#socket.on('close', () => {
      this.gone = true;
      this.#changed();
    });
    onTestFinished(() => void this.#socket.destroy());
  }

  /** Reads so many bytes more, or a few more than that, and then none. Rejects when the connection ends before. */
  async read(bytes: number): Promise<void> {
    this.#wantedBytes = this.#readBytes + bytes;
    this.#socket.resume();
    while (this.#readBytes < this.#wantedBytes) {
      if (this.gone) throw new Error(`The connection ended after ${this.#readBytes} bytes`);
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }

  /** Reads all there is; resolves when the connection is gone. */
  async readOut(): Promise<void> {
    this.#wantedBytes = Number.POSITIVE_INFINITY;
    this.#socket.resume();
    while (!this.gone) await new Promise<void>((resolve) => this.#wake.push(resolve));
  }

  #changed(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}

/** Has `reader` read a little at a time until the kernel has taken something more from the other end of its connection. */
export async function readUntilMoved(reader: SlowReader, connection: Socket): Promise<void> {
  const before = untaken(connection);
  while (untaken(connection) === before) await reader.read(64 * 1024);
}

/** What the kernel has not taken yet, the write at hand by the byte: Node says that only to itself. */
function untaken(connection: Socket): string {
  const { writeQueueSize } = (connection as unknown as { _handle: { writeQueueSize: number } })._handle;
  return `${connection.writableLength} ${writeQueueSize}`;
}
