/**
 * Pings every watcher and lets go of those that no longer answer: a dead peer says nothing by itself. One that reads slowly has a
 * lot before it that comes ahead of the ping, so bytes that leave are as good as an answer.
 */
import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import type { Clock } from '../clock.ts';
import { Outflow, patienceMs } from './outflow.ts';
import { Rounds } from './rounds.ts';

const periodMs = 30_000;

interface Watched {
  readonly connection: Socket;
  readonly outflow: Outflow;
  /** Pinged and not yet heard of. */
  isAsked: boolean;
  /** For how long it has not answered, and nothing of what lay unsent has left. */
  silentMs: number;
}

export class Heartbeat {
  readonly #rounds: Rounds<WebSocket>;
  readonly #watched = new Map<WebSocket, Watched>();

  constructor(clock: Clock) {
    this.#rounds = new Rounds(clock, periodMs, (socket) => this.#ask(socket));
  }

  start(): void {
    this.#rounds.start();
  }

  stop(): void {
    this.#rounds.stop();
  }

  /** `connection` is the one that the socket is on. */
  add(socket: WebSocket, connection: Socket): void {
    const watched = { connection, outflow: new Outflow(connection), isAsked: false, silentMs: 0 };
    this.#watched.set(socket, watched);
    this.#rounds.add(socket);
    socket.on('pong', () => {
      watched.isAsked = false;
    });
  }

  remove(socket: WebSocket): void {
    this.#rounds.remove(socket);
    this.#watched.delete(socket);
  }

  #ask(socket: WebSocket): void {
    const watched = this.#watched.get(socket);
    if (!watched) return;
    const flow = watched.outflow.look();
    watched.silentMs = watched.isAsked && flow !== 'moving' ? watched.silentMs + periodMs : 0;
    if (watched.silentMs >= patienceMs) {
      this.remove(socket);
      // Closed in the ordinary way, the kernel would keep what it holds and go on offering it.
      watched.connection.resetAndDestroy();
      return;
    }
    watched.isAsked = true;
    socket.ping();
  }
}
