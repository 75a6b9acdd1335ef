/**
 * Whether bytes still leave for a peer: that tells one who reads slowly from one who is gone.
 */
import type { Socket } from 'node:net';

/**
 * A peer of whom nothing is heard and to whom nothing leaves for so long is given up. The kernel takes the next bytes only when a
 * third of its buffer is free, which is a megabyte where the buffer has grown: whoever reads 10 kB a second moves it once in 100 s.
 */
export const patienceMs = 120_000;

/** Since the last look. `idle`: nothing lay unsent then, so nothing is known of whoever should take it. */
export type Flow = 'idle' | 'moving' | 'stuck';

/**
 * What a socket does not tell: how much the kernel has yet to take of the write at hand. A large one is taken in pieces, and
 * `bytesWritten` counts it as a whole. Node's own time limit of sockets goes by the same number.
 */
interface WithWriteQueue {
  readonly _handle?: { readonly writeQueueSize?: number } | null;
}

/** The bytes that leave a connection for the kernel, which takes them as the peer takes those before. */
export class Outflow {
  readonly #socket: Socket;
  #unsentBytes = 0;
  /** Of writes that the kernel has taken as a whole. */
  #writtenBytes = 0;
  /** Of the write at hand, not taken yet. */
  #queuedBytes = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Looks at it once more. */
  look(): Flow {
    const { bytesWritten, writableLength: unsentBytes } = this.#socket;
    const writtenBytes = bytesWritten - unsentBytes;
    const queuedBytes = (this.#socket as WithWriteQueue)._handle?.writeQueueSize ?? 0;
    const hasMoved = writtenBytes !== this.#writtenBytes || queuedBytes !== this.#queuedBytes;
    const wasIdle = this.#unsentBytes === 0;
    this.#unsentBytes = unsentBytes;
    this.#writtenBytes = writtenBytes;
    this.#queuedBytes = queuedBytes;
    if (wasIdle) return 'idle';
    return hasMoved ? 'moving' : 'stuck';
  }
}
