/**
 * Pings every watcher and lets go of those that no longer answer: a dead peer says nothing by itself.
 */
import type { WebSocket } from 'ws';
import type { Clock } from '../clock.ts';

const periodMs = 30_000;
/** How often it is looked for sockets whose turn it is; so many at most, lest 10,000 pings hold up the event loop. */
const roundMs = 500;
const roundSockets = 500;

export class Heartbeat {
  readonly #clock: Clock;
  /** When each is to be pinged next, in that order: a Map keeps the order in which its keys were added. */
  readonly #due = new Map<WebSocket, number>();
  /** Pinged and not yet heard of. */
  readonly #asked = new Set<WebSocket>();
  #stop: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  start(): void {
    this.#stop = this.#clock.every(roundMs, () => this.#round());
  }

  stop(): void {
    this.#stop?.();
  }

  add(socket: WebSocket): void {
    this.#due.set(socket, this.#clock.now() + periodMs);
    const asked = this.#asked;
    socket.on('pong', () => asked.delete(socket));
  }

  remove(socket: WebSocket): void {
    this.#due.delete(socket);
    this.#asked.delete(socket);
  }

  #round(): void {
    const now = this.#clock.now();
    let served = 0;
    for (const [socket, due] of this.#due) {
      if (due > now || ++served > roundSockets) return;
      if (this.#asked.has(socket)) {
        this.remove(socket);
        socket.terminate();
        continue;
      }
      this.#due.delete(socket);
      this.#due.set(socket, now + periodMs);
      this.#asked.add(socket);
      socket.ping();
    }
  }
}
