import { expect, test } from 'vitest';
import { bufferLimitBytes, Channel, type ChannelRules, type Sink, type Subscriber } from '../src/channel.ts';
import { type Framing, Message } from '../src/message.ts';
import { type Snapshot, TaskStatus } from '../src/run.ts';

const framing: Framing = { name: 'websocket', frame: (json) => Buffer.from(`${json}\n`) };

/** A connection that keeps what it is sent, and is as full as the test says. */
class Drain implements Sink {
  readonly framing = framing;
  bufferedBytes = 0;
  text = '';
  #drained: (() => void)[] = [];
  send(block: Buffer): void {
    this.text += block;
  }
  onDrain(callback: () => void): void {
    this.#drained.push(callback);
  }
  empty(): void {
    this.bufferedBytes = 0;
    for (const callback of this.#drained.splice(0)) callback();
  }
  end(): void {}
  close(): void {}
  /** The numbers of the messages it got. */
  get seqs(): number[] {
    return this.text
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line).seq);
  }
}

function message(seq: number): Message {
  const snapshot: Snapshot = {
    ...{ task_id: 'r', state: 's', task: 't', status: TaskStatus.PROCESSING, progress: seq, message: null },
    ...{ result: null, error: null, attempt: 1, seq, timestamp: new Date(0).toISOString() },
  };
  return new Message({ kind: 'update', snapshot, client: null });
}

/** A channel that keeps nothing, with so many subscribers; who stalls comes back level when it drains. */
function crowd(size: number): { channel: Channel; sinks: Drain[] } {
  const rules: ChannelRules = {
    stalled(subscriber) {
      subscriber.sink.onDrain(() => {
        const missed = channel.after(subscriber.position);
        for (const each of missed ?? []) subscriber.sink.send(each.framed(framing));
        subscriber.position = channel.head;
        subscriber.live = true;
      });
    },
    levelled() {},
  };
  const channel = new Channel(rules, 0);
  const sinks = Array.from({ length: size }, () => new Drain());
  for (const sink of sinks) {
    const subscriber: Subscriber = { sink, client: null, position: 0, live: true, closed: false, leave() {} };
    channel.subscribers.add(subscriber);
  }
  return { channel, sinks };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));
const settled = async () => {
  for (let turns = 0; turns < 20; turns++) await turn();
};

test('everybody gets every message, in order, however many slices it takes', async () => {
  const { channel, sinks } = crowd(1000);
  for (let seq = 1; seq <= 3; seq++) channel.publish(message(seq), seq);
  await turn();
  channel.publish(message(4), 4);
  await settled();
  for (const sink of sinks) expect(sink.seqs).toEqual([1, 2, 3, 4]);
});

test('who comes back in the middle of a pass does not make the others miss what came with it', async () => {
  const { channel, sinks } = crowd(500);
  const first = sinks[0] as Drain;
  first.bufferedBytes = bufferLimitBytes + 1;
  channel.publish(message(1), 1);
  // The first slice has been served, and the first of all found too slow.
  await turn();
  channel.publish(message(2), 2);
  first.empty();
  await settled();
  for (const sink of sinks) expect(sink.seqs).toEqual([1, 2]);
});

test('what one turn brought leaves as one write', async () => {
  const { channel, sinks } = crowd(1);
  const [sink] = sinks as [Drain];
  let writes = 0;
  const send = sink.send.bind(sink);
  sink.send = (block) => {
    writes++;
    send(block);
  };
  for (let seq = 1; seq <= 10; seq++) channel.publish(message(seq), seq);
  await settled();
  expect(writes).toBe(1);
  expect(sink.seqs).toHaveLength(10);
});
