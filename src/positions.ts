/**
 * Where runs stand that wait, for those who watch them: no events, since they change as others come and go, but looked at once a
 * second, as long as somebody watches and something waits.
 */
import type { Clock } from './clock.ts';
import type { Engine } from './engine.ts';
import { PositionMessage } from './message.ts';

const periodMs = 1000;
/** Asked for at a time, and told as soon as they are known: commits and everybody else's turn come in between. */
const askedAtOnce = 200;

/** Who is told: everybody who does not know it, or only those who have been told nothing yet. */
export type Audience = 'all' | 'newcomers';

/** A stream some of whose runs may be waiting. */
export interface PositionStream {
  /** The runs that wait, as far as its watchers know, and of which the audience is to be told. */
  waiting(audience: Audience): Iterable<string>;
  /** Tells it, unless the run has begun meanwhile. */
  tellPosition(message: PositionMessage, audience: Audience): void;
}

export class Positions {
  readonly #engine: Engine;
  readonly #clock: Clock;
  readonly #streams: () => Iterable<PositionStream>;
  readonly #newcomers = new Set<PositionStream>();
  #isAsking = false;
  #stopTicker: (() => void) | undefined;

  /** `streams` gives those that are watched. */
  constructor(engine: Engine, clock: Clock, streams: () => Iterable<PositionStream>) {
    this.#engine = engine;
    this.#clock = clock;
    this.#streams = streams;
  }

  /** Somebody has begun to watch. The ticker stops by itself when nobody does. */
  begin(): void {
    this.#stopTicker ??= this.#clock.every(periodMs, () => this.#tick());
  }

  /** Somebody has joined the stream of a run that waits. Those of one turn of the loop are told together. */
  joined(stream: PositionStream): void {
    this.#newcomers.add(stream);
    if (this.#newcomers.size > 1) return;
    setImmediate(() => {
      const streams = [...this.#newcomers];
      this.#newcomers.clear();
      this.#tell(streams, 'newcomers').catch(isLost);
    });
  }

  #tick(): void {
    const streams = [...this.#streams()];
    if (streams.length === 0) {
      this.#stopTicker?.();
      this.#stopTicker = undefined;
      return;
    }
    if (this.#isAsking || this.#engine.counts().pending === 0) return;
    this.#isAsking = true;
    this.#tell(streams, 'all')
      .catch(isLost)
      .finally(() => {
        this.#isAsking = false;
      });
  }

  async #tell(streams: readonly PositionStream[], audience: Audience): Promise<void> {
    const watching = new Map<string, PositionStream[]>();
    for (const stream of streams) {
      for (const id of stream.waiting(audience)) {
        const others = watching.get(id);
        if (others) others.push(stream);
        else watching.set(id, [stream]);
      }
    }
    const ids = [...watching.keys()];
    for (let from = 0; from < ids.length; from += askedAtOnce) {
      for (const [id, standing] of await this.#engine.standings(ids.slice(from, from + askedAtOnce))) {
        const message = new PositionMessage(id, standing);
        for (const stream of watching.get(id) ?? []) stream.tellPosition(message, audience);
      }
    }
  }
}

/** A store that cannot say just now says it a second later. */
function isLost(): void {}
