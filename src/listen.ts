/**
 * Where the server can be reached. `localhost` is two addresses, and programs differ in which they try first, so both are
 * bound to the same port.
 */
import { createServer, type Server as NetServer } from 'node:net';
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
  if (host !== 'localhost') {
    const bound = await bindApp(app, host, port);
    return {
      url: `http://${nameOf(host)}:${bound}`,
      addresses: [`${nameOf(host)}:${bound}`],
      close: () => {},
    };
  }
  const bound = await bindApp(app, '127.0.0.1', port);
  const address = `127.0.0.1:${bound}`;
  const second = await bindSecond(app, bound).catch((error: NodeJS.ErrnoException) => error);
  if (!(second instanceof Error)) {
    return {
      url: `http://localhost:${bound}`,
      addresses: [address, `[::1]:${bound}`],
      close: () => second.close(),
    };
  }
  if (isAbsent(second)) {
    log('info', 'There is no IPv6 on this machine: listening on 127.0.0.1 only');
  } else {
    const reason = second.code === 'EADDRINUSE' ? 'another program has it' : second.message;
    log(
      'warn',
      `Cannot listen on [::1]:${bound}: ${reason}. Use 127.0.0.1: localhost may reach that program instead`,
    );
  }
  return {
    url: `http://${isAbsent(second) ? 'localhost' : '127.0.0.1'}:${bound}`,
    addresses: [address],
    close: () => {},
  };
}

async function bindApp(app: FastifyInstance, host: string, port: number): Promise<number> {
  try {
    await app.listen({ host, port });
  } catch (error) {
    throw cannotListen(error as NodeJS.ErrnoException, host, port);
  }
  const address = app.server.address();
  // A server that listens on a host and port has an address of that kind.
  return typeof address === 'object' && address ? address.port : port;
}

/** Connections of the second address are handed to the one HTTP server, so limits and upgrades are the same on both. */
function bindSecond(app: FastifyInstance, port: number): Promise<NetServer> {
  return new Promise((resolve, reject) => {
    // As node:http makes its own: it does its half of closing itself.
    const second = createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
      app.server.emit('connection', socket),
    );
    second.once('error', reject);
    second.listen({ host: '::1', port, ipv6Only: true }, () => {
      second.off('error', reject);
      resolve(second);
    });
  });
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
