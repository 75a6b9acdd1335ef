/**
 * Callers who wait for the ends of runs, each on a connection of its own, and note when they were answered.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { answerCalls } from '../harness/calls.ts';
import { Connection, get, post } from '../harness/http.ts';
import { resultPath, startPath } from '../harness/server.ts';

const connectAtOnce = 200;

/** The longest that a server lets anybody wait. */
const prefer = 'Prefer: wait=60';

let sockets: Socket[] = [];
/** For each caller, how long after the end of its run it had the answer, in milliseconds. */
let delays: Promise<number>[] = [];

/** So many callers start a run of `held` each. Resolves when all have asked. */
function start({ port, count }: { port: number; count: number }): Promise<void> {
  return ask(port, count, (place) => post(startPath('held'), { place }, prefer));
}

/** So many callers ask for the result of one run. */
function read({ port, count, id }: { port: number; count: number; id: string }): Promise<void> {
  return ask(port, count, () => get(resultPath(id), prefer));
}

async function ask(port: number, count: number, request: (place: number) => Buffer): Promise<void> {
  for (const socket of sockets) socket.destroy();
  sockets = [];
  delays = [];
  while (sockets.length < count) {
    const few = Array.from({ length: Math.min(connectAtOnce, count - sockets.length) }, () =>
      connect({ port, host: '127.0.0.1', noDelay: true }),
    );
    await Promise.all(few.map((socket) => once(socket, 'connect')));
    for (const socket of few) {
      const delay = delayOf(socket);
      delay.catch(() => {});
      socket.write(request(sockets.length));
      sockets.push(socket);
      delays.push(delay);
    }
    await accepted(port);
  }
}

/**
 * Resolves when the server has accepted all that have connected. The kernel drops whoever comes while it has 511 that the server
 * has not, and they try again only a second later.
 */
async function accepted(port: number): Promise<void> {
  const last = await Connection.open(port);
  await last.request(get('/healthz'));
  last.close();
}

/** From the end of the run, by the server's clock, which is this one's too. */
function delayOf(socket: Socket): Promise<number> {
  return new Promise((resolve, reject) => {
    let answer = '';
    socket.setEncoding('latin1').on('data', (text: string) => {
      const now = Date.now();
      answer += text;
      const [, ended] = /"timestamp":"([^"]+)"/.exec(answer) ?? [];
      if (ended === undefined) return;
      if (answer.includes('"status":"Completed"')) resolve(now - Date.parse(ended));
      else reject(new Error(`The answer was ${answer}`));
    });
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('The server closed the connection')));
  });
}

answerCalls({
  start,
  read,
  delayOf: (place: number) => delays[place],
  delays: () => Promise.all(delays),
});
process.stdout.write('ready\n');
