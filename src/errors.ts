/**
 * Every error that a person can meet: its code, its HTTP status and its title. A test holds `docs/api.md` to this table.
 */

/** code -> [HTTP status, title]. The code ends the problem document's `type`. */
export const errorTable = {
  'bad-request': [400, 'The request cannot be understood'],
  'invalid-json': [400, 'The body is not valid JSON'],
  'refused-json': [400, 'The body is JSON that the server does not take'],
  'invalid-input': [400, 'The input does not fit the task'],
  'invalid-query': [400, 'The query parameters are not valid'],
  'unknown-token': [401, 'The client token is not valid'],
  'foreign-host': [403, 'This Host is not served here'],
  'foreign-origin': [403, 'This Origin may not use the server'],
  'token-scope': [403, 'The client token is not for this state'],
  'not-found': [404, 'There is nothing at this address'],
  'unknown-state': [404, 'There is no such state'],
  'unknown-task': [404, 'There is no such task'],
  'unknown-run': [404, 'There is no such run'],
  'method-not-allowed': [405, 'This address does not take that method'],
  'request-timeout': [408, 'The request took too long to arrive'],
  'already-ended': [409, 'The run has already ended'],
  'not-ended': [409, 'The run has not ended yet'],
  'body-too-large': [413, 'The body is too large'],
  'unsupported-media-type': [415, 'The body must be JSON'],
  'idempotency-conflict': [422, 'The idempotency key was used for something else'],
  'upgrade-required': [426, 'This address is a WebSocket'],
  'rate-limited': [429, 'Too many requests'],
  'headers-too-large': [431, 'The request headers are too large'],
  'internal-error': [500, 'The server failed'],
  stopping: [503, 'The server is stopping'],
  draining: [503, 'The task takes no more starts'],
  'engine-unavailable': [503, 'The run cannot be stored right now'],
} as const satisfies Record<string, readonly [status: number, title: string]>;

export type ErrorCode = keyof typeof errorTable;

/** One thing that is wrong with an input: where, and a sentence. `path` is empty for the input as a whole. */
export interface FieldError {
  path: string;
  message: string;
}

/** What a caller sent, as an error may repeat it: quoted, and cut to what helps to recognise it. */
export function shown(value: string): string {
  return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
}

/** Any value, as an error may name it. */
export function shownValue(value: unknown): string {
  if (typeof value === 'string') return shown(value);
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'function') return 'a function';
  if (typeof value !== 'object' || value === null) return String(value);
  // `Array`, `Date`, `Promise`: what it is says more of a mistake than what is in it.
  const kind = Object.prototype.toString.call(value).slice(8, -1);
  return `${/^[AO]/.test(kind) ? 'an' : 'a'} ${kind === 'Object' || kind === 'Array' ? kind.toLowerCase() : kind}`;
}

/** Names for a sentence: all of a few, or the first of many. */
export function listed(names: readonly string[]): string {
  const few = names.slice(0, 20).join(', ');
  return names.length > 20 ? `${few} and ${names.length - 20} more` : few;
}

/** An error that a caller is answered with, as a problem document (RFC 9457). `message` becomes its `detail`. */
export class RequestError extends Error {
  override readonly name = 'RequestError';
  readonly code: ErrorCode;
  readonly statusCode: number;
  /** For bad input: one entry for each thing that is wrong. */
  readonly errors: FieldError[] | undefined;
  /** Response headers that belong to the error, such as `Retry-After`. */
  readonly headers: Record<string, string>;

  constructor(
    code: ErrorCode,
    detail: string,
    options: { errors?: FieldError[]; headers?: Record<string, string> } = {},
  ) {
    super(detail);
    this.code = code;
    this.statusCode = errorTable[code][0];
    this.errors = options.errors;
    this.headers = options.headers ?? {};
  }
}

/** A problem document (RFC 9457, https://www.rfc-editor.org/rfc/rfc9457). */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  errors?: FieldError[];
}

export const problemMediaType = 'application/problem+json; charset=utf-8';

export function problemType(code: ErrorCode): string {
  return `urn:spyglass-tasks:problem:${code}`;
}

export function toProblem(error: RequestError): Problem {
  const [status, title] = errorTable[error.code];
  const problem: Problem = { type: problemType(error.code), title, status, detail: error.message };
  if (error.errors) problem.errors = error.errors;
  return problem;
}

/** Exit codes of the command line. */
export const exitCode = { fine: 0, failed: 1, wrongUse: 2, dataInUse: 3 } as const;

/** Something is wrong with how the server was set up: the command line prints the sentence and exits with `exitCode`. */
export class StartError extends Error {
  override readonly name = 'StartError';
  readonly exitCode: number;

  constructor(message: string, code: number = exitCode.wrongUse) {
    super(message);
    this.exitCode = code;
  }
}
