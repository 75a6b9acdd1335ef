/**
 * What stands in addresses, named once.
 */

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
      'Sends only events with a higher `seq`. To go on after a lost connection, give the last one you have.',
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

export function parameterRefs(...names: ParameterName[]): ParameterRef[] {
  return names.map((name) => ({ $ref: `#/components/parameters/${name}` }));
}
