/**
 * Where the operations are: those of each state, one for each task and way of access among them, and those of the server.
 */
import type { StateDefinition } from '../task.ts';
import { type Access, directAccess, tokenAccess } from './access.ts';
import type { NamedInputs } from './inputs.ts';
import { identifier, uniqueNames } from './names.ts';
import {
  cancelRun,
  followRun,
  followRuns,
  listRuns,
  listSchedules,
  type OperationText,
  readLogs,
  readResult,
  readRun,
  retryRun,
  startMany,
  startTask,
  watchRun,
  watchRuns,
} from './operations.ts';
import { type OwnParameter, type ParameterRef, parameterRefs } from './parameters.ts';
import { json, problems, type Responses } from './responses.ts';
import { schemaRef } from './shapes.ts';

export interface Operation extends Pick<OperationText, 'summary' | 'description' | 'requestBody'> {
  operationId: string;
  tags: string[];
  parameters: (ParameterRef | OwnParameter)[];
  responses: Responses;
}

/** Operations by their address, each with the one method that it takes. */
export type Paths = Record<string, { get: Operation } | { post: Operation }>;

/** No state can be called so: a name that stands in addresses has no space. */
export const catalogueTag = 'Task catalogue';
export const healthTag = 'Server health';

export function allPaths(states: readonly StateDefinition[], inputs: NamedInputs, direct: boolean): Paths {
  // An id begins with a verb, because the name of a state may begin with a digit, as no identifier may.
  const unique = uniqueNames();
  const paths: Paths = {};
  for (const state of states) {
    for (const access of direct ? [directAccess, tokenAccess] : [tokenAccess]) {
      Object.assign(paths, statePaths(state, access, inputs, unique));
    }
  }
  return { ...paths, ...serverPaths() };
}

function statePaths(
  state: StateDefinition,
  access: Access,
  inputs: NamedInputs,
  unique: (id: string) => string,
): Paths {
  const api = `/api/${state.name}${access.base}`;
  const ws = `/ws/${state.name}${access.base}`;
  const result = `${api}/result/{task_id}`;
  const events = `${api}/events/{task_id}`;
  const stream = `${ws}${access.watch}/{task_id}`;

  const named = (
    id: string,
    { answers, problems: others = [], parameters = [], ...text }: OperationText,
  ) => ({
    operationId: unique(identifier(`${access.idPrefix}${id}`)),
    tags: [state.name],
    ...text,
    parameters: parameterRefs(...access.parameters, ...parameters),
    responses: {
      ...answers,
      ...problems(400, ...(access.withToken ? [401 as const] : []), 403, 404, ...others),
    },
  });

  const paths: Paths = {};
  for (const task of state.tasks.values()) {
    const start = startTask(task, access, inputs.names.get(task), { result, stream, events });
    paths[`${api}/start/${task.name}`] = { post: named(`start_${state.name}_${task.name}`, start) };
  }
  if (access.withToken) {
    paths[api] = { get: named(`list_${state.name}`, listRuns()) };
    paths[`${api}/{task_id}`] = { get: named(`read_${state.name}`, readRun(access)) };
  }
  paths[result] = { get: named(`result_${state.name}`, readResult(access)) };
  paths[`${api}/cancel/{task_id}`] = { post: named(`cancel_${state.name}`, cancelRun(access)) };
  paths[`${api}/retry/{task_id}`] = { post: named(`retry_${state.name}`, retryRun(access)) };
  paths[`${api}/logs/{task_id}`] = { get: named(`logs_${state.name}`, readLogs(access)) };
  paths[events] = { get: named(`follow_${state.name}`, followRun(access)) };
  if (access.withToken) paths[`${api}/events`] = { get: named(`follow_all_${state.name}`, followRuns()) };
  else paths[`${api}/schedules`] = { get: named(`schedules_${state.name}`, listSchedules()) };
  paths[stream] = { get: named(`watch_${state.name}`, watchRun(access, stream)) };
  // Below what most readers look for.
  for (const task of state.tasks.values()) {
    const many = startMany(task, access, inputs.names.get(task));
    paths[`${api}/start/${task.name}/bulk`] = { post: named(`start_many_${state.name}_${task.name}`, many) };
  }
  if (access.withToken) paths[ws] = { get: named(`watch_all_${state.name}`, watchRuns(ws)) };
  return paths;
}

function serverPaths(): Paths {
  return {
    '/api/tasks': {
      get: {
        operationId: 'list_tasks',
        tags: [catalogueTag],
        summary: 'List all tasks',
        description:
          'Every state with its tasks, and for each task its input as JSON Schema, with an example.',
        parameters: [],
        responses: { 200: json('What can be started.', schemaRef('Catalogue')), ...problems(400, 403) },
      },
    },
    '/healthz': {
      get: {
        operationId: 'check_health',
        tags: [healthTag],
        summary: 'Ask whether the server lives',
        description: 'Is answered as long as the process can answer at all.',
        parameters: [],
        responses: { 200: json('It lives.', status('ok')), ...problems(400, 403) },
      },
    },
    '/readyz': {
      get: {
        operationId: 'check_readiness',
        tags: [healthTag],
        summary: 'Ask whether the server takes starts',
        description: 'Whether it should be sent work just now. When it should not, the problem says why.',
        parameters: [],
        responses: { 200: json('It takes starts.', status('ready')), ...problems(400, 403, 503) },
      },
    },
  };
}

function status(word: string) {
  return {
    type: 'object',
    properties: { status: { type: 'string', const: word } },
    required: ['status'],
  };
}
