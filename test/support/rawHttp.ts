/**
 * Bytes to a server, as they are, and the answer that comes back, if any.
 */
import { connect } from 'node:net';

export interface RawAnswer {
  status: number;
  type: string;
  body: string;
}

export interface RawRequest {
  /** Written one after the other. */
  parts: readonly (string | Buffer)[];
  /** Whether our half of the connection is closed behind them. */
  fin?: boolean;
}

const patienceMs = 10_000;

/**
 * Undefined: the server hung up without a word. Rejects when it says nothing, and does not hang up either.
 */
export function sendRaw(url: string, { parts, fin = false }: RawRequest): Promise<RawAnswer | undefined> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
    const chunks: Buffer[] = [];
    const settle = (done: () => void) => {
      clearTimeout(timer);
      socket.destroy();
      done();
    };
    const timer = setTimeout(
      () => settle(() => reject(new Error('There was no answer, and no end'))),
      patienceMs,
    );
    socket.on('data', (chunk) => {
      chunks.push(chunk);
      const answer = parseAnswer(Buffer.concat(chunks).toString());
      if (answer) settle(() => resolve(answer));
    });
    // A server that has answered may reset what is still being sent to it.
    socket.on('error', () => {});
    socket.on('close', () => settle(() => resolve(undefined)));
    socket.on('end', () => settle(() => resolve(undefined)));
    for (const part of parts) socket.write(part);
    if (fin) socket.end();
  });
}

/** A whole answer with a Content-Length; undefined while it is not whole yet. */
function parseAnswer(text: string): RawAnswer | undefined {
  const [head = '', body] = text.split(/\r\n\r\n(.*)/s, 2);
  const [, status] = /^HTTP\/1\.1 (\d{3})/.exec(head) ?? [];
  if (body === undefined || status === undefined) return undefined;
  const header = (name: string) => new RegExp(`^${name}: *(.*)$`, 'im').exec(head)?.[1]?.trim();
  const length = header('content-length');
  if (length === undefined ? status !== '101' : Buffer.byteLength(body) < Number(length)) return undefined;
  return { status: Number(status), type: header('content-type') ?? '', body };
}
