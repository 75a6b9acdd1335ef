/**
 * The answers that every route shares, named once: where a run stands, and what can be wrong.
 */
import { type ErrorCode, errorTable, type FieldError, RequestError, toProblem } from '../errors.ts';
import type { JsonSchema } from '../jsonSchema.ts';
import { schemaRef } from './schemas.ts';

/** A response object of the document, or a reference to one. */
export type Response = Record<string, unknown>;
/** What an operation may answer: by status, and `default` for all others. */
export type Responses = Record<string, Response>;

export function responseRef(name: string): Response {
  return { $ref: `#/components/responses/${name}` };
}

/** A JSON body of the given shape. */
export function json(schema: JsonSchema, description: string, headers: readonly string[] = []): Response {
  return { description, ...withHeaders(headers), content: { 'application/json': { schema } } };
}

/** `components/headers`. */
export const sharedHeaders: Record<string, { description: string; schema: JsonSchema }> = {
  Location: {
    description: 'Where the result of the run is read.',
    schema: { type: 'string', format: 'uri-reference' },
  },
  'Retry-After': {
    description: 'After how many seconds it is worth trying again.',
    schema: { type: 'integer', minimum: 1 },
  },
  Allow: {
    description: 'With 405: the methods that the address takes.',
    schema: { type: 'string', examples: ['GET, HEAD, OPTIONS'] },
  },
  Upgrade: {
    description: 'What to upgrade to.',
    schema: { type: 'string', const: 'websocket' },
  },
};

function withHeaders(names: readonly string[]): Response {
  if (names.length === 0) return {};
  const references = names.map((name) => [name, { $ref: `#/components/headers/${name}` }]);
  return { headers: Object.fromEntries(references) };
}

interface ProblemResponse {
  name: string;
  /** What the codes of this status have in common. */
  meaning: string;
  headers?: readonly string[];
  example: { code: ErrorCode; detail: string; errors?: FieldError[] };
}

const problemResponses = {
  400: {
    name: 'BadRequest',
    meaning: 'What was sent cannot be used. Nothing was stored.',
    example: {
      code: 'invalid-input',
      detail: 'age: Invalid input: expected number, received string',
      errors: [{ path: 'age', message: 'Invalid input: expected number, received string' }],
    },
  },
  401: {
    name: 'Unauthorized',
    meaning: 'The client token in the address is unknown, was revoked or has expired.',
    example: { code: 'unknown-token', detail: 'The client token in this address is not valid.' },
  },
  403: {
    name: 'Forbidden',
    meaning: 'The request comes from where it may not, or the client token is for other states.',
    example: {
      code: 'token-scope',
      detail: 'This client token may not be used for the state "example_task2".',
    },
  },
  404: {
    name: 'NotFound',
    meaning:
      'There is no such run for this caller, or no such state or task: then the detail lists those that there are.',
    example: {
      code: 'unknown-run',
      detail: 'There is no run "8fKq2LwX0vYbT5sRzN3mJd" in the state example_task2 that you may see.',
    },
  },
  409: {
    name: 'Conflict',
    meaning: 'The run had ended before.',
    example: {
      code: 'already-ended',
      detail: 'The run 8fKq2LwX0vYbT5sRzN3mJd ended with status Completed at 2026-11-23T12:15:32.456Z.',
    },
  },
  413: {
    name: 'ContentTooLarge',
    meaning: 'The body is larger than 1 MiB.',
    example: {
      code: 'body-too-large',
      detail: 'The body is larger than 1048576 bytes, which is the limit.',
    },
  },
  415: {
    name: 'UnsupportedMediaType',
    meaning: 'The body is not `application/json` in UTF-8.',
    example: {
      code: 'unsupported-media-type',
      detail:
        'The body is "text/plain". Send JSON, encoded as UTF-8, with the header "Content-Type: application/json".',
    },
  },
  426: {
    name: 'UpgradeRequired',
    meaning: 'This address is a WebSocket, and the request did not ask for one.',
    headers: ['Upgrade'],
    example: {
      code: 'upgrade-required',
      detail: 'This address is a WebSocket: connect with a WebSocket client.',
    },
  },
  429: {
    name: 'TooManyRequests',
    meaning: 'More starts and watches a second than the server allows.',
    headers: ['Retry-After'],
    example: {
      code: 'rate-limited',
      detail: 'More than 100 starts and watches a second from this address. Try again a little later.',
    },
  },
  503: {
    name: 'ServiceUnavailable',
    meaning: 'The server is stopping, or cannot store anything just now. Nothing was stored.',
    headers: ['Retry-After'],
    example: {
      code: 'stopping',
      detail: 'The server is stopping and takes no more starts. Try again when it is back.',
    },
  },
} as const satisfies Record<number, ProblemResponse>;

/** A status of which the document says what it means. */
export type ProblemStatus = keyof typeof problemResponses;

/** The problems that an operation may answer with; whatever else can happen to any request is `default`. */
export function problems(...statuses: ProblemStatus[]): Responses {
  const named = statuses.map((status) => [status, responseRef(problemResponses[status].name)] as const);
  return { ...Object.fromEntries(named), default: responseRef('OtherProblem') };
}

const codes = Object.keys(errorTable) as ErrorCode[];

/** The codes that `type` may end in, straight from the table of errors. */
function codeList(fits: (status: number) => boolean): string {
  return codes
    .filter((code) => fits(errorTable[code][0]))
    .map((code) => `- \`${code}\`: ${errorTable[code][1]}`)
    .join('\n');
}

function problemResponse(status: number, { meaning, headers = [], example }: ProblemResponse): Response {
  const problem = toProblem(
    new RequestError(example.code, example.detail, example.errors && { errors: example.errors }),
  );
  return {
    description: `${meaning} Its \`type\` ends in:\n\n${codeList((each) => each === status)}`,
    ...withHeaders(headers),
    content: { 'application/problem+json': { schema: schemaRef('Problem'), example: problem } },
  };
}

/** `components/responses`. */
export const sharedResponses: Responses = {
  Started: json(schemaRef('Snapshot'), 'The run is on disk: where it stands.', ['Location']),
  Run: json(schemaRef('Snapshot'), 'Where the run stands.'),
  ...Object.fromEntries(
    Object.entries(problemResponses).map(([status, response]) => [
      response.name,
      problemResponse(Number(status), response),
    ]),
  ),
  OtherProblem: {
    description: `What can happen to any request. Its \`type\` ends in:\n\n${codeList((status) => !(status in problemResponses))}`,
    ...withHeaders(['Allow']),
    content: { 'application/problem+json': { schema: schemaRef('Problem') } },
  },
};
