/**
 * Callers who wait for the ends of runs, each on a connection of its own, and know to the fraction of a millisecond when they were
 * answered.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { answerCalls } from '../harness/calls.ts';
import { get } from '../harness/http.ts';
import { resultPath } from '../harness/server.ts';

const connectAtOnce = 200;

const sockets: Socket[] = [];
const answers = new Map<string, Promise<number>>();

/** Resolves when all have asked. */
async function wait({ port, ids }: { port: number; ids: string[] }): Promise<void> {
  for (let from = 0; from < ids.length; from += connectAtOnce) {
    await Promise.all(ids.slice(from, from + connectAtOnce).map((id) => ask(port, id)));
  }
}

async function ask(port: number, id: string): Promise<void> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  sockets.push(socket);
  await once(socket, 'connect');
  answers.set(
    id,
    once(socket, 'data').then(([data]) => {
      const at = performance.timeOrigin + performance.now();
      const [, ended] = /"timestamp":"([^"]+)"/.exec(String(data)) ?? [];
      if (!String(data).includes('"Completed"')) throw new Error(`The answer was ${data}`);
      return at - Date.parse(ended as string);
    }),
  );
  answers.get(id)?.catch(() => {});
  socket.write(get(`${resultPath(id)}?wait=60`));
}

/** How long after the end of the run its waiter had the answer. */
function answered(id: string): Promise<number> {
  return answers.get(id) as Promise<number>;
}

function leave(): void {
  for (const socket of sockets.splice(0)) socket.destroy();
  answers.clear();
}

answerCalls({ wait, answered, leave });
process.stdout.write('ready\n');
