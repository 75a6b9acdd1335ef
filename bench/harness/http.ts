/**
 * One kept-alive connection that carries one request at a time and costs its own process next to nothing: a client's own
 * work would stand in every latency, and make any two of them look alike.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** `header`: one more line. */
export function get(path: string, header?: string): Buffer {
  return Buffer.from(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n${lineOf(header)}\r\n`);
}

/** Without `body` nothing is sent, which is not the same as null. */
export function post(path: string, body?: unknown, header?: string): Buffer {
  const json = body === undefined ? '' : JSON.stringify(body);
  const type = body === undefined ? undefined : 'Content-Type: application/json';
  return Buffer.from(
    `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n${lineOf(type)}${lineOf(header)}Content-Length: ${Buffer.byteLength(json)}\r\n\r\n${json}`,
  );
}

function lineOf(header: string | undefined): string {
  return header === undefined ? '' : `${header}\r\n`;
}

export class Connection {
  readonly #socket: Socket;
  #received = '';
  #answered: ((body: string) => void) | undefined;
  #failed: ((error: Error) => void) | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
  }

  static async open(port: number): Promise<Connection> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    await once(socket, 'connect');
    const connection = new Connection(socket);
    socket.setEncoding('latin1').on('data', (text: string) => connection.#receive(text));
    socket.on('error', (error) => connection.#failed?.(error));
    socket.on('close', () => connection.#failed?.(new Error('The server closed the connection')));
    return connection;
  }

  /** Resolves with the body; rejects for anything but a 200. */
  request(bytes: Buffer): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#answered = resolve;
      this.#failed = reject;
      this.#socket.write(bytes);
    });
  }

  /** Asks `count` times, one after the other; how many milliseconds each took. */
  async times(count: number, request: () => Buffer): Promise<number[]> {
    const times: number[] = [];
    for (let asked = 0; asked < count; asked++) {
      const bytes = request();
      const begin = performance.now();
      await this.request(bytes);
      times.push(performance.now() - begin);
    }
    return times;
  }

  close(): void {
    this.#failed = undefined;
    this.#socket.destroy();
  }

  #receive(text: string): void {
    this.#received += text;
    const end = this.#received.indexOf('\r\n\r\n');
    if (end === -1) return;
    const length = Number(/content-length: (\d+)/i.exec(this.#received)?.[1] ?? 0);
    if (this.#received.length < end + 4 + length) return;
    const answer = this.#received;
    this.#received = '';
    if (answer.startsWith('HTTP/1.1 200')) this.#answered?.(answer.slice(end + 4));
    else this.#failed?.(new Error(`The server answered ${answer.slice(0, 500)}`));
  }
}
