import type { Socket } from 'node:net';
import { promisify } from 'node:util';
import Fastify from 'fastify';
import { expect, onTestFinished, test } from 'vitest';
import type { Sink } from '../../src/channel.ts';
import { numberedEvents } from '../../src/routes/eventStreamSink.ts';
import { EventStreams } from '../../src/routes/eventStreams.ts';
import { patienceMs } from '../../src/routes/outflow.ts';
import { Rounds } from '../../src/routes/rounds.ts';
import { EventReader } from '../support/eventReader.ts';
import { HandClock } from '../support/handClock.ts';
import { readUntilMoved, SlowReader } from '../support/slowReader.ts';

const periodMs = 15_000;

const head = 'GET / HTTP/1.1\r\nHost: lab\r\n\r\n';
const block = Buffer.from(`data: ${JSON.stringify({ text: 'x'.repeat(1_000_000) })}\n\n`);

/** Somebody who reads, as the server sees it. */
interface Reader {
  sink: Sink;
  connection: Socket;
  /** Whether the stream has been told that it is no longer watched. */
  left: boolean;
}

/** A server of nothing but streams, whose time the test drives; those who read. */
async function serve() {
  const clock = new HandClock();
  const streams = new EventStreams(clock);
  streams.start();
  const readers: Reader[] = [];
  const app = Fastify();
  app.get('/', (request, reply) =>
    streams.open(request, reply, numberedEvents, (sink) => {
      const reader = { sink, connection: request.raw.socket, left: false };
      readers.push(reader);
      return () => {
        reader.left = true;
      };
    }),
  );
  const url = await app.listen({ port: 0, host: '127.0.0.1' });
  onTestFinished(async () => {
    streams.stop();
    app.server.closeAllConnections();
    await app.close();
  });
  return { app, clock, streams, readers, url };
}

test('A stream on which nothing happens says every 15 s that it lives', async () => {
  const { clock, url } = await serve();
  const reader = await new EventReader(url).open();
  clock.advance(periodMs - 1);
  clock.advance(1000);
  await reader.until(() => reader.comments.length === 1);
  clock.advance(periodMs);
  await reader.until(() => reader.comments.length === 2);
  expect(reader.events).toEqual([]);
});

test('A reader who takes nothing for two minutes is let go of at once and for good, and one who reads is not', async () => {
  const { app, clock, streams, readers, url } = await serve();
  const deaf = new SlowReader(url, head);
  await deaf.read(1);
  const reading = await new EventReader(url).open();
  // More than two kernels hold between them.
  for (const { sink } of readers) for (let i = 0; i < 16; i++) sink.send(block);
  await reading.until(() => reading.events.length === 16);
  clock.advance(periodMs + 500);
  clock.advance(patienceMs - periodMs);
  expect(streams.size).toBe(2);
  await reading.until(() => reading.comments.length > 0);
  clock.advance(periodMs);
  await expect.poll(() => streams.size).toBe(1);
  expect(readers.map(({ left }) => left)).toEqual([true, false]);
  expect(await promisify(app.server.getConnections.bind(app.server))()).toBe(1);
  expect(reading.gone).toBe(false);
  await deaf.readOut();
});

test('A reader who takes a little at a time is never let go of, though no write to it is ever done', async () => {
  const { clock, streams, readers, url } = await serve();
  const slow = new SlowReader(url, head);
  await slow.read(1);
  const [{ sink, connection }] = readers as [Reader];
  for (let i = 0; i < 64; i++) sink.send(block);
  clock.advance(periodMs + 500);
  const unsentBytes = sink.bufferedBytes;
  for (let period = 0; period < 6; period++) {
    clock.advance(patienceMs - periodMs);
    await readUntilMoved(slow, connection);
    clock.advance(periodMs);
    expect(streams.size).toBe(1);
  }
  // Nor is it sent a comment on top of what it has not taken.
  expect(sink.bufferedBytes).toBeLessThanOrEqual(unsentBytes);
});

test('Of very many, a few are visited in each round, and none is passed over', () => {
  const clock = new HandClock();
  const visits = new Map<number, number>();
  const rounds = new Rounds<number>(clock, periodMs, (member) => {
    visits.set(member, (visits.get(member) ?? 0) + 1);
  });
  rounds.start();
  for (let member = 0; member < 10_000; member++) rounds.add(member);
  clock.advance(periodMs);
  expect(visits.size).toBe(500);
  clock.advance(9500);
  expect(visits.size).toBe(10_000);
  expect(new Set(visits.values())).toEqual(new Set([1]));
  rounds.remove(7);
  clock.advance(2 * periodMs);
  expect(visits.get(7)).toBe(1);
  expect(visits.get(8)).toBeGreaterThan(1);
  rounds.stop();
  expect(clock.timers).toBe(0);
});
