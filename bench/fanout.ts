/**
 * What it costs the server to tell a thousand watchers of one run of a message, alone and ten in a tick.
 */
import type { Bench } from './harness/bench.ts';
import { number, type Row } from './harness/row.ts';
import { watchPath } from './harness/server.ts';
import { interleave, ratios, spread } from './harness/spread.ts';
import type { Talk } from './harness/talk.ts';
import type { Watchers } from './harness/watchers.ts';

const watcherCount = 1000;
const single: Talk = { ticks: 150, periodMs: 20, messagesPerTick: 1 };
const tenfold: Talk = { ticks: 30, periodMs: 100, messagesPerTick: 10 };

/** Somebody who sends a round of messages to its watchers. */
interface Speaker {
  watchers: Watchers;
  cpuMicros(): Promise<number>;
  talk(): Promise<unknown>;
}

export async function measure(bench: Bench): Promise<Row[]> {
  return [await oneByOne(bench), await tenAtOnce(bench)];
}

async function oneByOne(bench: Bench): Promise<Row> {
  const ours = await task(bench, single);
  const raw = await peer(bench, 'rawSockets', single);
  const micros = await interleave(bench.rounds, {
    ours: () => microsPerMessage(ours, single),
    raw: () => microsPerMessage(raw, single),
  });
  return {
    question: `server CPU per delivered message, ${number(watcherCount)} watchers of one run, one message a tick`,
    baseline: `one pre-framed buffer written to each raw socket: ${number(spread(micros.raw).median)} µs`,
    measured: spread(ratios(micros.ours, micros.raw)),
    unit: ' ×',
    goal: { atMost: 1.15 },
    note: `${number(spread(micros.ours).median)} µs`,
  };
}

async function tenAtOnce(bench: Bench): Promise<Row> {
  const ours = await task(bench, tenfold);
  const ws = await peer(bench, 'wsSend', tenfold);
  const micros = await interleave(bench.rounds, {
    ours: () => microsPerMessage(ours, tenfold),
    ws: () => microsPerMessage(ws, tenfold),
  });
  return {
    question: 'the same, ten messages a tick',
    baseline: `ws.send of a shared buffer, once per message and watcher: ${number(spread(micros.ws).median)} µs`,
    measured: spread(ratios(micros.ours, micros.ws)),
    unit: ' ×',
    goal: { atMost: 0.25 },
    note: `${number(spread(micros.ours).median)} µs`,
  };
}

/** The server: its task talks, its watchers watch the one run. */
async function task(bench: Bench, talk: Talk): Promise<Speaker> {
  const server = await bench.server();
  const id = await server.startRun('chatter', { rounds: bench.rounds + 1, ...talk });
  const watchers = await bench.watchers(server.port, watchPath(id), watcherCount);
  return { watchers, cpuMicros: () => server.cpuMicros(), talk: () => server.startRun('go') };
}

async function peer(bench: Bench, name: string, talk: Talk): Promise<Speaker> {
  const { child, port } = await bench.peer(name);
  const watchers = await bench.watchers(port, '/', watcherCount);
  return { watchers, cpuMicros: () => child.call('cpuMicros'), talk: () => child.call('talk', talk) };
}

/** From before the round until the last watcher has its last message. */
async function microsPerMessage(speaker: Speaker, talk: Talk): Promise<number> {
  const before = await speaker.cpuMicros();
  const messages = talk.ticks * talk.messagesPerTick;
  await Promise.all([speaker.talk(), speaker.watchers.receive(messages)]);
  return ((await speaker.cpuMicros()) - before) / (messages * speaker.watchers.count);
}
