/**
 * Many watchers in one process: raw sockets with a handshake made by hand, which read into one buffer and count. Only the
 * first looks at what it reads; that the others were sent the same shows in their bytes.
 */
import { connect, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { answerCalls } from '../harness/calls.ts';
import type { WatchersTarget } from '../harness/watchers.ts';

/** Handshakes at a time: more than a listening socket queues would be refused. */
const handshakes = 100;
const patienceMs = 120_000;

/** What a watcher may have been sent besides its messages: pings, whose times differ. Less than any message. */
const pingsBytes = 64;

/** A pong without a payload: masked, as a client's frames must be. */
const pong = Buffer.from([0x8a, 0x80, 0, 0, 0, 0]);
const pongPeriodMs = 20_000;
const pongRounds = 200;

class Watcher {
  static readonly #buffer = Buffer.allocUnsafe(256 * 1024);
  readonly #frames: FrameCounter | undefined;
  #socket: Socket | undefined;
  bytes = 0;

  constructor(frames?: FrameCounter) {
    this.#frames = frames;
  }

  connect({ port, path }: WatchersTarget): Promise<void> {
    return new Promise((resolve, reject) => {
      let answer: string | undefined = '';
      const receive = (length: number, buffer: Buffer) => {
        let from = 0;
        if (answer !== undefined) {
          const before = answer.length;
          answer += buffer.toString('latin1', 0, length);
          const end = answer.indexOf('\r\n\r\n');
          if (end === -1) return true;
          if (!answer.startsWith('HTTP/1.1 101')) reject(new Error(`The server answered ${answer}`));
          from = end + 4 - before;
          answer = undefined;
          resolve();
        }
        this.bytes += length - from;
        this.#frames?.take(buffer.subarray(from, length));
        return true;
      };
      const onread = {
        buffer: Watcher.#buffer,
        callback: receive as (length: number, buffer: Uint8Array) => boolean,
      };
      const socket = connect({ port, host: '127.0.0.1', noDelay: true, onread });
      socket.on('error', reject);
      socket.on('close', () => reject(new Error('The server closed the connection')));
      socket.write(
        `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
          'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c3B5Z2xhc3MtYmVuY2gtMQ==\r\n\r\n',
      );
      this.#socket = socket;
    });
  }

  pong(): void {
    this.#socket?.write(pong);
  }
}

/** Counts the text frames in a stream of bytes that may be cut anywhere. */
class FrameCounter {
  #rest: Buffer = Buffer.alloc(0);
  messages = 0;

  take(bytes: Buffer): void {
    let data = Buffer.concat([this.#rest, bytes]);
    for (let size = frameSize(data); size !== undefined && size <= data.length; size = frameSize(data)) {
      if (data[0] === 0x81) this.messages++;
      data = data.subarray(size);
    }
    this.#rest = Buffer.from(data);
  }
}

/** Of the frame at the beginning of `data`, header and all (RFC 6455, section 5.2); undefined until its header is there. */
function frameSize(data: Buffer): number | undefined {
  const short = data[1];
  if (short === undefined) return undefined;
  if (short < 126) return 2 + short;
  if (short === 126) return data.length < 4 ? undefined : 4 + data.readUInt16BE(2);
  return data.length < 10 ? undefined : 10 + Number(data.readBigUInt64BE(2));
}

const frames = new FrameCounter();
const watchers: Watcher[] = [];

async function connectAll(target: WatchersTarget): Promise<void> {
  for (let place = 0; place < target.count; place++)
    watchers.push(new Watcher(place === 0 ? frames : undefined));
  for (let from = 0; from < target.count; from += handshakes) {
    await Promise.all(watchers.slice(from, from + handshakes).map((watcher) => watcher.connect(target)));
  }
}

/** Resolves when the first has `messages` and all have the same. */
async function receive(messages: number): Promise<number> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const { bytes } = watchers[0] as Watcher;
    const behind = watchers.filter((watcher) => Math.abs(watcher.bytes - bytes) > pingsBytes).length;
    if (frames.messages >= messages && behind === 0) return frames.messages;
    if (performance.now() > deadline) {
      const counts = `${frames.messages} of ${messages} messages, and ${behind} watchers others than the first`;
      throw new Error(`The first watcher has received ${counts}`);
    }
    await pause(10);
  }
}

/** How many messages each has, when for a while no more have come. */
async function level(): Promise<number> {
  for (let messages = -1; ; ) {
    if (messages === frames.messages) return receive(messages);
    messages = frames.messages;
    await pause(300);
  }
}

/** Nobody reads the pings, so everybody says in time that they are there (RFC 6455, section 5.5.3, allows it unasked). */
function keepAlive(): void {
  let round = 0;
  setInterval(() => {
    const from = round++ % pongRounds;
    for (let place = from; place < watchers.length; place += pongRounds) watchers[place]?.pong();
  }, pongPeriodMs / pongRounds);
}

keepAlive();
answerCalls({ connect: connectAll, receive, level });
process.stdout.write('ready\n');
