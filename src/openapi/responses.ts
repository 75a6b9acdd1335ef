/**
 * The answers that routes share, named once: where a run stands, and what can be wrong.
 */
import { errorTable, RequestError, toProblem } from '../errors.ts';
import type { JsonSchema } from '../jsonSchema.ts';
import { schemaRef } from './shapes.ts';

/** A response object of the document, or a reference to one. */
type Response = Record<string, unknown>;

/** What an operation may answer: by status, and `default` for all others. */
export type Responses = Record<string, Response>;

/** An answer with a JSON body; `others`: what it may be instead, by media type, when the caller asks for that. */
export function json(
  description: string,
  schema: JsonSchema,
  headers: readonly HeaderName[] = [],
  others: Record<string, JsonSchema> = {},
): Response {
  const content = Object.entries({ 'application/json': schema, ...others }).map(([type, each]) => [
    type,
    { schema: each },
  ]);
  return { description, ...headerRefs(headers), content: Object.fromEntries(content) };
}

/** An answer with server-sent events. */
export function eventStream(description: string): Response {
  return { description, content: { 'text/event-stream': { schema: events } } };
}

const events: JsonSchema = {
  type: 'string',
  description: 'Server-sent events. The `data` of each is one `RunMessage`, as JSON.',
};

export function responseRef(
  name: 'Started' | 'Run' | (typeof problemResponses)[ProblemStatus]['name'],
): Response {
  return { $ref: `#/components/responses/${name}` };
}

/** The problems that an operation may answer with, besides those that any request may meet. */
export function problems(...statuses: ProblemStatus[]): Responses {
  const named = [...statuses, 'default' as const].map((status) => [
    status,
    responseRef(problemResponses[status].name),
  ]);
  return Object.fromEntries(named);
}

/** `components/headers`. */
export const sharedHeaders = {
  Location: {
    description: 'Where the result of the run is read.',
    schema: { type: 'string', format: 'uri-reference' },
  },
  Link: {
    description: 'With `rel="next"`: the next page, relative to this one.',
    schema: { type: 'string' },
  },
  'Preference-Applied': {
    description: 'That the header `Prefer` was heeded, and for how many seconds.',
    schema: { type: 'string' },
  },
  'Spyglass-Deduplicated': {
    description: '`true` when no run was made, as the key had made one before: this is where that stands.',
    schema: { type: 'string', const: 'true' },
  },
  'Retry-After': {
    description: 'After how many seconds it is worth trying again.',
    schema: { type: 'integer', minimum: 1 },
  },
  Allow: {
    description: 'With 405: the methods that the address takes.',
    schema: { type: 'string' },
  },
  Upgrade: {
    description: 'What to upgrade to.',
    schema: { type: 'string', const: 'websocket' },
  },
  'WWW-Authenticate': {
    description: 'That it is the client token which is not valid.',
    schema: { type: 'string' },
  },
} as const satisfies Record<string, { description: string; schema: JsonSchema }>;

type HeaderName = keyof typeof sharedHeaders;

function headerRefs(names: readonly HeaderName[]): Response {
  if (names.length === 0) return {};
  const references = names.map((name) => [name, { $ref: `#/components/headers/${name}` }]);
  return { headers: Object.fromEntries(references) };
}

interface ProblemResponse {
  name: string;
  /** What all of this status have in common. */
  meaning: string;
  headers?: readonly HeaderName[];
  example: RequestError;
}

const problemResponses = {
  400: {
    name: 'BadRequest',
    meaning: 'What was sent cannot be used.',
    example: new RequestError('invalid-input', 'age: Invalid input: expected number, received string', {
      errors: [{ path: 'age', message: 'Invalid input: expected number, received string' }],
    }),
  },
  401: {
    name: 'Unauthorized',
    meaning: 'The client token in the address is unknown, was revoked or has expired.',
    headers: ['WWW-Authenticate'],
    example: new RequestError(
      'unknown-token',
      'The client token in this address is not valid: it is unknown, was revoked or has expired.',
    ),
  },
  403: {
    name: 'Forbidden',
    meaning: 'The request comes from where it may not, or its client token is for other states.',
    example: new RequestError(
      'foreign-origin',
      'This request comes from the Origin "https://example.com", which may not use this server.',
    ),
  },
  404: {
    name: 'NotFound',
    meaning:
      'There is no such run that the caller may see; or no such state or task, and the detail lists those there are.',
    example: new RequestError(
      'unknown-run',
      'There is no run "8fKq2LwX0vYbT5sRzN3mJd" in the state example_task2 that you may see.',
    ),
  },
  409: {
    name: 'Conflict',
    meaning: 'The run had ended before, or has not ended yet.',
    example: new RequestError(
      'already-ended',
      'The run 8fKq2LwX0vYbT5sRzN3mJd ended with status Completed at 2026-11-23T12:15:32.456Z.',
    ),
  },
  413: {
    name: 'ContentTooLarge',
    meaning: 'The body is larger than 1 MiB, or than 32 MiB where many are started at once.',
    example: new RequestError('body-too-large', 'The body is larger than 1048576 bytes, which is the limit.'),
  },
  415: {
    name: 'UnsupportedMediaType',
    meaning: 'The body is not `application/json` in UTF-8.',
    example: new RequestError(
      'unsupported-media-type',
      'The body is "text/plain". Send JSON, encoded as UTF-8, with the header "Content-Type: application/json".',
    ),
  },
  422: {
    name: 'UnprocessableContent',
    meaning: 'The `Idempotency-Key` was used before, for something else.',
    example: new RequestError(
      'idempotency-conflict',
      'The Idempotency-Key was used before for this task, with other options or another body.',
    ),
  },
  426: {
    name: 'UpgradeRequired',
    meaning: 'The request does not ask for a WebSocket.',
    headers: ['Upgrade'],
    example: new RequestError(
      'upgrade-required',
      'This address is a WebSocket stream. Open it with a WebSocket client.',
    ),
  },
  429: {
    name: 'TooManyRequests',
    meaning: 'There were more starts and watches in this second than the server allows.',
    headers: ['Retry-After'],
    example: new RequestError(
      'rate-limited',
      'More than 100 starts and watches a second from this address. Try again a little later.',
    ),
  },
  503: {
    name: 'ServiceUnavailable',
    meaning: 'The server takes nothing on just now.',
    headers: ['Retry-After'],
    example: new RequestError('stopping', 'The server is stopping and takes no more starts.'),
  },
  default: {
    name: 'OtherProblem',
    meaning: 'What else any request may meet.',
    headers: ['Allow'],
    example: new RequestError(
      'method-not-allowed',
      'This address does not take DELETE. It takes: GET, HEAD, OPTIONS.',
    ),
  },
} as const satisfies Record<number | 'default', ProblemResponse>;

/** A status that means trouble; `default` is all that have no name here. */
export type ProblemStatus = keyof typeof problemResponses;

/** Says which codes there are, straight from the table of errors. */
function problemResponse(status: string, { meaning, headers = [], example }: ProblemResponse): Response {
  const codes = Object.entries(errorTable).filter(([, [each]]) =>
    status === 'default' ? !(each in problemResponses) : String(each) === status,
  );
  const list = codes.map(([code, [, title]]) => `- \`${code}\`: ${title}`).join('\n');
  return {
    description: `${meaning} Its \`type\` ends in:\n\n${list}`,
    ...headerRefs(headers),
    content: { 'application/problem+json': { schema: schemaRef('Problem'), example: toProblem(example) } },
  };
}

/** `components/responses`. */
export const sharedResponses: Responses = {
  Started: json(
    'The run is stored: where it stands. With `Accept: text/event-stream`, the events of the run until it has ended.',
    schemaRef('Snapshot'),
    ['Location', 'Preference-Applied', 'Spyglass-Deduplicated'],
    { 'text/event-stream': events },
  ),
  Run: json('Where the run stands.', schemaRef('Snapshot')),
  ...Object.fromEntries(
    Object.entries(problemResponses).map(([status, response]) => [
      response.name,
      problemResponse(status, response),
    ]),
  ),
};
