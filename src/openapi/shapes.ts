/**
 * What schemas are made of: a run and its parts, as other shapes have them too.
 */
import type { JsonSchema } from '../jsonSchema.ts';
import type { Snapshot, Standing } from '../run.ts';

/** A reference to one of the shared schemas, or to the input of a task. */
export function schemaRef(name: string): JsonSchema & { $ref: string } {
  return { $ref: `#/components/schemas/${name}` };
}

/** An object that always has all of these properties, and those of `sometimes` where they apply. */
export function object(
  description: string,
  always: Record<string, JsonSchema>,
  example?: object,
  sometimes: Record<string, JsonSchema> = {},
): JsonSchema {
  const properties = { ...always, ...sometimes };
  const schema = { type: 'object', description, properties, required: Object.keys(always) };
  return example === undefined ? schema : { ...schema, examples: [example] };
}

export function count(description: string, minimum: 0 | 1): JsonSchema {
  return { type: 'integer', minimum, description };
}

export const snapshot = {
  task_id: { type: 'string', description: 'Names the run: 22 letters and digits.' },
  state: { type: 'string', description: 'The state that the task belongs to.' },
  task: { type: 'string', description: 'The task that is run.' },
  status: schemaRef('TaskStatus'),
  progress: { type: 'number', minimum: 0, maximum: 100, description: 'In percent.' },
  message: { type: ['string', 'null'], description: 'What the task last said about itself.' },
  result: { description: 'Any JSON: what the task returned, or what there is of it so far.' },
  error: {
    anyOf: [schemaRef('RunError'), { type: 'null' }],
    description:
      'With `Error`, why the run ended so; with `Pending`, why its latest attempt failed, after which it waits for the next; ' +
      'null otherwise.',
  },
  attempt: count('Which try this is; 0 until the first begins.', 0),
  seq: count(
    'The number of the latest event of the run. It begins with 1 and only ever rises; numbers may be skipped after a crash.',
    1,
  ),
  timestamp: { type: 'string', format: 'date-time', description: 'When that event happened, in UTC.' },
} satisfies Record<AlwaysThere<Snapshot>, JsonSchema>;

/** The keys without a question mark. */
type AlwaysThere<T> = { [K in keyof T]-?: object extends Pick<T, K> ? never : K }[keyof T];

export const standing = {
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
export const snapshotSometimes = {
  retry_of: { type: 'string', description: 'The run that this one does again.' },
  ...standing,
} satisfies Record<Exclude<keyof Snapshot, AlwaysThere<Snapshot>>, JsonSchema>;

export const exampleSnapshot: Snapshot = {
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
