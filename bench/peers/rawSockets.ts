/**
 * The least that fan-out can cost: one buffer, framed beforehand, written to each raw socket.
 */

import type { AddressInfo } from 'node:net';
import { createServer, type Socket } from 'node:net';
import { webSocketFraming } from '../../src/routes/webSocketSink.ts';
import { answerCalls, cpuMicros } from '../harness/calls.ts';
import { keepPace, sampleMessage, type Talk } from '../harness/talk.ts';

const frame = webSocketFraming.frame(sampleMessage, 0);
const sockets = new Set<Socket>();

const server = createServer({ noDelay: true }, (socket) => {
  socket.once('data', () => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n');
    sockets.add(socket);
    socket.resume();
  });
  socket.on('close', () => sockets.delete(socket));
  socket.on('error', () => socket.destroy());
});

function talk(round: Talk): Promise<void> {
  return keepPace(round, () => {
    for (let message = 0; message < round.messagesPerTick; message++) {
      for (const socket of sockets) socket.write(frame);
    }
  });
}

answerCalls({ cpuMicros, talk });
server.listen(0, '127.0.0.1', () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`));
