/**
 * The shapes that routes share, named once: a run, the messages about it, a problem, the catalogue.
 */
import type { FieldError, Problem } from '../errors.ts';
import type { JsonSchema } from '../jsonSchema.ts';
import type { Catalogue } from '../registry.ts';
import type { LogLine, LogPage } from '../routes/logs.ts';
import type { ShownSchedule } from '../routes/schedules.ts';
import { type RunError, type Snapshot, type Standing, taskStatuses } from '../run.ts';

/** A reference to one of the shapes below, or to the input of a task. */
export function schemaRef(name: string): JsonSchema & { $ref: string } {
  return { $ref: `#/components/schemas/${name}` };
}

/** An object that always has all of these properties, and those of `sometimes` where they apply. */
function object(
  description: string,
  always: Record<string, JsonSchema>,
  example?: object,
  sometimes: Record<string, JsonSchema> = {},
): JsonSchema {
  const properties = { ...always, ...sometimes };
  const schema = { type: 'object', description, properties, required: Object.keys(always) };
  return example === undefined ? schema : { ...schema, examples: [example] };
}

function count(description: string, minimum: 0 | 1): JsonSchema {
  return { type: 'integer', minimum, description };
}

const snapshot = {
  task_id: { type: 'string', description: 'Names the run: 22 letters and digits.' },
  state: { type: 'string', description: 'The state that the task belongs to.' },
  task: { type: 'string', description: 'The task that is run.' },
  status: schemaRef('TaskStatus'),
  progress: { type: 'number', minimum: 0, maximum: 100, description: 'In percent.' },
  message: { type: ['string', 'null'], description: 'What the task last said about itself.' },
  result: { description: 'Any JSON: what the task returned, or what there is of it so far.' },
  error: {
    anyOf: [schemaRef('RunError'), { type: 'null' }],
    description: 'Why the run ended in `Error`; null otherwise.',
  },
  attempt: count('Which try this is; 0 until the first begins.', 0),
  seq: count('The number of the latest event of the run. Events count up from 1, without gaps.', 1),
  timestamp: { type: 'string', format: 'date-time', description: 'When that event happened, in UTC.' },
} satisfies Record<AlwaysThere<Snapshot>, JsonSchema>;

/** The keys without a question mark. */
type AlwaysThere<T> = { [K in keyof T]-?: object extends Pick<T, K> ? never : K }[keyof T];

const standing = {
  position: {
    type: ['integer', 'null'],
    minimum: 1,
    description:
      'Its place among your runs that wait for the same task, 1 for the next; null when it is not its turn to wait: delayed, or ' +
      'between attempts.',
  },
  starts_at: {
    type: ['string', 'null'],
    format: 'date-time',
    description: 'When it is due, else about when it will begin; null when that cannot be said.',
  },
  ends_at: {
    type: ['string', 'null'],
    format: 'date-time',
    description: 'About when it will have ended; null when that cannot be said.',
  },
} satisfies Record<keyof Standing, JsonSchema>;

/** What a snapshot has where it applies: `retry_of` of a run again, the rest only while it is `Pending`. */
const snapshotSometimes = {
  retry_of: { type: 'string', description: 'The run that this one does again.' },
  ...standing,
} satisfies Record<Exclude<keyof Snapshot, AlwaysThere<Snapshot>>, JsonSchema>;

const exampleSnapshot: Snapshot = {
  task_id: '8fKq2LwX0vYbT5sRzN3mJd',
  state: 'example_task2',
  task: 'task2_with_args',
  status: 'Processing',
  progress: 75,
  message: null,
  result: null,
  error: null,
  attempt: 1,
  seq: 9,
  timestamp: '2026-11-23T12:15:30.123Z',
};

const exampleStanding: Standing = {
  position: 3,
  starts_at: '2026-11-23T12:15:40.000Z',
  ends_at: '2026-11-23T12:15:45.000Z',
};

/** The schema of each kind of message, by the `type` that tells it apart. */
const messageNames = {
  update: 'UpdateMessage',
  log: 'LogMessage',
  snapshot: 'SnapshotMessage',
  gap: 'GapMessage',
  position: 'PositionMessage',
} as const;
type MessageType = keyof typeof messageNames;

/** `title` is what Swagger UI calls it among the alternatives. */
function message(
  type: MessageType,
  description: string,
  properties: Record<string, JsonSchema>,
  example: object,
  sometimes: Record<string, JsonSchema> = {},
): JsonSchema {
  const typed = { type: { type: 'string', const: type }, ...properties };
  return { title: messageNames[type], ...object(description, typed, { type, ...example }, sometimes) };
}

const { result: _schema, ...loggedSnapshot } = snapshot;
const { result: _value, ...exampleLogged } = exampleSnapshot;

const messages: Record<(typeof messageNames)[MessageType], JsonSchema> = {
  UpdateMessage: message(
    'update',
    'The run has changed: where it stands now.',
    snapshot,
    exampleSnapshot,
    snapshotSometimes,
  ),
  LogMessage: message(
    'log',
    'The task has logged a line. It comes with all of a snapshot but `result`.',
    {
      ...loggedSnapshot,
      text: { type: 'string', description: 'The line, up to 64 kB.' },
      fields: {
        type: 'object',
        additionalProperties: true,
        description: 'What the task has added to the line; may be empty.',
      },
    },
    { ...exampleLogged, text: 'Read 4 of 9 files', fields: { files: 4 } },
    snapshotSometimes,
  ),
  SnapshotMessage: message(
    'snapshot',
    'Where a run stands: as you join the stream of all runs, and behind a `gap`.',
    snapshot,
    exampleSnapshot,
    snapshotSometimes,
  ),
  GapMessage: message(
    'gap',
    'Some messages will not come: they are no longer stored, or you were too slow to read them.',
    {
      task_id: snapshot.task_id,
      missed: count('How many.', 1),
      seq: count('They were the ones right before this number.', 1),
    },
    { task_id: exampleSnapshot.task_id, missed: 12, seq: 21 },
  ),
  PositionMessage: message(
    'position',
    'Where a run stands that waits: as you begin to watch it, and at most once a second when that has changed. It is no event, ' +
      'and has no `seq`.',
    { task_id: snapshot.task_id, ...standing },
    { task_id: exampleSnapshot.task_id, ...exampleStanding },
  ),
};

const runMessage: JsonSchema = {
  description:
    'One text frame, or the data of one event, of a stream: a JSON object, told apart by its `type`.',
  oneOf: Object.values(messageNames).map(schemaRef),
  discriminator: {
    propertyName: 'type',
    mapping: Object.fromEntries(
      Object.entries(messageNames).map(([type, name]) => [type, schemaRef(name).$ref]),
    ),
  },
};

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
  RunError: object('Why a run ended in `Error`.', runError),
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
