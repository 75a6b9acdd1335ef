/**
 * Streams of server-sent events, from the head of their answer to the end of their connection.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Clock } from '../clock.ts';
import type { Framing } from '../message.ts';
import { EventStreamSink } from './eventStreamSink.ts';
import { Rounds } from './rounds.ts';

/** Proxies and load balancers give up a connection on which nothing is said for a minute or so. */
const periodMs = 15_000;

export class EventStreams {
  readonly #rounds: Rounds<EventStreamSink>;

  constructor(clock: Clock) {
    this.#rounds = new Rounds(clock, periodMs, (sink) => sink.beat(periodMs));
  }

  /** How many connections are open. */
  get size(): number {
    return this.#rounds.size;
  }

  start(): void {
    this.#rounds.start();
  }

  stop(): void {
    this.#rounds.stop();
  }

  /** Takes the answer over, and hands the stream to `watch`, which answers how to stop it. HEAD gets the head only. */
  open(
    request: FastifyRequest,
    reply: FastifyReply,
    framing: Framing,
    watch: (sink: EventStreamSink) => () => void,
  ): FastifyReply {
    const { raw } = reply;
    // What was set so far belongs to this answer as to any other.
    const headers = reply.getHeaders() as Record<string, string>;
    reply.hijack();
    raw.on('error', () => raw.destroy());
    raw.writeHead(200, {
      ...headers,
      'content-type': 'text/event-stream; charset=utf-8',
      // nginx would keep the messages until it has enough of them.
      'x-accel-buffering': 'no',
    });
    if (request.method === 'HEAD') {
      raw.end();
      return reply;
    }
    // Whoever has hung up before now was not seen to do so.
    if (request.raw.socket.destroyed) return reply;
    raw.flushHeaders();
    const sink = new EventStreamSink(raw, request.raw.socket, framing);
    const leave = watch(sink);
    this.#rounds.add(sink);
    raw.once('close', () => {
      leave();
      this.#rounds.remove(sink);
    });
    return reply;
  }
}
