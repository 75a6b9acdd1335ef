/**
 * Where the server can be reached. `localhost` is two addresses, and programs differ in which they try first, so both are
 * bound to the same port.
 */
import { type AddressInfo, createServer, type Server as NetServer } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { exitCode, StartError } from './errors.ts';
import type { Log } from './logging.ts';

export interface Listening {
  /** What to call the server by, such as `http://localhost:8000`. */
  url: string;
  /** Each address that is bound, such as `127.0.0.1:8000` and `[::1]:8000`. */
  addresses: string[];
  /** Takes no more connections on the second address; the app closes the first. */
  close(): void;
}

/** Binds `app`, or throws a `StartError` that says which port or address cannot be had. */
export async function listen(app: FastifyInstance, host: string, port: number, log: Log): Promise<Listening> {
  await app.ready();
  if (host === 'localhost') return listenOnLoopback(app, port, log);
  const address = `${nameOf(host)}:${await bind(app, host, port)}`;
  return { url: `http://${address}`, addresses: [address], close: () => {} };
}

/**
 * How many connections may have been made and wait to be taken. Beyond it Linux drops what a client sends, which then tries again
 * after a second: Node's own 511 are too few when thousands connect at once, while the event loop is busy for some
 * milliseconds. As many as can be asked for, since the kernel grants no more than its own limit (`net.core.somaxconn`, 4,096
 * unless it was raised), and a place costs nothing until it is taken.
 */
const backlog = 65_535;

/** How often a free port is looked for that is free on both addresses. */
const attempts = 20;

async function listenOnLoopback(app: FastifyInstance, wanted: number, log: Log): Promise<Listening> {
  for (let attempt = 1; ; attempt++) {
    const second = await bindSecond(app, wanted).catch((error: NodeJS.ErrnoException) => error);
    const free = second instanceof Error ? wanted : portOf(second);
    try {
      const port = await bind(app, '127.0.0.1', free);
      return second instanceof Error ? onOneAddress(port, second, log) : onBoth(port, second);
    } catch (error) {
      if (!(second instanceof Error)) second.close();
      if (wanted !== 0 || attempt === attempts) throw error;
    }
  }
}

function onBoth(port: number, second: NetServer): Listening {
  const addresses = [`127.0.0.1:${port}`, `[::1]:${port}`];
  return { url: `http://localhost:${port}`, addresses, close: () => second.close() };
}

function onOneAddress(port: number, reason: NodeJS.ErrnoException, log: Log): Listening {
  const address = `127.0.0.1:${port}`;
  if (isAbsent(reason)) log('info', `There is no IPv6 on this machine: listening on ${address} only`);
  else {
    const why = reason.code === 'EADDRINUSE' ? 'another program has it' : reason.message;
    log(
      'warn',
      `Cannot listen on [::1]:${port}: ${why}. Use ${address}, since "localhost" may lead elsewhere`,
    );
  }
  return {
    url: `http://${isAbsent(reason) ? `localhost:${port}` : address}`,
    addresses: [address],
    close: () => {},
  };
}

async function bind(app: FastifyInstance, host: string, port: number): Promise<number> {
  try {
    await app.listen({ host, port, backlog });
  } catch (error) {
    throw cannotListen(error as NodeJS.ErrnoException, host, port);
  }
  return portOf(app.server);
}

/** Connections of the second address are handed to the one HTTP server, so limits and upgrades are the same on both. */
function bindSecond(app: FastifyInstance, port: number): Promise<NetServer> {
  return new Promise((resolve, reject) => {
    // As node:http makes its own: it does its half of closing itself.
    const second = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      app.server.emit('connection', socket);
    });
    second.once('error', reject);
    second.listen({ host: '::1', port, ipv6Only: true, backlog }, () => {
      second.off('error', reject);
      resolve(second);
    });
  });
}

/** Of a server that listens on a host and port, which has an address of that kind. */
function portOf(server: NetServer): number {
  return (server.address() as AddressInfo).port;
}

function isAbsent(error: NodeJS.ErrnoException): boolean {
  return error.code === 'EADDRNOTAVAIL' || error.code === 'EAFNOSUPPORT';
}

function cannotListen(error: NodeJS.ErrnoException, host: string, port: number): unknown {
  const where = `${nameOf(host)}:${port}`;
  switch (error.code) {
    case 'EADDRINUSE':
      return new StartError(
        `${where} is in use by another program. Stop it, or choose another port with --port (0 picks a free one).`,
        exitCode.failed,
      );
    case 'EACCES':
      return new StartError(
        `${where} may not be used by this user. Choose a port above 1023 with --port.`,
        exitCode.failed,
      );
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new StartError(
        `${host} is not an address of this machine. Give one that is with --host.`,
        exitCode.failed,
      );
    default:
      return error;
  }
}

/** As it stands in a URL. */
function nameOf(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
