/**
 * Fan-out: takes each RunEvent to everybody who watches its run, or all runs of its client in its state.
 */
import type { Sink, Subscriber } from './channel.ts';
import { ClientStream } from './clientStream.ts';
import type { Clock } from './clock.ts';
import type { Engine } from './engine.ts';
import { Message } from './message.ts';
import { Positions } from './positions.ts';
import type { RunEvent } from './run.ts';
import { RunStream } from './runStream.ts';

export class Subscribers {
  readonly #engine: Engine;
  readonly #clock: Clock;
  readonly #runs = new Map<string, RunStream>();
  readonly #clients = new Map<string, ClientStream>();
  readonly #all = new Set<Subscriber>();
  readonly #positions: Positions;

  constructor(engine: Engine, clock: Clock) {
    this.#engine = engine;
    this.#clock = clock;
    this.#positions = new Positions(engine, clock, () => [...this.#runs.values(), ...this.#clients.values()]);
  }

  /** How many watch. */
  get size(): number {
    return this.#all.size;
  }

  /** How many runs are watched one by one: such streams end by themselves, those of all runs never do. */
  get watchedRuns(): number {
    return this.#runs.size;
  }

  /** Mostly nobody watches: then this is two look-ups. */
  receive(event: RunEvent): void {
    const { task_id: id, state } = event.snapshot;
    const run = this.#runs.get(id);
    const client = event.client === null ? undefined : this.#clients.get(clientKey(event.client, state));
    if (!run && !client) return;
    const message = new Message(event);
    run?.publish(message);
    client?.publish(message);
  }

  /**
   * Sends `sink` the events of a run after `since`, then what happens, then ends it. The caller has made sure that there
   * is such a run and who may see it. The returned function stops it.
   */
  watchRun(id: string, client: string | null, since: number, sink: Sink): () => void {
    let stream = this.#runs.get(id);
    if (!stream) {
      stream = new RunStream(this.#engine, id, (waiting) => this.#positions.joined(waiting));
      this.#runs.set(id, stream);
    }
    const subscriber = stream.add(sink, since, client, (empty) => {
      this.#all.delete(subscriber);
      if (empty) this.#runs.delete(id);
    });
    this.#all.add(subscriber);
    this.#positions.begin();
    return subscriber.leave;
  }

  /** Sends `sink` where each active and each lately ended run stands, then what happens. The returned function stops it. */
  watchClient(client: string, state: string, sink: Sink): () => void {
    const key = clientKey(client, state);
    let stream = this.#clients.get(key);
    if (!stream) {
      stream = new ClientStream(this.#engine, this.#clock, client, state);
      this.#clients.set(key, stream);
    }
    const subscriber = stream.add(sink, (empty) => {
      this.#all.delete(subscriber);
      if (empty) this.#clients.delete(key);
    });
    this.#all.add(subscriber);
    this.#positions.begin();
    return subscriber.leave;
  }

  /** Closes the streams that were opened with one client token. */
  closeClient(client: string, code: number, reason: string): void {
    for (const subscriber of this.#all) if (subscriber.client === client) close(subscriber, code, reason);
  }

  closeAll(code: number, reason: string): void {
    for (const subscriber of this.#all) close(subscriber, code, reason);
  }
}

function close(subscriber: Subscriber, code: number, reason: string): void {
  subscriber.leave();
  subscriber.sink.close(code, reason);
}

/** Ids have no space in them. */
function clientKey(client: string, state: string): string {
  return `${client} ${state}`;
}
