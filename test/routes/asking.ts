/**
 * Ways to ask a server: as a program would, and as no decent program would.
 */
import { once } from 'node:events';
import { connect } from 'node:net';
import { expect } from 'vitest';
import { errorTable, type Problem, problemType } from '../../src/errors.ts';

/** POSTs `body` as JSON, or text as it stands; with no body at all when there is none. */
export function post(url: string, body?: unknown, headers: Record<string, string> = {}): Promise<Response> {
  if (body === undefined) return fetch(url, { method: 'POST', headers });
  return fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

/** The problem document of a refusal, which must be one in every respect. */
export async function problem(response: Response, code: keyof typeof errorTable): Promise<Problem> {
  const text = await response.text();
  const [status, title] = errorTable[code];
  expect({ status: response.status, text }).toEqual({ status, text: expect.any(String) });
  expect(response.headers.get('content-type')).toBe('application/problem+json; charset=utf-8');
  expectCommonHeaders(response.headers);
  const document = JSON.parse(text) as Problem;
  expect(document).toMatchObject({
    type: problemType(code),
    title,
    status,
    detail: expect.stringMatching(/./),
  });
  return document;
}

export function expectCommonHeaders(headers: Headers): void {
  expect(headers.get('cache-control')).toBe('no-store');
  expect(headers.get('referrer-policy')).toBe('no-referrer');
  expect(headers.get('x-content-type-options')).toBe('nosniff');
}

/** Sends bytes as they are, and answers with all that came back until the server hung up. */
export async function exchange(url: string, ...chunks: (string | Buffer)[]): Promise<Response> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => {});
  await once(socket, 'connect');
  for (const chunk of chunks) socket.write(chunk);
  let text = '';
  for await (const chunk of socket) text += chunk;
  return parseResponse(text);
}

function parseResponse(text: string): Response {
  const [head = '', ...rest] = text.split('\r\n\r\n');
  const [status = '', ...headers] = head.split('\r\n');
  return new Response(rest.join('\r\n\r\n') || null, {
    status: Number(status.split(' ')[1]),
    headers: headers.map((line) => {
      const [name = '', ...value] = line.split(': ');
      return [name, value.join(': ')] as [string, string];
    }),
  });
}

/** A request as text; `Connection: close` makes the server hang up after its answer. */
export function request(line: string, headers: Record<string, string> = {}, body = ''): string {
  const all = { Host: 'localhost', Connection: 'close', ...headers };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${line} HTTP/1.1\r\n${lines.join('')}\r\n${body}`;
}
