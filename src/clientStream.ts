/**
 * Everybody who watches all runs of one client in one state: where each run stands as they join, then what happens.
 */
import {
  bufferLimitBytes,
  Channel,
  type ChannelRules,
  drained,
  type Sink,
  type Subscriber,
} from './channel.ts';
import type { Clock } from './clock.ts';
import type { Engine } from './engine.ts';
import { gapFrames, type Message } from './message.ts';
import { type Run, snapshotMessage } from './run.ts';

/** Shown to who joins, besides the active runs: those that ended so lately, and so many of them. */
const endedWithinMs = 60_000;
const endedShown = 100;
const joinPage = 500;

/** Who would have to be told of more runs than this at once is sent away: joining again is cheaper. */
const mostPassedOver = 10_000;

/** For somebody who joins or is slow: by run, the newest message not sent to them and the last `seq` that they know. */
type PassedOver = Map<string, { had: number; newest: Message }>;

export class ClientStream implements ChannelRules {
  readonly #engine: Engine;
  readonly #clock: Clock;
  readonly #client: string;
  readonly #state: string;
  readonly #channel = new Channel(this, 0);
  readonly #behind = new Map<Subscriber, PassedOver>();

  constructor(engine: Engine, clock: Clock, client: string, state: string) {
    this.#engine = engine;
    this.#clock = clock;
    this.#client = client;
    this.#state = state;
  }

  publish(message: Message): void {
    this.#channel.publish(message, this.#channel.head + 1);
    for (const [subscriber, passedOver] of this.#behind) this.#passOver(subscriber, passedOver, message);
  }

  add(sink: Sink, left: (empty: boolean) => void): Subscriber {
    const subscriber: Subscriber = {
      sink,
      client: this.#client,
      position: this.#channel.head,
      live: false,
      closed: false,
      leave: () => {
        if (subscriber.closed) return;
        subscriber.closed = true;
        this.#behind.delete(subscriber);
        this.#channel.subscribers.delete(subscriber);
        left(this.#channel.subscribers.size === 0);
      },
    };
    this.#channel.subscribers.add(subscriber);
    // What happens while they join is remembered as for a slow reader.
    const passedOver: PassedOver = new Map();
    this.#behind.set(subscriber, passedOver);
    this.#join(subscriber, passedOver).catch((error: Error) => this.#close(subscriber, 1011, error.message));
    return subscriber;
  }

  async #join(subscriber: Subscriber, passedOver: PassedOver): Promise<void> {
    const { sink } = subscriber;
    const told = new Map<string, number>();
    const tell = async (runs: readonly Run[]) => {
      for (const { snapshot } of runs) {
        if (told.has(snapshot.task_id)) continue;
        told.set(snapshot.task_id, snapshot.seq);
        sink.send(sink.framing.frame(snapshotMessage(snapshot), snapshot.seq));
        if (sink.bufferedBytes > bufferLimitBytes) await drained(sink);
        if (subscriber.closed) return;
      }
    };
    const scope = { client: this.#client, state: this.#state };
    let before: string | undefined;
    do {
      const page = { ...scope, limit: joinPage, active: true };
      const runs = await this.#engine.list(before === undefined ? page : { ...page, before });
      if (subscriber.closed) return;
      await tell(runs);
      if (subscriber.closed) return;
      before = runs.at(-1)?.snapshot.task_id;
    } while (before !== undefined);
    const endedSince = this.#clock.now() - endedWithinMs;
    const ended = await this.#engine.list({ ...scope, limit: endedShown, endedSince });
    if (subscriber.closed) return;
    await tell(ended);
    if (subscriber.closed) return;
    for (const [id, passed] of passedOver) {
      const seq = told.get(id) ?? 0;
      if (passed.newest.seq <= seq) passedOver.delete(id);
      else passed.had = Math.max(passed.had, seq);
    }
    this.#catchUp(subscriber);
  }

  /** Where each run that was passed over stands now, behind a gap where there is one. */
  #catchUp(subscriber: Subscriber): void {
    const { sink } = subscriber;
    const frames: Buffer[] = [];
    for (const { had, newest } of this.#behind.get(subscriber)?.values() ?? []) {
      const missed = newest.seq - had - 1;
      if (missed === 0) frames.push(newest.framed(sink.framing));
      else frames.push(...gapFrames(sink.framing, missed, newest.event.snapshot));
    }
    this.#behind.delete(subscriber);
    subscriber.position = this.#channel.head;
    subscriber.live = true;
    if (frames.length > 0) sink.send(Buffer.concat(frames));
  }

  #passOver(subscriber: Subscriber, passedOver: PassedOver, message: Message): void {
    const { task_id: id, seq } = message.event.snapshot;
    const passed = passedOver.get(id);
    if (passed) passed.newest = message;
    else passedOver.set(id, { had: seq - 1, newest: message });
    if (passedOver.size > mostPassedOver)
      this.#close(subscriber, 1013, 'Too slow for this stream: join again');
  }

  stalled(subscriber: Subscriber): void {
    const passedOver: PassedOver = new Map();
    this.#behind.set(subscriber, passedOver);
    const unsent = this.#channel.after(subscriber.position) ?? [];
    for (const message of unsent) this.#passOver(subscriber, passedOver, message);
    subscriber.sink.onDrain(() => {
      if (!subscriber.closed) this.#catchUp(subscriber);
    });
  }

  levelled(): void {
    // A stream of all has no end of its own.
  }

  #close(subscriber: Subscriber, code: number, reason: string): void {
    if (subscriber.closed) return;
    subscriber.leave();
    subscriber.sink.close(code, reason);
  }
}
