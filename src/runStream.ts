/**
 * Everybody who watches one run: history, page by page, until it meets the present; then what happens; then the end.
 */
import {
  bufferLimitBytes,
  Channel,
  type ChannelRules,
  drained,
  type Sink,
  type Subscriber,
} from './channel.ts';
import type { Engine } from './engine.ts';
import { gapFrames, Message, type PositionMessage } from './message.ts';
import type { Audience, PositionStream } from './positions.ts';
import { isTerminal, TaskStatus } from './run.ts';

/** Messages kept while somebody watches, so that a reader who was slow for a moment misses nothing. */
const keptMessages = 256;

export class RunStream implements ChannelRules, PositionStream {
  readonly #engine: Engine;
  readonly #id: string;
  readonly #onWaiting: (stream: RunStream) => void;
  readonly #channel = new Channel(this, keptMessages);
  /** As the history said it; an event that came since then says it better. */
  #statusRead: TaskStatus | undefined;
  /** The latest position that each has been told; `isNew`: as they joined, which may have been a moment ago. */
  readonly #told = new Map<Subscriber, { text: string; isNew: boolean }>();

  /** `onWaiting` is called when somebody has joined and the run waits. */
  constructor(engine: Engine, id: string, onWaiting: (stream: RunStream) => void) {
    this.#engine = engine;
    this.#id = id;
    this.#onWaiting = onWaiting;
  }

  publish(message: Message): void {
    this.#channel.publish(message, message.seq);
  }

  /** Adds somebody who has the events up to `since`, and answers how to take them away. */
  add(sink: Sink, since: number, client: string | null, left: (empty: boolean) => void): Subscriber {
    const subscriber: Subscriber = {
      sink,
      client,
      position: since,
      live: false,
      closed: false,
      leave: () => {
        if (subscriber.closed) return;
        subscriber.closed = true;
        this.#channel.subscribers.delete(subscriber);
        this.#told.delete(subscriber);
        left(this.#channel.subscribers.size === 0);
      },
    };
    this.#channel.subscribers.add(subscriber);
    this.#replay(subscriber).catch((error: Error) => this.#close(subscriber, 1011, error.message));
    return subscriber;
  }

  /** History, no faster than it is read. */
  async #replay(subscriber: Subscriber): Promise<void> {
    for (let more = true; more; ) {
      const history = await this.#engine.history(this.#id, subscriber.position);
      if (subscriber.closed) return;
      if (!history) return this.#close(subscriber, 1011, 'The run is no longer stored');
      this.#statusRead = history.run.snapshot.status;
      for (const event of history.events) {
        this.#send(subscriber, [new Message(event)]);
        if (subscriber.sink.bufferedBytes > bufferLimitBytes) await drained(subscriber.sink);
        if (subscriber.closed) return;
      }
      more = history.more;
      const last = history.events.at(-1);
      if (last && isTerminal(last.snapshot.status)) return this.#end(subscriber);
      // Everything had been seen before: there is nothing left to say.
      if (!last && isTerminal(history.run.snapshot.status)) return this.#end(subscriber);
    }
    this.#catchUp(subscriber);
    if (this.#waits) this.#onWaiting(this);
  }

  get #waits(): boolean {
    return (this.#channel.latest?.event.snapshot.status ?? this.#statusRead) === TaskStatus.PENDING;
  }

  *waiting(audience: Audience): Iterable<string> {
    if (this.#waits && (audience === 'all' || this.#told.size < this.#channel.subscribers.size))
      yield this.#id;
  }

  tellPosition(message: PositionMessage, audience: Audience): void {
    const { text } = message;
    this.#channel.sendBeside((subscriber) => {
      // Its watchers may be told in several turns of the loop, and the run may begin in any of them.
      if (!this.#waits || subscriber.position < this.#channel.head) return undefined;
      const told = this.#told.get(subscriber);
      if (told && audience === 'newcomers') return undefined;
      const isTooSoon = told?.isNew === true;
      if (told) told.isNew = false;
      if (isTooSoon || told?.text === text) return undefined;
      this.#told.set(subscriber, { text, isNew: audience === 'newcomers' });
      return message.framed(subscriber.sink.framing);
    });
  }

  /** Brings a subscriber level with what the channel still has, else over a gap. */
  #catchUp(subscriber: Subscriber): void {
    const channel = this.#channel;
    if (channel.head > subscriber.position && channel.latest) {
      const missed = channel.after(subscriber.position);
      this.#send(subscriber, missed && isModest(missed, subscriber.sink) ? missed : [channel.latest]);
    }
    subscriber.live = true;
    this.levelled(subscriber);
  }

  /** Messages in order, as one write; a hole in their numbers becomes one `gap` and the state behind it. */
  #send(subscriber: Subscriber, messages: readonly Message[]): void {
    const { sink } = subscriber;
    const frames: Buffer[] = [];
    for (const message of messages) {
      const missed = message.seq - subscriber.position - 1;
      if (missed < 0) continue;
      if (missed === 0) frames.push(message.framed(sink.framing));
      else frames.push(...gapFrames(sink.framing, missed, message.event.snapshot));
      subscriber.position = message.seq;
    }
    if (frames.length > 0) sink.send(Buffer.concat(frames));
  }

  stalled(subscriber: Subscriber): void {
    subscriber.sink.onDrain(() => {
      if (!subscriber.closed) this.#catchUp(subscriber);
    });
  }

  levelled(subscriber: Subscriber): void {
    if (this.#channel.latest?.isTerminal) this.#end(subscriber);
  }

  #end(subscriber: Subscriber): void {
    subscriber.leave();
    subscriber.sink.end();
  }

  #close(subscriber: Subscriber, code: number, reason: string): void {
    if (subscriber.closed) return;
    subscriber.leave();
    subscriber.sink.close(code, reason);
  }
}

/** Whether the messages can be sent at once: a reader who was slow is not given more than it may hold. */
function isModest(messages: readonly Message[], sink: Sink): boolean {
  let bytes = 0;
  return messages.every((message) => {
    bytes += message.framed(sink.framing).length;
    return bytes <= bufferLimitBytes;
  });
}
