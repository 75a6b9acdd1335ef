/**
 * How long it takes, one at a time, from the POST of a start to the terminal message of its run.
 */
import { once } from 'node:events';
import WebSocket from 'ws';
import type { Bench } from './harness/bench.ts';
import { fdatasyncMs } from './harness/disk.ts';
import { Connection, post } from './harness/http.ts';
import { number, type Row } from './harness/row.ts';
import { person, type Server, startPath, watchPath } from './harness/server.ts';
import { interleave, percentile, spread } from './harness/spread.ts';

const runs = 1000;

export async function measure(bench: Bench): Promise<Row[]> {
  const server = await bench.server();
  const http = await Connection.open(server.port);
  const token = await server.createToken();
  const ended = await watchAll(server, token);
  const { all, one, disk } = await interleave(bench.rounds, {
    all: () => times(() => throughStreamOfAll(http, token, ended)),
    one: () => times(() => throughOwnStream(http, server)),
    disk: async () => fdatasyncMs(server.data),
  });
  http.close();
  const ms = (rounds: number[][], percent: number) =>
    spread(rounds.map((round) => percentile(round, percent)));
  const figures = { baseline: '–', unit: ' ms' };
  const sync = (percent: number) =>
    `two commits are in it; one fdatasync alone: ${number(ms(disk, percent).median)} ms`;
  const question = 'end to end, one at a time: POST to the terminal WebSocket message';
  return [
    { ...figures, question: `${question}, p50`, measured: ms(all, 50), goal: { atMost: 1 }, note: sync(50) },
    { ...figures, question: `${question}, p99`, measured: ms(all, 99), goal: { atMost: 4 }, note: sync(99) },
    {
      ...figures,
      question: 'the same, connecting to the stream of the run only after the POST, p50',
      measured: ms(one, 50),
      goal: null,
      note: `p99 ${number(ms(one, 99).median)} ms; a new connection for each run`,
    },
  ];
}

async function times(once: () => Promise<void>): Promise<number[]> {
  const ms: number[] = [];
  for (let run = 0; run < runs; run++) {
    const begin = performance.now();
    await once();
    ms.push(performance.now() - begin);
  }
  return ms;
}

/** Opens the stream of all runs of a token; each call resolves with the id of the run that ends next. */
async function watchAll(server: Server, token: string): Promise<() => Promise<string>> {
  const socket = new WebSocket(`ws://127.0.0.1:${server.port}/ws/bench/tasks/${token}`);
  let tell: (id: string) => void = () => {};
  socket.on('message', (data) => {
    const { type, status, task_id: id } = JSON.parse(String(data));
    if (type === 'update' && status === 'Completed') tell(id);
  });
  await once(socket, 'open');
  return () =>
    new Promise((resolve) => {
      tell = resolve;
    });
}

async function throughStreamOfAll(
  http: Connection,
  token: string,
  ended: () => Promise<string>,
): Promise<void> {
  const end = ended();
  const run = JSON.parse(await http.request(post(`/api/bench/tasks/${token}/start/noop`, person)));
  const id = await end;
  if (id !== run.task_id) throw new Error(`The run ${run.task_id} was started, and ${id} ended`);
}

async function throughOwnStream(http: Connection, server: Server): Promise<void> {
  const run = JSON.parse(await http.request(post(startPath('noop'), person)));
  const socket = new WebSocket(`ws://127.0.0.1:${server.port}${watchPath(run.task_id)}`);
  await new Promise<void>((resolve, reject) => {
    socket.on('message', (data) => {
      if (JSON.parse(String(data)).status === 'Completed') resolve();
    });
    socket.on('error', reject);
  });
}
