/**
 * The shapes that every route shares, named once: a run, the messages about it, a problem, the catalogue.
 */
import { type ErrorCode, errorTable, type FieldError, type Problem, problemType } from '../errors.ts';
import type { JsonSchema } from '../jsonSchema.ts';
import type { Catalogue } from '../registry.ts';
import { type RunError, type Snapshot, taskStatuses } from '../run.ts';

/** A reference to one of the shapes below, or to the input of a task. */
export function schemaRef(name: string): JsonSchema {
  return { $ref: `#/components/schemas/${name}` };
}

/** An object whose properties are all there, all the time. */
function object(description: string, properties: Record<string, JsonSchema>): JsonSchema {
  return { type: 'object', description, properties, required: Object.keys(properties) };
}

function nullable(schema: JsonSchema, description: string): JsonSchema {
  return { anyOf: [schema, { type: 'null' }], description };
}

const count = (description: string): JsonSchema => ({ type: 'integer', minimum: 0, description });

const snapshot = {
  task_id: {
    type: 'string',
    description: 'Names the run: 22 letters and digits.',
    examples: ['8fKq2LwX0vYbT5sRzN3mJd'],
  },
  state: { type: 'string', description: 'The state that the task belongs to.', examples: ['example_task2'] },
  task: { type: 'string', description: 'The task that is run.', examples: ['task2_with_args'] },
  status: schemaRef('TaskStatus'),
  progress: { type: 'number', minimum: 0, maximum: 100, description: 'In percent.', examples: [75] },
  message: {
    type: ['string', 'null'],
    description: 'What the task last said about itself.',
    examples: [null],
  },
  result: {
    description: 'Any JSON: what the task returned, or what there is of it so far.',
    examples: [null],
  },
  error: nullable(schemaRef('RunError'), 'Why the run ended in `Error`; null otherwise.'),
  attempt: { ...count('Which try this is; 0 until the first begins.'), examples: [1] },
  seq: {
    type: 'integer',
    minimum: 1,
    description: 'The number of the latest event of the run. Events count up from 1, without gaps.',
    examples: [9],
  },
  timestamp: {
    type: 'string',
    format: 'date-time',
    description: 'When that event happened, in UTC.',
    examples: ['2026-11-23T12:15:30.123Z'],
  },
} satisfies Record<keyof Snapshot, JsonSchema>;

const { result: _withheld, ...logged } = snapshot;

/** Each message of a stream, by its `type`. */
const messages = {
  update: {
    name: 'UpdateMessage',
    schema: object('The run has changed: where it stands now.', {
      type: { type: 'string', const: 'update' },
      ...snapshot,
    }),
  },
  log: {
    name: 'LogMessage',
    schema: object('The task has logged a line. Everything of a snapshot but `result` comes with it.', {
      type: { type: 'string', const: 'log' },
      ...logged,
      text: { type: 'string', description: 'The line, up to 64 kB.', examples: ['Read 4 of 9 files'] },
      fields: {
        type: 'object',
        additionalProperties: true,
        description: 'What the task added to the line; may be empty.',
        examples: [{ files: 4 }],
      },
    }),
  },
  snapshot: {
    name: 'SnapshotMessage',
    schema: object('Where a run stands: for whoever joins the stream of all runs, and behind a `gap`.', {
      type: { type: 'string', const: 'snapshot' },
      ...snapshot,
    }),
  },
  gap: {
    name: 'GapMessage',
    schema: object(
      'So many messages before `seq` will not come: they are no longer stored, or the reader was slow.',
      {
        type: { type: 'string', const: 'gap' },
        task_id: snapshot.task_id,
        missed: { ...count('How many messages were passed over.'), minimum: 1, examples: [12] },
        seq: { ...snapshot.seq, description: 'The number of the message that follows.' },
      },
    ),
  },
};

const messageList = Object.entries(messages);

const runMessage: JsonSchema = {
  description: 'One text frame of a stream: a JSON object, told apart by its `type`.',
  oneOf: messageList.map(([, { name }]) => schemaRef(name)),
  discriminator: {
    propertyName: 'type',
    mapping: Object.fromEntries(messageList.map(([type, { name }]) => [type, schemaRef(name).$ref])),
  },
};

const runError = {
  name: { type: 'string', description: 'The kind of error.', examples: ['RangeError'] },
  message: {
    type: 'string',
    description: 'What went wrong.',
    examples: ['There is no such file: access.log'],
  },
} satisfies Record<keyof RunError, JsonSchema>;

const fieldError = {
  path: {
    type: 'string',
    description: 'Where in the input; empty for the input as a whole.',
    examples: ['age'],
  },
  message: { type: 'string', examples: ['Invalid input: expected number, received string'] },
} satisfies Record<keyof FieldError, JsonSchema>;

const exampleCode: ErrorCode = 'unknown-run';

const { errors: problemErrors, ...problem } = {
  type: {
    type: 'string',
    format: 'uri',
    description: 'What went wrong, for programs: the responses list the codes that it ends in.',
    examples: [problemType(exampleCode)],
  },
  title: { type: 'string', description: 'The same, for people.', examples: [errorTable[exampleCode][1]] },
  status: { type: 'integer', description: 'The HTTP status.', examples: [errorTable[exampleCode][0]] },
  detail: {
    type: 'string',
    description: 'What was wrong this time, with which value, and what to do about it.',
  },
  errors: {
    type: 'array',
    items: schemaRef('FieldError'),
    description: 'For bad input: one entry for each thing that is wrong with it.',
  },
} satisfies Record<keyof Problem, JsonSchema>;

type CatalogueState = Catalogue['states'][number];

const catalogueState = {
  name: { type: 'string', description: 'As it stands in addresses.', examples: ['example_task2'] },
  description: { type: ['string', 'null'] },
  tasks: { type: 'array', items: schemaRef('CatalogueTask') },
} satisfies Record<keyof CatalogueState, JsonSchema>;

const catalogueTask = {
  name: { type: 'string', description: 'As it stands in addresses.', examples: ['task2_with_args'] },
  description: { type: ['string', 'null'] },
  input: {
    type: ['object', 'null'],
    additionalProperties: true,
    description: 'JSON Schema (draft 2020-12) of the input; null when the task takes none.',
    examples: [{ type: 'object', properties: { name: { type: 'string' } }, required: ['name'] }],
  },
  example: { description: 'An input that is accepted, or null.', examples: [{ name: 'Matt' }] },
} satisfies Record<keyof CatalogueState['tasks'][number], JsonSchema>;

/** `components/schemas`, but for the inputs of tasks. No name here has a dot: those of inputs always do. */
export const sharedSchemas: Record<string, JsonSchema> = {
  Snapshot: object('A run, as it stands. Other keys may come with it where they apply.', snapshot),
  TaskStatus: {
    type: 'string',
    enum: taskStatuses,
    description:
      '`Pending`: accepted, and waiting. `Starting`: taken up. `Processing`: at work. `Completed`, `Error` and ' +
      '`Cancelled` are how a run ends: they never change.',
    examples: ['Processing'],
  },
  RunError: object('Why a run ended in `Error`.', runError),
  RunList: object('Runs by their `task_id`, the newest first.', {
    all_tasks: { type: 'object', additionalProperties: schemaRef('Snapshot') },
  }),
  RunMessage: runMessage,
  ...Object.fromEntries(messageList.map(([, { name, schema }]) => [name, schema])),
  Problem: {
    ...object('What is answered instead when something is wrong (RFC 9457).', problem),
    properties: { ...problem, errors: problemErrors },
  },
  FieldError: object('One thing that is wrong with an input.', fieldError),
  Catalogue: object('Everything that can be started.', {
    states: { type: 'array', items: schemaRef('CatalogueState') },
  } satisfies Record<keyof Catalogue, JsonSchema>),
  CatalogueState: object('A named group of tasks.', catalogueState),
  CatalogueTask: object('Something that can be started.', catalogueTask),
};
