/**
 * Fan-out as it is mostly written: `ws.send` of one buffer, once for each message and watcher.
 */
import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';
import { answerCalls, cpuMicros } from '../harness/calls.ts';
import { keepPace, sampleMessage, type Talk } from '../harness/talk.ts';

const message = Buffer.from(sampleMessage);
const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });

function talk(round: Talk): Promise<void> {
  return keepPace(round, () => {
    for (let count = 0; count < round.messagesPerTick; count++) {
      for (const client of server.clients) client.send(message, { binary: false });
    }
  });
}

answerCalls({ cpuMicros, talk });
server.on('listening', () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`));
