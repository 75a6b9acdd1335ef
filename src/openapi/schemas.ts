/**
 * The schemas that routes share, named once: a run, the messages about it, a problem, the catalogue.
 */
import type { FieldError, Problem } from '../errors.ts';
import type { JsonSchema } from '../jsonSchema.ts';
import type { Catalogue } from '../registry.ts';
import type { LogLine, LogPage } from '../routes/logs.ts';
import type { ShownSchedule } from '../routes/schedules.ts';
import { type RunError, taskStatuses } from '../run.ts';
import { messages, runMessage } from './messages.ts';
import { exampleSnapshot, object, schemaRef, snapshot, snapshotSometimes } from './shapes.ts';

const runError = {
  name: { type: 'string', description: 'The kind of error.' },
  message: { type: 'string', description: 'What went wrong.' },
} satisfies Record<keyof RunError, JsonSchema>;

const { errors, ...problem } = {
  type: {
    type: 'string',
    format: 'uri',
    description: 'What went wrong, for programs. Each response says what it can end in.',
  },
  title: { type: 'string', description: 'The same, for people.' },
  status: { type: 'integer', description: 'The HTTP status.' },
  detail: { type: 'string', description: 'What was wrong this time, and what to do about it.' },
  errors: {
    type: 'array',
    items: schemaRef('FieldError'),
    description: 'For bad input: one entry for each thing that is wrong with it.',
  },
} satisfies Record<keyof Problem, JsonSchema>;

const fieldError = {
  path: { type: 'string', description: 'Where in the input; empty for the input as a whole.' },
  message: { type: 'string', description: 'What is wrong there.' },
} satisfies Record<keyof FieldError, JsonSchema>;

type CatalogueState = Catalogue['states'][number];
type CatalogueTask = CatalogueState['tasks'][number];

const catalogueState = {
  name: { type: 'string', description: 'As it stands in addresses.' },
  description: { type: ['string', 'null'] },
  tasks: { type: 'array', items: schemaRef('CatalogueTask') },
} satisfies Record<keyof CatalogueState, JsonSchema>;

const catalogueTask = {
  name: { type: 'string', description: 'As it stands in addresses.' },
  description: { type: ['string', 'null'] },
  input: {
    type: ['object', 'null'],
    additionalProperties: true,
    description: 'JSON Schema (draft 2020-12) of the input; null when the task takes none.',
  },
  example: { description: 'An input that is accepted, or null.' },
} satisfies Record<keyof CatalogueTask, JsonSchema>;

const logLine = {
  seq: snapshot.seq,
  timestamp: { type: 'string', format: 'date-time', description: 'When it was logged, in UTC.' },
  text: { type: 'string', description: 'The line, up to 64 kB.' },
  fields: {
    type: 'object',
    additionalProperties: true,
    description: 'What the task has added to the line; may be empty.',
  },
} satisfies Record<keyof LogLine, JsonSchema>;

const logPage = {
  lines: { type: 'array', items: schemaRef('LogLine') },
  next: {
    type: ['integer', 'null'],
    description: 'The `since` of the next page; null when the run has ended and these were the last lines.',
  },
} satisfies Record<keyof LogPage, JsonSchema>;

const time = { type: ['string', 'null'], format: 'date-time' };

const schedule = {
  task: snapshot.task,
  cron: { type: 'string', description: 'Five fields, or six with seconds before them.' },
  time_zone: { type: 'string', description: 'In which the fields are meant: an IANA name.' },
  args: { description: 'The input of its runs: any JSON; null for none.' },
  catch_up: {
    type: 'string',
    enum: ['none', 'one'],
    description:
      'What becomes of times that are missed while the server is down: nothing, or one run for all of them.',
  },
  last_at: { ...time, description: 'The latest time that was kept; null: none yet.' },
  last_task_id: { type: ['string', 'null'], description: 'The run of that time.' },
  next_at: { ...time, description: 'The next time; null: never again.' },
} satisfies Record<keyof ShownSchedule, JsonSchema>;

/** What a start of many takes. `inputName` is that of the input's schema; undefined for a task that takes none. */
export function manyInputs(inputName: string | undefined, isOptional: boolean): JsonSchema {
  const nothing = { type: 'null' };
  const input = inputName === undefined ? nothing : schemaRef(inputName);
  const items = inputName !== undefined && isOptional ? { anyOf: [input, nothing] } : input;
  return {
    type: 'object',
    properties: { inputs: { type: 'array', minItems: 1, maxItems: 10_000, items } },
    required: ['inputs'],
    additionalProperties: false,
  };
}

const exampleTask: CatalogueTask = {
  name: 'task2_with_args',
  description: 'Background task that updates progress with input arguments.',
  input: { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] },
  example: { name: 'Matt' },
};

/** `components/schemas` without the inputs of tasks. No name here has a dot, as each of theirs has. */
export const sharedSchemas: Record<string, JsonSchema> = {
  Snapshot: object(
    'A run, as it stands. It may have more keys than these.',
    snapshot,
    exampleSnapshot,
    snapshotSometimes,
  ),
  TaskStatus: {
    type: 'string',
    enum: taskStatuses,
    description:
      '`Pending`: accepted, and waiting. `Starting`: taken up. `Processing`: at work. `Completed`, `Error` and ' +
      '`Cancelled`: how it ended, which never changes.',
  },
  RunError: object('Why a run, or an attempt of it, failed.', runError),
  RunList: object(
    'Runs by their `task_id`, the newest first.',
    { all_tasks: { type: 'object', additionalProperties: schemaRef('Snapshot') } },
    { all_tasks: { [exampleSnapshot.task_id]: exampleSnapshot } },
  ),
  TaskIds: object(
    'The runs that were started, in the order of their inputs.',
    { task_ids: { type: 'array', items: snapshot.task_id } },
    { task_ids: [exampleSnapshot.task_id] },
  ),
  LogPage: object('A part of what was logged about a run, the oldest first.', logPage),
  LogLine: object('A line that the task has logged.', logLine),
  ScheduleList: object('All schedules of a state.', {
    schedules: { type: 'array', items: schemaRef('Schedule') },
  }),
  Schedule: object('When a task is run by itself.', schedule),
  RunMessage: runMessage,
  ...messages,
  Problem: { ...object('What was wrong (RFC 9457).', problem), properties: { ...problem, errors } },
  FieldError: object('One thing that is wrong with an input.', fieldError),
  Catalogue: object('All states.', { states: { type: 'array', items: schemaRef('CatalogueState') } }),
  CatalogueState: object('A named group of tasks.', catalogueState),
  CatalogueTask: object('A task, and what it takes.', catalogueTask, exampleTask),
};
