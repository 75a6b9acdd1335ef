/**
 * How many times a second one task can call `update` while somebody watches who keeps up, and whether they are told all
 * that they must be.
 */
import WebSocket from 'ws';
import type { Bench } from './harness/bench.ts';
import { number, type Row } from './harness/row.ts';
import { type Server, watchPath } from './harness/server.ts';
import { interleave, spread } from './harness/spread.ts';

const calls = 500_000;

/** What every watcher is owed. */
const statuses = 'Pending Starting Processing Completed';

export async function measure(bench: Bench): Promise<Row[]> {
  const server = await bench.server();
  const { storms } = await interleave(bench.rounds, { storms: () => storm(server) });
  const messages = spread(storms.map((watched) => watched.messages)).median;
  return [
    {
      question: 'task.update calls per second from one task, one watcher that keeps up',
      baseline: '–',
      measured: spread(storms.map(({ seconds }) => calls / seconds)),
      unit: '/s',
      goal: { atLeast: 100_000 },
      note: `${number(calls)} awaited calls reached the watcher as ${number(messages)} messages, with each status and the last state`,
    },
  ];
}

async function storm(server: Server): Promise<{ seconds: number; messages: number }> {
  const id = await server.startRun('storm', { calls });
  const socket = new WebSocket(`ws://127.0.0.1:${server.port}${watchPath(id)}`);
  const seen: string[] = [];
  let last = { seq: 0, message: '', result: { seconds: 0 } };
  let messages = 0;
  await new Promise<void>((resolve, reject) => {
    socket.on('message', (data) => {
      const message = JSON.parse(String(data));
      messages++;
      if (message.seq !== last.seq + 1) reject(new Error(`seq ${message.seq} came after ${last.seq}`));
      if (message.status !== seen.at(-1)) seen.push(message.status);
      last = message;
    });
    socket.on('close', () => resolve());
    socket.on('error', reject);
  });
  if (seen.join(' ') !== statuses)
    throw new Error(`The watcher was told of ${seen.join(' ')}, not ${statuses}`);
  if (last.message !== `call ${calls}`) throw new Error(`The last state was told as ${last.message}`);
  return { seconds: last.result.seconds, messages };
}
