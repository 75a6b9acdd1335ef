/**
 * Makes of an author's options what an engine is asked to keep to, and refuses what cannot be kept to.
 */
import { existsSync } from 'node:fs';
import { cronProblem, isTimeZone } from './cron.ts';
import { shownValue } from './errors.ts';
import { parseBody } from './json.ts';
import type { OptionCheck } from './optionCheck.ts';
import {
  defaultPolicy,
  defaultRetries,
  highestPriority,
  type RateLimit,
  type Retries,
  type Schedule,
  type TaskPolicy,
} from './policy.ts';
import type { InputSchema } from './schema.ts';
import type { AnyTaskOptions } from './taskOptions.ts';

/** More of these at once, or in all, is a slip of the finger. */
const mostAttempts = 100_000;
const mostAtOnce = 1_000_000;

/** A thread needs that much heap to load Node, tsx and a task file; and no machine has more than the other. */
const leastMemoryMb = 16;
const mostMemoryMb = 1_048_576;

/** What a task's policy depends on besides its options. */
export interface TaskPlace {
  /** null: it takes no input; undefined: its schema is wrong, which has been said. */
  input: InputSchema | null | undefined;
  /** The file that its state was loaded from; undefined for one that was added by hand. */
  file: string | undefined;
}

export function readPolicy(options: AnyTaskOptions, place: TaskPlace, check: OptionCheck): TaskPolicy {
  const atOnce = (option: 'concurrency' | 'concurrencyPerClient' | 'concurrencyPerKey') =>
    check.whole(option, options[option], 1, mostAtOnce) ?? null;
  return {
    onCrash: check.choice('onCrash', options.onCrash, ['retry', 'fail']) ?? defaultPolicy.onCrash,
    retries: readRetries(options.retries, check),
    timeoutMs: check.span('timeoutMs', options.timeoutMs, 1) ?? null,
    heartbeatMs: check.span('heartbeatMs', options.heartbeatMs, 1) ?? null,
    expiresInMs: check.span('expiresInMs', options.expiresInMs, 1) ?? null,
    priority: check.whole('priority', options.priority, 0, highestPriority) ?? defaultPolicy.priority,
    concurrency: atOnce('concurrency'),
    concurrencyPerClient: atOnce('concurrencyPerClient'),
    concurrencyPerKey: atOnce('concurrencyPerKey'),
    rateLimit: readRateLimit(options.rateLimit, check),
    schedules: readSchedules(options.schedule, place.input, check),
    ...readIsolation(options, place.file, check),
  };
}

function readRetries(value: unknown, check: OptionCheck): Retries {
  const given = check.fields('retries', value, ['attempts', 'backoff', 'delayMs', 'maxDelayMs', 'jitter']);
  if (!given) return defaultRetries;
  check.required('retries.attempts', given.attempts);
  const delayMs = check.span('retries.delayMs', given.delayMs, 0) ?? defaultRetries.delayMs;
  const maxDelayMs = check.span('retries.maxDelayMs', given.maxDelayMs, 0);
  if (maxDelayMs !== undefined && maxDelayMs < delayMs) {
    check.refuse(
      `retries.maxDelayMs (${maxDelayMs}) is less than retries.delayMs (${delayMs}): give at least that`,
    );
  }
  return {
    attempts: check.whole('retries.attempts', given.attempts, 1, mostAttempts) ?? defaultRetries.attempts,
    backoff:
      check.choice('retries.backoff', given.backoff, ['fixed', 'exponential']) ?? defaultRetries.backoff,
    delayMs,
    maxDelayMs: maxDelayMs ?? Math.max(defaultRetries.maxDelayMs, delayMs),
    jitter: check.choice('retries.jitter', given.jitter, ['full', 'none']) ?? defaultRetries.jitter,
  };
}

function readRateLimit(value: unknown, check: OptionCheck): RateLimit | null {
  const given = check.fields('rateLimit', value, ['max', 'perMs']);
  if (!given) return null;
  check.required('rateLimit.max', given.max);
  check.required('rateLimit.perMs', given.perMs);
  const max = check.whole('rateLimit.max', given.max, 1, mostAtOnce);
  const perMs = check.span('rateLimit.perMs', given.perMs, 1);
  return max === undefined || perMs === undefined ? null : { max, perMs };
}

function readIsolation(
  options: AnyTaskOptions,
  file: string | undefined,
  check: OptionCheck,
): Pick<TaskPolicy, 'isolate' | 'memoryMb'> {
  const isolate = check.flag('isolate', options.isolate) ?? defaultPolicy.isolate;
  const memoryMb = check.whole('memoryMb', options.memoryMb, leastMemoryMb, mostMemoryMb, ' of MiB') ?? null;
  if (options.memoryMb !== undefined && !isolate) {
    check.refuse('memoryMb needs isolate: true, since it is the limit of a thread of its own');
  }
  if (isolate && file === undefined) {
    check.refuse(
      'isolate needs a file that the thread can load, and this state was added by hand: serve it from a folder, or name its file: registry.add(state, { source: file })',
    );
  } else if (isolate && file !== undefined && !existsSync(file)) {
    check.refuse(
      `isolate needs a file that the thread can load, and there is none at ${JSON.stringify(file)}`,
    );
  }
  return { isolate, memoryMb };
}

function readSchedules(value: unknown, input: TaskPlace['input'], check: OptionCheck): Schedule[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) {
    check.refuse(`schedule is a list, such as [{ cron: '30 2 * * *' }], not ${shownValue(value)}`);
    return [];
  }
  const seen = new Map<string, string>();
  return value.flatMap((entry: unknown, place) => {
    const option = `schedule[${place}]`;
    const schedule = readSchedule(option, entry, input, check);
    if (!schedule) return [];
    const identity = JSON.stringify([schedule.cron, schedule.timeZone.toLowerCase(), schedule.input]);
    const twin = seen.get(identity);
    if (twin !== undefined) check.refuse(`${option} is the same as ${twin}: leave out one of the two`);
    seen.set(identity, option);
    return [schedule];
  });
}

function readSchedule(
  option: string,
  value: unknown,
  input: TaskPlace['input'],
  check: OptionCheck,
): Schedule | undefined {
  const given = check.fields(option, value ?? null, ['cron', 'timeZone', 'args', 'catchUp']);
  if (!given) return undefined;
  check.required(`${option}.cron`, given.cron);
  // In one spelling, by which an engine knows it again after a restart.
  const cron = check.text(`${option}.cron`, given.cron)?.trim().replace(/\s+/g, ' ');
  const problem = cron === undefined ? undefined : cronProblem(cron);
  if (problem !== undefined) check.refuse(`${option}.cron: ${problem}`);
  const timeZone = check.text(`${option}.timeZone`, given.timeZone) ?? 'UTC';
  if (!isTimeZone(timeZone)) {
    check.refuse(`${option}.timeZone is an IANA name such as 'Europe/Berlin', not ${shownValue(timeZone)}`);
  }
  const catchUp = check.choice(`${option}.catchUp`, given.catchUp, ['none', 'one']) ?? 'none';
  const args = readArgs(`${option}.args`, given.args, input, check);
  return cron === undefined ? undefined : { cron, timeZone, input: args, catchUp };
}

/** What a caller would send, as the text that is stored: held to the same rules as a body, and to the schema. */
function readArgs(
  option: string,
  args: unknown,
  input: TaskPlace['input'],
  check: OptionCheck,
): string | null {
  if (input === undefined) return null;
  if (args === undefined) {
    if (input && !input.optional) {
      check.refuse(`${option} is missing, and the task’s input schema does not accept an empty body`);
    }
    return null;
  }
  if (input === null) {
    check.refuse(
      `${option} is given, and the task takes no input: leave it out, or give the task an input schema`,
    );
    return null;
  }
  try {
    const text = JSON.stringify(args);
    if (text === undefined) throw new TypeError(`it is ${shownValue(args)}`);
    const parsed = input.parse(parseBody(Buffer.from(text))?.value);
    if (parsed.ok) return text;
    const reasons = parsed.errors.map(({ path, message }) => (path ? `${path}: ${message}` : message));
    check.refuse(`${option} does not fit the task’s input schema: ${reasons.join('; ')}`);
  } catch (error) {
    check.refuse(`${option} cannot be sent as JSON: ${(error as Error).message.split('\n')[0]}`);
  }
  return null;
}
