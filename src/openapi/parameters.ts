/**
 * What stands in addresses and headers, named once.
 */
import type { JsonSchema } from '../jsonSchema.ts';
import { highestPriority, longestSpanMs } from '../policy.ts';

/** `components/parameters`. */
export const sharedParameters = {
  ClientToken: {
    name: 'client_token',
    in: 'path',
    required: true,
    schema: { type: 'string' },
    description:
      'Your client token. Whoever runs the server makes one with `spyglass-tasks token create`. It is a secret, and part ' +
      'of the address: do not pass such addresses on.',
  },
  TaskId: {
    name: 'task_id',
    in: 'path',
    required: true,
    schema: { type: 'string' },
    description: 'The `task_id` that the start was answered with.',
  },
  Since: {
    name: 'since',
    in: 'query',
    schema: { type: 'integer', minimum: 0, default: 0 },
    description:
      'Only what has a higher `seq` is told. To go on after a lost connection, give the last one you have.',
  },
  LastEventId: {
    name: 'Last-Event-ID',
    in: 'header',
    schema: { type: 'string' },
    description:
      'The `id` of the last event that you have: the same as `since`, and stronger. An `EventSource` sends it by itself.',
  },
  DelayMs: {
    name: 'delay_ms',
    in: 'query',
    schema: { type: 'integer', minimum: 0, maximum: longestSpanMs },
    description: 'The run begins no sooner than so many milliseconds from now: up to 10 years.',
  },
  RunAt: {
    name: 'run_at',
    in: 'query',
    schema: { type: 'string', format: 'date-time' },
    description:
      'The run begins no sooner than at this time (RFC 3339), which may be up to 10 years away. A time that has passed is now. ' +
      'Not together with `delay_ms`.',
  },
  Priority: {
    name: 'priority',
    in: 'query',
    schema: { type: 'integer', minimum: 0, maximum: highestPriority },
    description: 'Runs with a higher one go first. Without it, that of the task.',
  },
  TimeoutMs: {
    name: 'timeout_ms',
    in: 'query',
    schema: { type: 'integer', minimum: 1, maximum: longestSpanMs },
    description: 'How long each attempt may take, in milliseconds: not more than the task gives it.',
  },
  IdempotencyKey: {
    name: 'Idempotency-Key',
    in: 'header',
    schema: { type: 'string', minLength: 1, maxLength: 257 },
    description:
      'Up to 255 printable ASCII characters of your choice, such as a UUID, bare or in double quotes. The same request with the ' +
      'same key makes one run, however often it is sent within 24 h.',
  },
  Prefer: {
    name: 'Prefer',
    in: 'header',
    schema: { type: 'string' },
    description:
      '`wait=30` answers as soon as the run has ended, or after so many seconds (up to 60) with where it stands (RFC 7240).',
  },
  Wait: {
    name: 'wait',
    in: 'query',
    schema: { type: 'integer', minimum: 0, maximum: 60 },
    description:
      'Answers as soon as the run has ended, or after so many seconds with where it stands. Without it, the header `Prefer` counts.',
  },
  LineLimit: {
    name: 'limit',
    in: 'query',
    schema: { type: 'integer', minimum: 1, maximum: 1000, default: 100 },
    description: 'How many lines to give at the most.',
  },
  Limit: {
    name: 'limit',
    in: 'query',
    schema: { type: 'integer', minimum: 1, maximum: 1000, default: 100 },
    description: 'How many runs to list at the most.',
  },
  Before: {
    name: 'before',
    in: 'query',
    schema: { type: 'string', minLength: 1 },
    description:
      'Lists only runs started before this one: give the last `task_id` of a page for the next page.',
  },
} as const;

export type ParameterName = keyof typeof sharedParameters;

export interface ParameterRef {
  $ref: `#/components/parameters/${ParameterName}`;
}

/** A parameter as a single operation has it. */
export interface OwnParameter {
  name: string;
  in: string;
  schema: JsonSchema;
  description: string;
}

export function parameterRefs(
  ...parameters: (ParameterName | OwnParameter)[]
): (ParameterRef | OwnParameter)[] {
  return parameters.map((parameter) =>
    typeof parameter === 'string' ? { $ref: `#/components/parameters/${parameter}` } : parameter,
  );
}

/** `timeout_ms` of a task's start: what its author gives an attempt is the most that a caller may ask for. */
export function timeoutOf(limitMs: number | null): ParameterName | OwnParameter {
  if (limitMs === null) return 'TimeoutMs';
  const { TimeoutMs: shared } = sharedParameters;
  return {
    ...shared,
    schema: { ...shared.schema, maximum: limitMs },
    description: `How long each attempt may take, in milliseconds. Without it, the ${limitMs} that the task gives it.`,
  };
}
