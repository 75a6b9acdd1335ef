import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { WebSocketServer } from 'ws';
import { Heartbeat } from '../../src/routes/heartbeat.ts';
import { patienceMs } from '../../src/routes/outflow.ts';
import { webSocketFraming } from '../../src/routes/webSocketSink.ts';
import { HandClock } from '../support/handClock.ts';
import { upgradeRequest } from '../support/rawWatcher.ts';
import { readUntilMoved, SlowReader } from '../support/slowReader.ts';

const periodMs = 30_000;
const frame = webSocketFraming.frame(JSON.stringify('x'.repeat(1_000_000)), null);

/** A watcher who never answers a ping, and the server's end of it, whose time the test drives. */
async function watched() {
  const clock = new HandClock();
  const heartbeat = new Heartbeat(clock);
  heartbeat.start();
  const http = createServer();
  const sockets = new WebSocketServer({ server: http });
  await once(http.listen(0, '127.0.0.1'), 'listening');
  const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  const reader = new SlowReader(url, upgradeRequest('lab', '/'));
  const [socket, { socket: connection }] = await once(sockets, 'connection');
  heartbeat.add(socket, connection);
  const end = { closed: false };
  socket.on('close', () => {
    end.closed = true;
  });
  onTestFinished(() => {
    heartbeat.stop();
    socket.terminate();
    http.close();
  });
  await reader.read(1);
  return { clock, reader, connection: connection as Socket, end };
}

test('a watcher who answers nothing for two minutes is let go, whether or not something lies unsent', async () => {
  for (const frames of [0, 16]) {
    const { clock, reader, connection, end } = await watched();
    for (let i = 0; i < frames; i++) connection.write(frame);
    clock.advance(periodMs + 500);
    clock.advance(patienceMs - periodMs);
    expect(connection.destroyed).toBe(false);
    clock.advance(periodMs);
    await expect.poll(() => end.closed).toBe(true);
    await reader.readOut();
  }
});

test('a watcher who reads so slowly that a ping does not reach it is kept while bytes leave for it', async () => {
  const { clock, reader, connection, end } = await watched();
  for (let i = 0; i < 64; i++) connection.write(frame);
  clock.advance(periodMs + 500);
  for (let period = 0; period < 6; period++) {
    clock.advance(patienceMs - periodMs);
    await readUntilMoved(reader, connection);
    clock.advance(periodMs);
    expect({ destroyed: connection.destroyed, ...end }).toEqual({ destroyed: false, closed: false });
  }
});
