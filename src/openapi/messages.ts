/**
 * The messages of the streams.
 */
import type { JsonSchema } from '../jsonSchema.ts';
import type { Standing } from '../run.ts';
import {
  count,
  exampleSnapshot,
  object,
  schemaRef,
  snapshot,
  snapshotSometimes,
  standing,
} from './shapes.ts';

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

export const messages: Record<(typeof messageNames)[MessageType], JsonSchema> = {
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

export const runMessage: JsonSchema = {
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
