/**
 * How an error is answered: always as a problem document (RFC 9457), whether it comes from a route, from Fastify, from Node's
 * HTTP parser or from the WebSocket handshake.
 */
import { type IncomingMessage, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { DrainedError, EngineUnavailableError, KeyConflictError } from '../engine.ts';
import { type ErrorCode, errorTable, problemMediaType, RequestError, toProblem } from '../errors.ts';
import { isUpgrade } from '../guard.ts';
import { type Log, redactTokens, redactUrl } from '../logging.ts';

/** Headers of every answer. Snapshots are private, and an address may hold a token. */
export const commonHeaders = {
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
} as const;

function problemText(error: RequestError): string {
  return redactTokens(JSON.stringify(toProblem(error)));
}

export function sendProblem(reply: FastifyReply, error: RequestError): void {
  reply
    .code(error.statusCode)
    .headers(error.headers)
    .header('content-type', problemMediaType)
    .send(problemText(error));
}

/** Answers on a bare socket, where there is no reply to answer with, and ends it. */
export function endWithProblem(socket: Duplex, error: RequestError): void {
  const body = problemText(error);
  const headers = {
    ...commonHeaders,
    ...error.headers,
    connection: 'close',
    'content-type': problemMediaType,
    'content-length': Buffer.byteLength(body),
  };
  const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const status = `HTTP/1.1 ${error.statusCode} ${STATUS_CODES[error.statusCode]}\r\n`;
  if (socket.writable) socket.end(`${status}${head.join('')}\r\n${body}`, () => socket.destroy());
  else socket.destroy();
}

/** Turns whatever was thrown into what the caller is told. Only what nobody foresaw is logged, and is a 500. */
export function answerError(log: Log, thrown: unknown, request: FastifyRequest, reply: FastifyReply): void {
  let error = toRequestError(thrown, request);
  if (!error) {
    log('error', 'A request failed', { method: request.method, url: redactUrl(request.url), error: thrown });
    error = new RequestError('internal-error', 'Something failed on the server. Its log says what.');
  }
  if (!isUpgrade(request.raw)) stayForTheRest(request.raw, reply);
  sendProblem(reply, error);
}

/** A task that is drained will hardly take starts again in less. */
const drainedRetryMs = 60_000;

/** A body that was refused is read to its end up to this size. */
const lingerLimitBytes = 64 * 1024 * 1024;

/**
 * Fastify hangs up after any trouble with a body. A client that is still sending would mostly see its connection break, and
 * not the answer that says why; so the rest is read and dropped, within `requestTimeout`.
 */
function stayForTheRest({ complete, headers }: IncomingMessage, reply: FastifyReply): void {
  const isTooMuch = !complete && Number(headers['content-length'] ?? 0) > lingerLimitBytes;
  if (isTooMuch) reply.header('connection', 'close');
  else reply.removeHeader('connection');
}

function toRequestError(thrown: unknown, request: FastifyRequest): RequestError | undefined {
  if (thrown instanceof RequestError) return thrown;
  if (thrown instanceof EngineUnavailableError) {
    return new RequestError('engine-unavailable', thrown.message, {
      headers: retryAfter(thrown.retryAfterMs),
    });
  }
  if (thrown instanceof DrainedError) {
    return new RequestError('draining', thrown.message, { headers: retryAfter(drainedRetryMs) });
  }
  if (thrown instanceof KeyConflictError) {
    return new RequestError(
      'idempotency-conflict',
      'The Idempotency-Key was used before for this task, with other options or another body, or for another kind of start. Send what was sent then, or a new key.',
    );
  }
  const { code = '', statusCode } = (thrown ?? {}) as { code?: string; statusCode?: number };
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') return tooLarge(request.routeOptions.bodyLimit);
  const known = frameworkErrors[code];
  if (known) return new RequestError(...known);
  // What is left is a plugin's refusal, such as a path that static files do not serve.
  if (statusCode === undefined || statusCode < 400 || statusCode >= 500) return undefined;
  const codes = Object.keys(errorTable) as ErrorCode[];
  const sameStatus = codes.find((name) => errorTable[name][0] === statusCode);
  return new RequestError(sameStatus ?? 'bad-request', (thrown as Error).message);
}

function tooLarge(limitBytes: number): RequestError {
  return new RequestError(
    'body-too-large',
    `The body is larger than ${limitBytes} bytes, which is the limit.`,
  );
}

const badUrl = [
  'bad-request',
  'The address cannot be decoded: a % must begin the percent-encoding of UTF-8 text, such as %C3%A9.',
] as const;

/** Fastify's error codes, in words of ours. */
const frameworkErrors: Record<string, readonly [ErrorCode, string]> = {
  FST_ERR_BAD_URL: badUrl,
  FST_ERR_MAX_PARAM_LENGTH: ['bad-request', 'A part of the address is too long.'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: [
    'unsupported-media-type',
    'The Content-Type header is not a media type. Send application/json.',
  ],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ['bad-request', 'The body is not as long as its Content-Length says.'],
};

export function retryAfter(delayMs: number): { 'retry-after': string } {
  return { 'retry-after': String(Math.max(1, Math.ceil(delayMs / 1000))) };
}

/** What Node's HTTP parser refused before there was a request. */
export function answerClientError(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable) socket.destroy();
  else
    endWithProblem(
      socket,
      clientErrors[error.code ?? ''] ?? new RequestError('bad-request', 'This is not valid HTTP/1.1.'),
    );
}

const clientErrors: Record<string, RequestError> = {
  ERR_HTTP_REQUEST_TIMEOUT: new RequestError(
    'request-timeout',
    'The request did not arrive in time. Send it faster.',
  ),
  HPE_HEADER_OVERFLOW: new RequestError(
    'headers-too-large',
    'The request line and headers are larger than 16 KiB.',
  ),
  HPE_CHUNK_EXTENSIONS_OVERFLOW: new RequestError(
    'body-too-large',
    'The chunk extensions of the body are too large.',
  ),
};

/** A WebSocket handshake that `ws` refused: it says so in a sentence only. */
export function answerHandshakeError(error: Error, socket: Duplex): void {
  const headers: Record<string, string> = error.message.includes('Version')
    ? { 'sec-websocket-version': '13' }
    : {};
  endWithProblem(
    socket,
    new RequestError('bad-request', `The WebSocket handshake failed: ${error.message}.`, { headers }),
  );
}
