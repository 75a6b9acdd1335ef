/**
 * The OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.1): what a registry serves, written down for people and for
 * generators of clients.
 */
import { nameInputs } from './openapi/inputs.ts';
import { uniqueNames } from './openapi/names.ts';
import type { Paths } from './openapi/operation.ts';
import { sharedParameters } from './openapi/parameters.ts';
import { statePaths } from './openapi/paths.ts';
import { json, problems, sharedHeaders, sharedResponses } from './openapi/responses.ts';
import { schemaRef, sharedSchemas } from './openapi/schemas.ts';
import type { Registry } from './registry.ts';

export interface OpenApiOptions {
  /** Whether the routes without a client token are served. */
  direct: boolean;
  /** Of the server: `info.version`. */
  version: string;
}

/** Plain JSON, the same for the same registry; made anew at each call. */
export function openApiDocument(registry: Registry, { direct, version }: OpenApiOptions) {
  const unique = uniqueNames();
  const inputs = nameInputs(registry);
  const server = serverPaths(unique);
  const paths: Paths = {};
  for (const state of registry.states()) Object.assign(paths, statePaths(state, { direct, inputs, unique }));
  return {
    openapi: '3.1.1',
    info: {
      title: 'Spyglass Tasks',
      version,
      summary: 'Starts tasks, and tells how they are doing.',
      description: introduction(direct),
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/', description: 'This server.' }],
    // A client token is part of the address, which is none of the places where OpenAPI knows credentials.
    security: [],
    tags: [
      ...registry
        .states()
        .map(({ name, description }) => ({ name, description: description ?? `The tasks of ${name}.` })),
      { name: catalogueTag, description: 'What can be started.' },
      { name: healthTag, description: 'For load balancers and supervisors.' },
    ],
    paths: { ...paths, ...server },
    components: {
      schemas: { ...sharedSchemas, ...inputs.schemas },
      parameters: sharedParameters,
      headers: sharedHeaders,
      responses: sharedResponses,
    },
  };
}

export type OpenApiDocument = ReturnType<typeof openApiDocument>;

/** No state can be called so: a name that stands in addresses has no space. */
const catalogueTag = 'Task catalogue';
const healthTag = 'Server health';

function serverPaths(unique: (id: string) => string): Paths {
  const status = (word: string) => ({
    type: 'object',
    properties: { status: { type: 'string', const: word } },
    required: ['status'],
  });
  return {
    '/api/tasks': {
      get: {
        operationId: unique('list_tasks'),
        tags: [catalogueTag],
        summary: 'List all tasks',
        description: 'Every state with its tasks, each with its input as JSON Schema and an example.',
        responses: { 200: json(schemaRef('Catalogue'), 'What can be started.'), ...problems(400, 403) },
      },
    },
    '/healthz': {
      get: {
        operationId: unique('check_health'),
        tags: [healthTag],
        summary: 'Ask whether the server lives',
        description: 'Answers as long as the process can answer at all.',
        responses: { 200: json(status('ok'), 'It lives.'), ...problems(400, 403) },
      },
    },
    '/readyz': {
      get: {
        operationId: unique('check_ready'),
        tags: [healthTag],
        summary: 'Ask whether the server takes starts',
        description: 'Whether it should be sent work. When it should not, the problem says why.',
        responses: { 200: json(status('ready'), 'It takes starts.'), ...problems(400, 403, 503) },
      },
    },
  };
}

function introduction(direct: boolean): string {
  return `Start a task, and follow its run until it has ended.

1. **Start** a task: \`POST …/start/<task>\` with its input as JSON. The answer is a snapshot; its \`task_id\` names the run.
2. **Watch** the run over a WebSocket, or **read** its result, until \`status\` is \`Completed\`, \`Error\` or \`Cancelled\`.

${
  direct
    ? `There are two ways of access. **Direct**, below \`/api/<state>/task/\`: no token, and whoever knows the id of a run sees it.
**With a client token**, below \`/api/<state>/tasks/{client_token}/\`: runs belong to the token, and are seen with it only.`
    : 'Runs belong to a **client token**, which is part of each address, and are seen with that token only.'
}
Whoever runs the server makes a token with \`spyglass-tasks token create\`.

What goes wrong is answered with a problem document (RFC 9457), whose \`detail\` says what to do about it.`;
}
