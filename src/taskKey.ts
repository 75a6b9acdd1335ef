/**
 * The keys that an author's functions make of an input: `key`, for limits, and `unique`, for runs that must not be there twice.
 */
import { shownValue } from './errors.ts';
import type { OptionCheck } from './optionCheck.ts';
import type { TaskDefinition } from './task.ts';
import type { AnyTaskOptions } from './taskOptions.ts';

/** A key is stored with its run, and looked up in an index. */
export const maxKeyLength = 512;

type Keys = Pick<TaskDefinition, 'keyOf' | 'uniqueOf'>;

/** `task` is how errors name it, such as `task send of state mail`; `hasInput`, whether the functions are given one. */
export function readKeys(options: AnyTaskOptions, task: string, hasInput: boolean, check: OptionCheck): Keys {
  const keyOf = readFunction('key', options.key, task, hasInput, check);
  if (keyOf && options.concurrencyPerKey === undefined) {
    check.refuse('key has no effect without concurrencyPerKey: give that as well, or leave out key');
  }
  if (options.key === undefined && options.concurrencyPerKey !== undefined) {
    check.refuse('concurrencyPerKey needs a key: key: (args) => args.customer, say');
  }
  const unique = readUnique(options.unique, task, hasInput, check);
  return {
    keyOf: (input) => keyOf?.(input) ?? null,
    uniqueOf: (input) => (unique ? { key: unique.keyOf(input), forMs: unique.forMs } : null),
  };
}

type KeyOf = (input: unknown) => string;

function readUnique(
  value: unknown,
  task: string,
  hasInput: boolean,
  check: OptionCheck,
): { keyOf: KeyOf; forMs: number | null } | undefined {
  const unique = check.fields('unique', value, ['key', 'whileActive', 'forMs']);
  if (!unique) return undefined;
  check.required('unique.key', unique.key);
  const keyOf = readFunction('unique.key', unique.key, task, hasInput, check);
  const forMs = check.span('unique.forMs', unique.forMs, 1) ?? null;
  if (unique.whileActive !== undefined && unique.whileActive !== true) {
    check.refuse(`unique.whileActive is true where it is given, not ${shownValue(unique.whileActive)}`);
  }
  if ((unique.whileActive === undefined) === (unique.forMs === undefined)) {
    const given = unique.forMs === undefined ? 'neither is' : 'both are';
    check.refuse(`unique takes either whileActive: true or forMs, and ${given} given`);
  }
  return keyOf && { keyOf, forMs };
}

/** The author's function, held to giving a key. */
function readFunction(
  option: string,
  value: unknown,
  task: string,
  hasInput: boolean,
  check: OptionCheck,
): KeyOf | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'function') {
    return check.refuse(
      `${option} is a function that gives text, such as (args) => args.customer, not ${shownValue(value)}`,
    );
  }
  return (input) => {
    const key: unknown = hasInput ? value(input) : value();
    if (typeof key === 'string' && key.length > 0 && key.length <= maxKeyLength) return key;
    const given = typeof key === 'string' && key.length > 0 ? `one of ${key.length}` : shownValue(key);
    throw new TypeError(
      `${option} of ${task} must give a text of 1 to ${maxKeyLength} characters, and gave ${given}`,
    );
  };
}
