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
import { gapFrames, type Message, type PositionMessage } from './message.ts';
import type { Audience, PositionStream } from './positions.ts';
import { positionMessage, type Run, type Snapshot, snapshotMessage, TaskStatus } from './run.ts';

/** Shown to who joins, besides the active runs: those that ended so lately, and so many of them. */
const endedWithinMs = 60_000;
const endedShown = 100;
const joinPage = 500;

/** Who would have to be told of more runs than this at once is sent away: joining again is cheaper. */
const mostPassedOver = 10_000;

/** Of more runs that wait it is not told where they stand: nobody reads a thousand positions a second. */
const mostPositions = 1000;

/** For somebody who joins or is slow: by run, the newest message not sent to them and the last `seq` that they know. */
type PassedOver = Map<string, { had: number; newest: Message }>;

/** A run that waits. */
interface WaitingRun {
  /** The place in the channel of the event that said so. */
  since: number;
  /** The latest position that was told. */
  told: string | undefined;
}

export class ClientStream implements ChannelRules, PositionStream {
  readonly #engine: Engine;
  readonly #clock: Clock;
  readonly #client: string;
  readonly #state: string;
  readonly #channel = new Channel(this, 0);
  readonly #behind = new Map<Subscriber, PassedOver>();
  readonly #waiting = new Map<string, WaitingRun>();

  constructor(engine: Engine, clock: Clock, client: string, state: string) {
    this.#engine = engine;
    this.#clock = clock;
    this.#client = client;
    this.#state = state;
  }

  publish(message: Message): void {
    const place = this.#channel.head + 1;
    this.#channel.publish(message, place);
    const { task_id: id, status } = message.event.snapshot;
    if (status !== TaskStatus.PENDING) this.#waiting.delete(id);
    else if (this.#waiting.size < mostPositions) this.#waiting.set(id, { since: place, told: undefined });
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
        this.#noteWaiting(snapshot, passedOver);
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

  /** A run that a joiner is shown as waiting, with where it stands. What has happened to it meanwhile is known already. */
  #noteWaiting(snapshot: Snapshot, passedOver: PassedOver): void {
    const { task_id: id, status, position, starts_at = null, ends_at = null } = snapshot;
    if (status !== TaskStatus.PENDING || passedOver.has(id)) return;
    const told = position === undefined ? undefined : positionMessage(id, { position, starts_at, ends_at });
    const known = this.#waiting.get(id);
    // Others were told something else: everybody is told again.
    if (known) known.told = known.told === told ? told : undefined;
    else if (this.#waiting.size < mostPositions) this.#waiting.set(id, { since: 0, told });
  }

  *waiting(audience: Audience): Iterable<string> {
    // Who joins is shown the positions in the snapshots that it begins with.
    if (audience === 'newcomers') return;
    let level = this.#channel.head;
    for (const { live, position } of this.#channel.subscribers) if (live) level = Math.min(level, position);
    // Somebody may not have been sent the event yet that makes the run one that waits.
    for (const [id, { since }] of this.#waiting) if (since <= level) yield id;
  }

  tellPosition(message: PositionMessage): void {
    const run = this.#waiting.get(message.id);
    if (!run || run.told === message.text) return;
    run.told = message.text;
    this.#channel.sendBeside((subscriber) =>
      // The run may have begun since then, and wait again.
      this.#waiting.get(message.id) === run && subscriber.position >= run.since
        ? message.framed(subscriber.sink.framing)
        : undefined,
    );
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
