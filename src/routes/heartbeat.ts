/**
 * Pings every watcher and lets go of those that no longer answer: a dead peer says nothing by itself.
 */
import type { WebSocket } from 'ws';
import type { Clock } from '../clock.ts';
import { Rounds } from './rounds.ts';

const periodMs = 30_000;

export class Heartbeat {
  readonly #rounds: Rounds<WebSocket>;
  /** Pinged and not yet heard of. */
  readonly #asked = new Set<WebSocket>();

  constructor(clock: Clock) {
    this.#rounds = new Rounds(clock, periodMs, (socket) => this.#ask(socket));
  }

  start(): void {
    this.#rounds.start();
  }

  stop(): void {
    this.#rounds.stop();
  }

  add(socket: WebSocket): void {
    this.#rounds.add(socket);
    const asked = this.#asked;
    socket.on('pong', () => asked.delete(socket));
  }

  remove(socket: WebSocket): void {
    this.#rounds.remove(socket);
    this.#asked.delete(socket);
  }

  #ask(socket: WebSocket): void {
    if (this.#asked.has(socket)) {
      this.remove(socket);
      socket.terminate();
      return;
    }
    this.#asked.add(socket);
    socket.ping();
  }
}
