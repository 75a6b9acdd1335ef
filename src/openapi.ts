/**
 * The OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.1): what a registry serves, written down for people and for
 * generators of clients.
 */
import { nameInputs } from './openapi/inputs.ts';
import { sharedParameters } from './openapi/parameters.ts';
import { allPaths, catalogueTag, healthTag } from './openapi/paths.ts';
import { sharedHeaders, sharedResponses } from './openapi/responses.ts';
import { sharedSchemas } from './openapi/schemas.ts';
import type { Registry } from './registry.ts';

export interface OpenApiOptions {
  /** Whether the routes without a client token are served. */
  direct: boolean;
  /** Of the server: becomes `info.version`. */
  version: string;
}

export type OpenApiDocument = ReturnType<typeof openApiDocument>;

/** Plain JSON, and always the same for the same registry. */
export function openApiDocument(registry: Registry, { direct, version }: OpenApiOptions) {
  const states = registry.states();
  const inputs = nameInputs(states);
  return {
    openapi: '3.1.1',
    info: {
      title: 'Spyglass Tasks',
      version,
      description: introduction(direct),
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
    // A client token is part of the address, which is none of the places where OpenAPI knows credentials.
    security: [],
    tags: [
      ...states.map(({ name, description }) => ({
        name,
        description: description ?? `The tasks of ${name}.`,
      })),
      { name: catalogueTag, description: 'What can be started.' },
      { name: healthTag, description: 'For load balancers and supervisors.' },
    ],
    paths: allPaths(states, inputs, direct),
    components: {
      schemas: { ...sharedSchemas, ...inputs.schemas },
      parameters: sharedParameters,
      headers: sharedHeaders,
      responses: sharedResponses,
    },
  };
}

const twoWays = `There are two ways of access. **Direct**, below \`/api/<state>/task/\`, takes no token: whoever knows the id
of a run sees it. **With a client token**, below \`/api/<state>/tasks/{client_token}/\`, runs belong to the token.`;

const oneWay = 'Runs belong to a **client token**, which is part of each address.';

function introduction(direct: boolean): string {
  return `Start a task, and follow its run until it has ended.

1. **Start** it: \`POST …/start/<task>\`, with its input as JSON. The answer is a snapshot of the run; \`task_id\` names it.
2. **Watch** the run over a WebSocket or as server-sent events, or **read** its result, until \`status\` is \`Completed\`, \`Error\` or \`Cancelled\`.

${direct ? twoWays : oneWay} What was started with a token is seen with that token only. Whoever runs the server makes one with
\`spyglass-tasks token create\`.

What goes wrong is answered with a problem document (RFC 9457), whose \`detail\` says what to do about it.`;
}
