/**
 * What can be done with a state's tasks and runs, in words for a reader; `paths.ts` says where.
 */
import type { TaskDefinition } from '../task.ts';
import type { Access } from './access.ts';
import type { ParameterName } from './parameters.ts';
import { json, type ProblemStatus, type Responses, responseRef } from './responses.ts';
import { schemaRef } from './schemas.ts';

/** An operation without what its address adds to it. */
export interface OperationText {
  summary: string;
  /** Markdown. */
  description: string;
  parameters?: readonly ParameterName[];
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
  addresses: { result: string; stream: string },
): OperationText {
  const text: OperationText = {
    summary: access.withToken ? `Start ${task.name} with a client token` : `Start ${task.name}`,
    description: paragraphs(
      task.description,
      task.input === null ? 'It takes no input: send no body.' : null,
      'The answer comes when the run is stored: from then on it survives a crash. ' +
        `Follow it at \`WS ${addresses.stream}\`, or read \`GET ${addresses.result}\`.`,
    ),
    answers: { 200: responseRef('Started') },
    problems: [413, 415, 429, 503],
  };
  return inputName === undefined ? text : { ...text, requestBody: requestBody(task, inputName) };
}

function requestBody(task: TaskDefinition, inputName: string): RequestBody {
  const { optional = false, example } = task.input ?? {};
  const description = 'The input of the task.';
  const schema = schemaRef(inputName);
  const canBeShown = example !== undefined && !JSON.stringify(example).includes('"$ref":');
  return {
    required: !optional,
    description: optional ? `${description} Without a body, the task runs with its default.` : description,
    content: { 'application/json': canBeShown ? { schema, example } : { schema } },
  };
}

export function readResult({ aRun }: Access): OperationText {
  return {
    summary: `Read the result of ${aRun}`,
    description:
      'Where the run stands. When `status` is `Completed`, `result` is what the task returned; when it is `Error`, `error` ' +
      'says why.',
    parameters: ['TaskId'],
    answers: { 200: responseRef('Run') },
  };
}

export function readRun({ aRun }: Access): OperationText {
  return {
    summary: `Read ${aRun}`,
    description: 'Where the run stands: the same as its result, at a shorter address.',
    parameters: ['TaskId'],
    answers: { 200: responseRef('Run') },
  };
}

export function listRuns(): OperationText {
  return {
    summary: 'List your runs',
    description: 'The runs of this state that were started with the client token, the newest first.',
    parameters: ['Limit', 'Before'],
    answers: { 200: json('One page of them.', schemaRef('RunList')) },
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

function stream(order: string): Responses {
  const description = `The stream is open. Each of its text frames is one such JSON object. ${order}`;
  return { 101: json(description, schemaRef('RunMessage')) };
}

const messageKinds = `Each message is a JSON object with a \`type\`:

- \`update\`: the run has changed
- \`log\`: the task has logged a line
- \`snapshot\`: where a run stands, as you join the stream of all, and behind a gap
- \`gap\`: so many messages before \`seq\` will not come`;

function connectWith(address: string): string {
  return `Connect with a WebSocket client, such as \`wscat -c ws://<host>${address}\`. A plain GET is answered with 426.`;
}

function paragraphs(...texts: (string | null)[]): string {
  return texts.filter((text) => text !== null).join('\n\n');
}
