import Fastify from 'fastify';
import { expect, onTestFinished, test } from 'vitest';
import type { Sink } from '../../src/channel.ts';
import { numberedEvents } from '../../src/routes/eventStreamSink.ts';
import { EventStreams } from '../../src/routes/eventStreams.ts';
import { Rounds } from '../../src/routes/rounds.ts';
import { EventReader } from '../support/eventReader.ts';
import { HandClock } from '../support/handClock.ts';

const periodMs = 15_000;

/** A server of nothing but streams, whose time the test drives; the sinks of those who read. */
async function serve() {
  const clock = new HandClock();
  const streams = new EventStreams(clock);
  streams.start();
  const sinks: Sink[] = [];
  const app = Fastify();
  app.get('/', (request, reply) =>
    streams.open(request, reply, numberedEvents, (sink) => {
      sinks.push(sink);
      return () => {};
    }),
  );
  const url = await app.listen({ port: 0, host: '127.0.0.1' });
  onTestFinished(async () => {
    streams.stop();
    app.server.closeAllConnections();
    await app.close();
  });
  return { clock, streams, sinks, url };
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

test('A reader who has taken nothing since the last time is let go of, and one who reads is not', async () => {
  const { clock, streams, sinks, url } = await serve();
  const [deaf, reading] = [await new EventReader(url).open(), await new EventReader(url).open()];
  deaf.pause();
  const block = Buffer.from(`data: ${JSON.stringify({ text: 'x'.repeat(1_000_000) })}\n\n`);
  // More than two kernels hold between them.
  for (const sink of sinks) for (let i = 0; i < 16; i++) sink.send(block);
  await reading.until(() => reading.events.length === 16);
  clock.advance(periodMs + 500);
  expect(streams.size).toBe(2);
  await reading.until(() => reading.comments.length === 1);
  clock.advance(periodMs);
  await expect.poll(() => streams.size).toBe(1);
  expect(reading.gone).toBe(false);
  deaf.resume();
  expect(await deaf.end()).toBe(false);
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
