/**
 * What can be done with a state's tasks and runs, in words for a reader; `paths.ts` says where.
 */
import type { TaskDefinition } from '../task.ts';
import type { Access } from './access.ts';
import { type OwnParameter, type ParameterName, timeoutOf } from './parameters.ts';
import { eventStream, json, type ProblemStatus, type Responses, responseRef } from './responses.ts';
import { manyInputs } from './schemas.ts';
import { schemaRef } from './shapes.ts';

/** An operation without what its address adds to it. */
export interface OperationText {
  summary: string;
  /** Markdown. */
  description: string;
  parameters?: readonly (ParameterName | OwnParameter)[];
  requestBody?: RequestBody;
  /** What it answers when all is well. */
  answers: Responses;
  /** What can be wrong, besides the request as such, the caller, and a state, task or run that is not there. */
  problems?: readonly ProblemStatus[];
}

interface RequestBody {
  required: boolean;
  description: string;
  content: Record<string, object>;
}

/** `inputName` is that of the input's schema; undefined for a task that takes none. */
export function startTask(
  task: TaskDefinition,
  access: Access,
  inputName: string | undefined,
  addresses: { result: string; stream: string; events: string },
): OperationText {
  const text: OperationText = {
    summary: access.withToken ? `Start ${task.name} with a client token` : `Start ${task.name}`,
    description: paragraphs(
      task.description,
      task.input === null ? 'It takes no input: send no body.' : null,
      'The answer comes when the run is stored: from then on it survives a crash. ' +
        `Follow it at \`WS ${addresses.stream}\` or \`GET ${addresses.events}\`, or read \`GET ${addresses.result}\`. ` +
        'Or have it all in this answer: `Prefer: wait=30` waits for the end, and `Accept: text/event-stream` gets the events.',
    ),
    parameters: [...startOptions(timeoutOf(task.policy.timeoutMs)), 'Prefer'],
    answers: { 200: responseRef('Started') },
    problems: [413, 415, 422, 429, 503],
  };
  return inputName === undefined ? text : { ...text, requestBody: requestBody(task, inputName) };
}

/** What every start takes, one or many, or a run again. */
function startOptions(timeout: ParameterName | OwnParameter): (ParameterName | OwnParameter)[] {
  return ['DelayMs', 'RunAt', 'Priority', timeout, 'IdempotencyKey'];
}

export function startMany(
  task: TaskDefinition,
  access: Access,
  inputName: string | undefined,
): OperationText {
  const how = access.withToken ? ' with a client token' : '';
  const example = canBeShown(task) ? { example: { inputs: [task.input?.example ?? null] } } : {};
  return {
    summary: `Start ${task.name} many times${how}`,
    description: paragraphs(
      task.description,
      'Starts one run for each of up to 10,000 inputs: all of them, or none when one does not fit. The options hold for each.',
      task.input === null ? 'The task takes no input: each of the inputs is null.' : null,
    ),
    parameters: startOptions(timeoutOf(task.policy.timeoutMs)),
    requestBody: {
      required: true,
      description: 'The inputs, up to 32 MiB in all and 1 MiB each.',
      content: {
        'application/json': { schema: manyInputs(inputName, task.input?.optional ?? true), ...example },
      },
    },
    answers: {
      200: json('All are stored.', schemaRef('TaskIds'), ['Spyglass-Deduplicated']),
    },
    problems: [413, 415, 422, 429, 503],
  };
}

/** A schema with references of its own has examples that tools would take for them. */
function canBeShown({ input }: TaskDefinition): boolean {
  return (
    input === null || (input.example !== undefined && !JSON.stringify(input.example).includes('"$ref":'))
  );
}

export function retryRun({ aRun }: Access): OperationText {
  return {
    summary: `Run ${aRun} again`,
    description:
      'Starts a new run with the input of one that has ended, and answers as a start does; `retry_of` names the old one. The ' +
      'task must still be there, and take that input. It takes no body.',
    // A run of any task of the state: which limit holds is not known here.
    parameters: ['TaskId', ...startOptions('TimeoutMs'), 'Prefer'],
    answers: { 200: responseRef('Started') },
    problems: [409, 413, 415, 422, 429, 503],
  };
}

function requestBody(task: TaskDefinition, inputName: string): RequestBody {
  const { optional = false, example } = task.input ?? {};
  const description = 'The input of the task.';
  const schema = schemaRef(inputName);
  return {
    required: !optional,
    description: optional ? `${description} Without a body, the task runs with its default.` : description,
    content: { 'application/json': canBeShown(task) ? { schema, example } : { schema } },
  };
}

export function readResult({ aRun }: Access): OperationText {
  return {
    summary: `Read the result of ${aRun}`,
    description:
      'Where the run stands. When `status` is `Completed`, `result` is what the task returned; when it is `Error`, `error` ' +
      'says why.',
    parameters: ['TaskId', 'Wait', 'Prefer'],
    answers: { 200: responseRef('Run') },
  };
}

export function readRun({ aRun }: Access): OperationText {
  return {
    summary: `Read ${aRun}`,
    description: 'Where the run stands: the same as its result, at a shorter address.',
    parameters: ['TaskId', 'Wait', 'Prefer'],
    answers: { 200: responseRef('Run') },
  };
}

export function listRuns(): OperationText {
  return {
    summary: 'List your runs',
    description: 'The runs of this state that were started with the client token, the newest first.',
    parameters: ['Limit', 'Before'],
    answers: { 200: json('One page of them.', schemaRef('RunList'), ['Link']) },
  };
}

export function cancelRun({ aRun }: Access): OperationText {
  return {
    summary: `Cancel ${aRun}`,
    description:
      'A run that waits ends at once. One that is at work is asked to stop, and ends when its task heeds that: watch it to ' +
      'know. It takes no body.',
    parameters: ['TaskId'],
    answers: { 200: responseRef('Run') },
    problems: [409, 413, 415, 503],
  };
}

export function watchRun({ aRun }: Access, address: string): OperationText {
  return {
    summary: `Watch ${aRun} (WebSocket)`,
    description: paragraphs(
      'Sends what has happened to the run, from the first event or from behind `since`, and then what happens. After the ' +
        'terminal message, of which there is exactly one, it closes with 1000.',
      messageKinds,
      connectWith(address),
    ),
    parameters: ['TaskId', 'Since'],
    answers: stream('They come in ascending `seq`; the last is an `update` with a terminal status.'),
    problems: [426, 429],
  };
}

export function watchRuns(address: string): OperationText {
  return {
    summary: 'Watch all your runs (WebSocket)',
    description: paragraphs(
      'Sends a `snapshot` of each of your runs in this state that is active, and of those that ended in the last minute (at ' +
        'most 100); then what happens to any of them.',
      messageKinds,
      connectWith(address),
    ),
    answers: stream('Those about one run come in ascending `seq`.'),
    problems: [426, 429],
  };
}

export function followRun({ aRun }: Access): OperationText {
  return {
    summary: `Follow ${aRun} (server-sent events)`,
    description: paragraphs(
      'Sends what has happened to the run, from the first event or from behind the last that you have, and then what happens. ' +
        'After the terminal message, of which there is exactly one, the answer ends. The `id` of an event is its `seq`.',
      messageKinds,
    ),
    parameters: ['TaskId', 'Since', 'LastEventId'],
    answers: {
      200: eventStream('They come in ascending `seq`; the last is an `update` with a terminal status.'),
      204: { description: 'The run has ended, and you have all of it: an `EventSource` stops here.' },
    },
    problems: [429],
  };
}

export function followRuns(): OperationText {
  return {
    summary: 'Follow all your runs (server-sent events)',
    description: paragraphs(
      'Sends a `snapshot` of each of your runs in this state that is active, and of those that ended in the last minute (at ' +
        'most 100); then what happens to any of them. Events have no `id` here, since a `seq` counts within one run.',
      messageKinds,
    ),
    answers: { 200: eventStream('Those about one run come in ascending `seq`.') },
    problems: [429],
  };
}

export function readLogs({ aRun }: Access): OperationText {
  return {
    summary: `Read the log of ${aRun}`,
    description:
      'What the task has logged, the oldest first. While the run is active there is always a next page, if an empty one as yet.',
    parameters: ['TaskId', 'Since', 'LineLimit'],
    answers: {
      200: json('One page of lines.', schemaRef('LogPage'), ['Link'], {
        'text/plain': { type: 'string', description: 'A line of text for each.' },
      }),
    },
  };
}

export function listSchedules(): OperationText {
  return {
    summary: 'List the schedules of the tasks',
    description:
      'When the tasks of this state are run by themselves, when they last were and when they will be.',
    answers: { 200: json('All of them.', schemaRef('ScheduleList')) },
  };
}

function stream(order: string): Responses {
  const description = `The stream is open. Each of its text frames is one such JSON object. ${order}`;
  return { 101: json(description, schemaRef('RunMessage')) };
}

const messageKinds = `Each message is a JSON object with a \`type\`:

- \`update\`: the run has changed
- \`log\`: the task has logged a line
- \`snapshot\`: where a run stands, as you join the stream of all, and behind a gap
- \`gap\`: so many messages before \`seq\` will not come
- \`position\`: where a run stands that waits`;

function connectWith(address: string): string {
  return `Connect with a WebSocket client, such as \`wscat -c ws://<host>${address}\`. A plain GET is answered with 426.`;
}

function paragraphs(...texts: (string | null)[]): string {
  return texts.filter((text) => text !== null).join('\n\n');
}
