/**
 * The messages of one run, or of one client's runs in a state, and the sinks they go to.
 *
 * The policy for a slow reader: nobody waits for it. While its connection holds more than `bufferLimitBytes` it is sent
 * nothing and remembers only how far it got; when it has drained it gets the newest state behind one `gap`.
 */
import type { Framing, Message } from './message.ts';

/** What may lie unsent in one connection before its reader counts as slow. */
export const bufferLimitBytes = 256 * 1024;

/** Of the messages kept for those who come back, so much at the most. */
const keptBytes = 1024 * 1024;

/** So many sinks are served in one turn of the event loop: 10,000 at once would hold it up for 100 ms. */
const sliceSinks = 200;

/** One connection. `send` must not throw. */
export interface Sink {
  readonly framing: Framing;
  /** Bytes that were sent and the peer has not taken yet. */
  readonly bufferedBytes: number;
  send(block: Buffer): void;
  /** Calls back once, when the buffer has emptied. */
  onDrain(callback: () => void): void;
  /** Everything has been said. */
  end(): void;
  close(code: number, reason: string): void;
}

/** Resolves when the peer has taken everything. */
export function drained(sink: Sink): Promise<void> {
  return sink.bufferedBytes === 0 ? Promise.resolve() : new Promise((resolve) => sink.onDrain(resolve));
}

/** Somebody watching. */
export interface Subscriber {
  readonly sink: Sink;
  /** The id of the client token that the stream was opened with, null for direct access. */
  readonly client: string | null;
  /** The last message of the channel that it has, or has been told of. */
  position: number;
  /** Served by the channel; whoever joins, or is slow, is looked after by the stream. */
  live: boolean;
  closed: boolean;
  /** Takes it out of the stream, without a word to its sink. */
  readonly leave: () => void;
}

/** What a stream does with a subscriber where the channel's loop cannot know. */
export interface ChannelRules {
  /** Its buffer is full: it has just stopped being live. */
  stalled(subscriber: Subscriber): void;
  /** It has just been sent everything there is. */
  levelled(subscriber: Subscriber): void;
}

export class Channel {
  readonly #rules: ChannelRules;
  /** How many messages that everybody has are kept for those who come back. */
  readonly #keep: number;
  readonly subscribers = new Set<Subscriber>();
  /** The newest messages; the last of them has the position `head`. */
  #messages: Message[] = [];
  head = 0;
  #passing = false;
  #block: { from: number; to: number; framing: Framing; bytes: Buffer } | undefined;

  constructor(rules: ChannelRules, keep: number) {
    this.#rules = rules;
    this.#keep = keep;
  }

  /** Adds a message at `position`, which is the one after `head`; what one turn of the loop brings leaves as one write. */
  publish(message: Message, position: number): void {
    this.#messages.push(message);
    this.head = position;
    if (this.#passing) return;
    this.#passing = true;
    setImmediate(() => this.#pass(this.subscribers.values()));
  }

  get latest(): Message | undefined {
    return this.#messages.at(-1);
  }

  /** The messages after `position`, or undefined when some of them are no longer here. */
  after(position: number): Message[] | undefined {
    const missing = this.head - position;
    return missing <= this.#messages.length
      ? this.#messages.slice(this.#messages.length - missing)
      : undefined;
  }

  /**
   * Sends what is no message of the stream, and has no place in it: to each subscriber who keeps up, what `blockFor` gives. Who
   * is slow does without.
   */
  sendBeside(
    blockFor: (subscriber: Subscriber) => Buffer | undefined,
    remaining = this.subscribers.values(),
  ): void {
    let served = 0;
    for (const subscriber of remaining) {
      if (!subscriber.live || subscriber.sink.bufferedBytes > bufferLimitBytes) continue;
      const block = blockFor(subscriber);
      if (!block) continue;
      subscriber.sink.send(block);
      if (++served === sliceSinks) {
        setImmediate(() => this.sendBeside(blockFor, remaining));
        return;
      }
    }
  }

  #pass(remaining: IterableIterator<Subscriber>): void {
    let served = 0;
    for (const subscriber of remaining) {
      if (!subscriber.live || subscriber.position === this.head) continue;
      this.#serve(subscriber);
      // Someone who left the iterator's set is simply not met; the iterator goes on where it stopped.
      if (++served === sliceSinks) {
        setImmediate(() => this.#pass(remaining));
        return;
      }
    }
    this.#passing = false;
    this.#block = undefined;
    if (this.#anybodyBehind()) {
      this.#passing = true;
      setImmediate(() => this.#pass(this.subscribers.values()));
      return;
    }
    this.#forget();
  }

  #forget(): void {
    let kept = 0;
    let bytes = 0;
    while (kept < Math.min(this.#keep, this.#messages.length)) {
      bytes += (this.#messages[this.#messages.length - 1 - kept] as Message).framedBytes;
      if (bytes > keptBytes && kept > 0) break;
      kept++;
    }
    if (kept < this.#messages.length) this.#messages = this.#messages.slice(this.#messages.length - kept);
  }

  /** Whether messages came in after some readers of this pass had been served. */
  #anybodyBehind(): boolean {
    for (const { live, position } of this.subscribers) if (live && position !== this.head) return true;
    return false;
  }

  #serve(subscriber: Subscriber): void {
    const { sink } = subscriber;
    const block =
      sink.bufferedBytes > bufferLimitBytes ? undefined : this.#blockFrom(subscriber.position, sink.framing);
    if (!block) {
      subscriber.live = false;
      this.#rules.stalled(subscriber);
      return;
    }
    sink.send(block);
    subscriber.position = this.head;
    this.#rules.levelled(subscriber);
  }

  /** All messages after `from` as one buffer, the same one for all who are there; undefined when some are no longer here. */
  #blockFrom(from: number, framing: Framing): Buffer | undefined {
    const block = this.#block;
    if (block && block.from === from && block.to === this.head && block.framing === framing)
      return block.bytes;
    const frames = this.after(from)?.map((message) => message.framed(framing));
    if (!frames) return undefined;
    const bytes = frames.length === 1 ? (frames[0] as Buffer) : Buffer.concat(frames);
    this.#block = { from, to: this.head, framing, bytes };
    return bytes;
  }
}
