/**
 * The operations of one state: those that start its tasks, one for each task, and those that follow a run; each for the two
 * ways of access.
 */
import type { StateDefinition, TaskDefinition } from '../task.ts';
import type { NamedInputs } from './inputs.ts';
import { identifier } from './names.ts';
import type { Operation, Paths } from './operation.ts';
import { type ParameterName, parameterRefs } from './parameters.ts';
import { json, problems, responseRef } from './responses.ts';
import { schemaRef } from './schemas.ts';

/** One of the two ways to a state's runs. */
interface Access {
  /** Stands behind the name of the state, below `/api` and `/ws`. */
  base: string;
  /** Stands between that and the id of a run to watch. */
  watch: string;
  /** Begins an operationId. */
  idPrefix: string;
  /** Ends the summary of a start. */
  means: string;
  /** What the runs are called. */
  run: string;
  parameters: readonly ParameterName[];
  /** What can be wrong with who is asking. */
  refusals: readonly [] | readonly [401];
}

/** For whoever knows a run's id. */
const directAccess: Access = {
  base: '/task',
  watch: '/ws',
  idPrefix: '',
  means: '',
  run: 'a run',
  parameters: [],
  refusals: [],
};

/** For runs that belong to a client token, and are seen with that token only. */
const clientAccess: Access = {
  base: '/tasks/{client_token}',
  watch: '',
  idPrefix: 'client_',
  means: ' with a client token',
  run: 'one of your runs',
  parameters: ['ClientToken'],
  refusals: [401],
};

export interface PathOptions {
  /** Whether the routes without a client token exist. */
  direct: boolean;
  inputs: NamedInputs;
  /** Makes an operationId the only one of its name. */
  unique: (id: string) => string;
}

export function statePaths(state: StateDefinition, options: PathOptions): Paths {
  const client = accessPaths(state, clientAccess, options);
  return options.direct ? { ...accessPaths(state, directAccess, options), ...client } : client;
}

function accessPaths(state: StateDefinition, access: Access, { inputs, unique }: PathOptions): Paths {
  const api = `/api/${state.name}${access.base}`;
  const ws = `/ws/${state.name}${access.base}`;
  const oneStream = `${ws}${access.watch}/{task_id}`;

  type Given = Omit<Operation, 'operationId' | 'tags' | 'parameters'> & { parameters?: ParameterName[] };
  const operation = (verb: string, { parameters = [], ...given }: Given, about = ''): Operation => ({
    operationId: unique(identifier(`${access.idPrefix}${verb}_${state.name}${about}`)),
    tags: [state.name],
    ...given,
    parameters: parameterRefs(...access.parameters, ...parameters),
  });

  const start = (task: TaskDefinition): Operation => ({
    ...operation(
      'start',
      {
        summary: `Start ${task.name}${access.means}`,
        description: paragraphs(
          task.description,
          task.input ? null : 'It takes no input: send no body.',
          'The answer comes when the run is stored: from then on it survives a crash. ' +
            `Follow it at \`WS ${oneStream}\`, or read \`GET ${api}/result/{task_id}\`.`,
        ),
        responses: {
          200: responseRef('Started'),
          ...problems(400, ...access.refusals, 403, 404, 413, 415, 429, 503),
        },
      },
      `_${task.name}`,
    ),
    ...requestBody(task, inputs),
  });

  const read = {
    parameters: ['TaskId'],
    responses: { 200: responseRef('Run'), ...problems(400, ...access.refusals, 403, 404) },
  } satisfies Partial<Given>;

  const paths: Paths = {};
  for (const task of state.tasks.values()) paths[`${api}/start/${task.name}`] = { post: start(task) };
  if (access === clientAccess) {
    paths[api] = {
      get: operation('list', {
        summary: 'List your runs',
        description: 'The runs of this state that were started with the client token, the newest first.',
        parameters: ['Limit', 'Before'],
        responses: {
          200: json(schemaRef('RunList'), 'One page of runs.'),
          ...problems(400, ...access.refusals, 403, 404),
        },
      }),
    };
    paths[`${api}/{task_id}`] = {
      get: operation('one', {
        ...read,
        summary: `Read ${access.run}`,
        description: 'Where the run stands. The same as its result, at a shorter address.',
      }),
    };
  }
  paths[`${api}/result/{task_id}`] = {
    get: operation('result', {
      ...read,
      summary: `Read the result of ${access.run}`,
      description:
        'Where the run stands. `result` is there when `status` is `Completed`, and `error` says why when it is `Error`.',
    }),
  };
  paths[`${api}/cancel/{task_id}`] = {
    post: operation('cancel', {
      parameters: ['TaskId'],
      summary: `Cancel ${access.run}`,
      description:
        'A run that waits ends at once. One that is at work is asked to stop, and ends `Cancelled` when it does: follow it ' +
        'to know. Takes no body.',
      responses: {
        200: responseRef('Run'),
        ...problems(400, ...access.refusals, 403, 404, 409, 413, 415, 503),
      },
    }),
  };

  const stream = (content: string): Pick<Given, 'responses'> => ({
    responses: {
      101: json(
        schemaRef('RunMessage'),
        `The WebSocket is open. Each text frame is one such JSON object. ${content}`,
      ),
      ...problems(400, ...access.refusals, 403, 404, 426, 429, 503),
    },
  });
  paths[oneStream] = {
    get: operation('watch', {
      ...stream('The last is the `update` with a terminal status.'),
      parameters: ['TaskId', 'Since'],
      summary: `Watch ${access.run} (WebSocket)`,
      description: paragraphs(
        'Sends the events of the run from the first, or from behind `since`, in ascending `seq`; then what happens, as it ' +
          'happens. After the terminal message, of which there is exactly one, it closes with 1000.',
        messageKinds,
        connectWith(oneStream),
      ),
    }),
  };
  if (access === clientAccess) {
    paths[ws] = {
      get: operation('watch_all', {
        ...stream('It goes on until one side closes it.'),
        summary: 'Watch all your runs (WebSocket)',
        description: paragraphs(
          'Sends a `snapshot` for each run of this state that was started with the client token and is active, and for the ' +
            'latest of those that ended in the last minute; then what happens to any of them, as it happens.',
          messageKinds,
          connectWith(ws),
        ),
      }),
    };
  }
  return paths;
}

function requestBody(task: TaskDefinition, inputs: NamedInputs): Pick<Operation, 'requestBody'> {
  const name = inputs.names.get(task);
  if (task.input === null || name === undefined) return {};
  const { optional, example } = task.input;
  const content = { schema: schemaRef(name), ...(example === undefined ? {} : { example }) };
  return {
    requestBody: {
      required: !optional,
      description: optional
        ? 'The input of the task. Without a body, the task runs with its default.'
        : 'The input of the task.',
      content: { 'application/json': content },
    },
  };
}

const messageKinds = `Each message is a JSON object:

- \`update\`: the run has changed
- \`log\`: the task has logged a line
- \`snapshot\`: where a run stands, as you join the stream of all and behind a gap
- \`gap\`: so many messages before \`seq\` will not come`;

function connectWith(address: string): string {
  return `A plain GET is answered with 426: connect with a WebSocket client, as in \`wscat -c ws://<host>${address}\`.`;
}

function paragraphs(...texts: (string | null)[]): string {
  return texts.filter((text) => text !== null).join('\n\n');
}
