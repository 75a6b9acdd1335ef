import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { defaultPolicy, defaultRetries, longestSpanMs } from '../src/policy.ts';
import { readState } from '../src/state.ts';
import { defineState, defineTask, type TaskDefinition } from '../src/task.ts';

const Person = z.object({ name: z.string(), age: z.number().int() });
/** Any file that there is. */
const file = resolve(import.meta.dirname, 'taskPolicy.test.ts');

/** The task with these options, as its state's file would give it. */
function read(options: object, origin: { source?: string } = { source: file }): TaskDefinition {
  const state = readState(defineState('mail', { send: defineTask(options, () => {}) }), origin);
  return state.tasks.get('send') as TaskDefinition;
}

/** What is wrong with these options, without the place that each sentence begins with. */
function problems(options: object, origin?: { source?: string }): string[] {
  try {
    read(options, origin);
  } catch (error) {
    expect(error).toMatchObject({ name: 'StartError' });
    return (error as Error).message
      .split('\n')
      .map((line) => line.replace(/^task send of state mail \(.*?\): /, ''));
  }
  return [];
}

describe('the policy of a task', () => {
  it('is the default where its author says nothing', () => {
    expect(read({}).policy).toEqual(defaultPolicy);
    expect(read({ timeoutMs: undefined, schedule: undefined, retries: undefined }).policy).toEqual(
      defaultPolicy,
    );
  });

  it('has all that its author says', () => {
    const { policy } = read({
      onCrash: 'fail',
      retries: { attempts: 5, backoff: 'fixed', delayMs: 100, maxDelayMs: 200, jitter: 'none' },
      timeoutMs: 1,
      heartbeatMs: longestSpanMs,
      expiresInMs: 3000,
      priority: 9,
      concurrency: 1,
      concurrencyPerClient: 2,
      concurrencyPerKey: 3,
      rateLimit: { max: 10, perMs: 1000 },
      key: () => 'all',
      schedule: [
        { cron: ' 0  3 * * * ', timeZone: 'Europe/Berlin', catchUp: 'one' },
        { cron: '*/10 * * * * *' },
      ],
      isolate: true,
      memoryMb: 64,
    });
    expect(policy).toEqual({
      onCrash: 'fail',
      retries: { attempts: 5, backoff: 'fixed', delayMs: 100, maxDelayMs: 200, jitter: 'none' },
      timeoutMs: 1,
      heartbeatMs: longestSpanMs,
      expiresInMs: 3000,
      priority: 9,
      concurrency: 1,
      concurrencyPerClient: 2,
      concurrencyPerKey: 3,
      rateLimit: { max: 10, perMs: 1000 },
      isolate: true,
      memoryMb: 64,
      schedules: [
        { cron: '0 3 * * *', timeZone: 'Europe/Berlin', input: null, catchUp: 'one' },
        { cron: '*/10 * * * * *', timeZone: 'UTC', input: null, catchUp: 'none' },
      ],
    });
  });

  it('has the defaults for what is left out of retries', () => {
    expect(read({ retries: { attempts: 3 } }).policy.retries).toEqual({ ...defaultRetries, attempts: 3 });
  });

  it('waits as long as its author says, where that is more than the longest wait by default', () => {
    expect(read({ retries: { attempts: 3, delayMs: 7_200_000 } }).policy.retries).toMatchObject({
      delayMs: 7_200_000,
      maxDelayMs: 7_200_000,
    });
  });
});

describe('an option is refused with its name, its value and what is allowed:', () => {
  const upToTenYears = 'to 315360000000 (ten years)';
  it.each<[options: object, problem: string]>([
    [{ onCrash: 'restart' }, `onCrash is 'retry' or 'fail', not "restart"`],
    [{ timeoutMs: 0 }, `timeoutMs is a whole number of milliseconds from 1 ${upToTenYears}, not 0`],
    [{ timeoutMs: '5s' }, `timeoutMs is a whole number of milliseconds from 1 ${upToTenYears}, not "5s"`],
    [{ timeoutMs: null }, `timeoutMs is a whole number of milliseconds from 1 ${upToTenYears}, not null`],
    [{ heartbeatMs: 1.5 }, `heartbeatMs is a whole number of milliseconds from 1 ${upToTenYears}, not 1.5`],
    [
      { expiresInMs: longestSpanMs + 1 },
      `expiresInMs is a whole number of milliseconds from 1 ${upToTenYears}, not 315360000001`,
    ],
    [{ priority: 10 }, 'priority is a whole number from 0 to 9, not 10'],
    [{ priority: -1 }, 'priority is a whole number from 0 to 9, not -1'],
    [{ priority: 'high' }, 'priority is a whole number from 0 to 9, not "high"'],
    [{ concurrency: 0 }, 'concurrency is a whole number from 1 to 1000000, not 0'],
    [
      { concurrency: Number.POSITIVE_INFINITY },
      'concurrency is a whole number from 1 to 1000000, not Infinity',
    ],
    [{ concurrencyPerClient: true }, 'concurrencyPerClient is a whole number from 1 to 1000000, not true'],
    [
      { concurrencyPerKey: 5n, key: () => 'a' },
      'concurrencyPerKey is a whole number from 1 to 1000000, not 5n',
    ],
    [{ concurrencyPerKey: 1 }, 'concurrencyPerKey needs a key: key: (args) => args.customer, say'],
    [{ key: () => 'a' }, 'key has no effect without concurrencyPerKey: give that as well, or leave out key'],
    [
      { key: 'customer', concurrencyPerKey: 1 },
      'key is a function that gives text, such as (args) => args.customer, not "customer"',
    ],
    [{ rateLimit: 5 }, 'rateLimit is an object with max, perMs, not 5'],
    [{ rateLimit: { max: 5 } }, 'rateLimit.perMs is missing'],
    [{ rateLimit: { perMs: 5 } }, 'rateLimit.max is missing'],
    [{ rateLimit: { max: 0, perMs: 5 } }, 'rateLimit.max is a whole number from 1 to 1000000, not 0'],
    [
      { rateLimit: { max: 5, perMs: 0 } },
      `rateLimit.perMs is a whole number of milliseconds from 1 ${upToTenYears}, not 0`,
    ],
    [
      { rateLimit: { max: 5, perMs: 5, per: 5 } },
      'there is no option "rateLimit.per"; there are: max, perMs',
    ],
    [{ retries: 3 }, 'retries is an object with attempts, backoff, delayMs, maxDelayMs, jitter, not 3'],
    [{ retries: null }, 'retries is an object with attempts, backoff, delayMs, maxDelayMs, jitter, not null'],
    [{ retries: {} }, 'retries.attempts is missing'],
    [{ retries: { attempts: 0 } }, 'retries.attempts is a whole number from 1 to 100000, not 0'],
    [
      { retries: { attempts: 3, backoff: 'linear' } },
      `retries.backoff is 'fixed' or 'exponential', not "linear"`,
    ],
    [{ retries: { attempts: 3, jitter: true } }, `retries.jitter is 'full' or 'none', not true`],
    [
      { retries: { attempts: 3, delayMs: -1 } },
      `retries.delayMs is a whole number of milliseconds from 0 ${upToTenYears}, not -1`,
    ],
    [
      { retries: { attempts: 3, maxDelayMs: Number.NaN } },
      `retries.maxDelayMs is a whole number of milliseconds from 0 ${upToTenYears}, not NaN`,
    ],
    [
      { retries: { attempts: 3, maxDelayMs: 999 } },
      'retries.maxDelayMs (999) is less than retries.delayMs (1000): give at least that',
    ],
    [
      { retries: { attempts: 3, delay: 5 } },
      'there is no option "retries.delay"; there are: attempts, backoff, delayMs, maxDelayMs, jitter',
    ],
    [{ unique: () => 'a' }, 'unique is an object with key, whileActive, forMs, not a function'],
    [{ unique: { whileActive: true } }, 'unique.key is missing'],
    [{ unique: { key: () => 'a' } }, 'unique takes either whileActive: true or forMs, and neither is given'],
    [
      { unique: { key: () => 'a', whileActive: true, forMs: 5 } },
      'unique takes either whileActive: true or forMs, and both are given',
    ],
    [
      { unique: { key: () => 'a', whileActive: false } },
      'unique.whileActive is true where it is given, not false',
    ],
    [
      { unique: { key: () => 'a', forMs: 0 } },
      `unique.forMs is a whole number of milliseconds from 1 ${upToTenYears}, not 0`,
    ],
    [
      { unique: { key: 5, forMs: 5 } },
      'unique.key is a function that gives text, such as (args) => args.customer, not 5',
    ],
    [
      { unique: { key: () => 'a', forMs: 5, per: 'client' } },
      'there is no option "unique.per"; there are: key, whileActive, forMs',
    ],
    [{ isolate: 'yes' }, 'isolate is true or false, not "yes"'],
    [{ isolate: true, memoryMb: 15 }, 'memoryMb is a whole number of MiB from 16 to 1048576, not 15'],
    [{ memoryMb: 64 }, 'memoryMb needs isolate: true, since it is the limit of a thread of its own'],
    [
      { memoryMb: 64, isolate: false },
      'memoryMb needs isolate: true, since it is the limit of a thread of its own',
    ],
    [
      { schedule: { cron: '0 3 * * *' } },
      `schedule is a list, such as [{ cron: '30 2 * * *' }], not an object`,
    ],
    [
      { schedule: ['0 3 * * *'] },
      'schedule[0] is an object with cron, timeZone, args, catchUp, not "0 3 * * *"',
    ],
    [{ schedule: [undefined] }, 'schedule[0] is an object with cron, timeZone, args, catchUp, not null'],
    [{ schedule: [{}] }, 'schedule[0].cron is missing'],
    [{ schedule: [{ cron: 5 }] }, 'schedule[0].cron must be text, not 5'],
    [
      { schedule: [{ cron: '0 3 * * *' }, { cron: '0 25 * * *' }] },
      'schedule[1].cron: it is five fields, or six with seconds before them, such as "30 2 * * *", and not "0 25 * * *" (Invalid value for hour: 25)',
    ],
    [{ schedule: [{ cron: '0 0 31 2 *' }] }, 'schedule[0].cron: "0 0 31 2 *" is a date that never comes'],
    [
      { schedule: [{ cron: '0 3 * * *', timeZone: 'Europe/Berlyn' }] },
      `schedule[0].timeZone is an IANA name such as 'Europe/Berlin', not "Europe/Berlyn"`,
    ],
    [
      { schedule: [{ cron: '0 3 * * *', catchUp: 'all' }] },
      `schedule[0].catchUp is 'none' or 'one', not "all"`,
    ],
    [
      { schedule: [{ cron: '0 3 * * *', timezone: 'UTC' }] },
      'there is no option "schedule[0].timezone"; there are: cron, timeZone, args, catchUp',
    ],
    [
      { schedule: [{ cron: '0 3 * * *' }, { cron: '0 4 * * *' }, { cron: '0  3 * * *', timeZone: 'utc' }] },
      'schedule[2] is the same as schedule[0]: leave out one of the two',
    ],
  ])('%o', (options, problem) => {
    expect(problems(options)).toEqual([problem]);
  });

  it('all of them at once', () => {
    const wrong = {
      timeoutMs: '1',
      priority: 10,
      retries: { attempts: 0, delay: 5 },
      schedule: [{ cron: '' }, { timeZone: 'Mars' }],
    };
    expect(problems(wrong)).toHaveLength(7);
  });
});

describe('the args of a schedule', () => {
  const schedule = (args: unknown) => [{ cron: '0 3 * * *', args }];

  it('are kept as the text that a caller would send', () => {
    const { policy } = read({ input: Person, schedule: schedule({ name: 'Ann', age: 40 }) });
    expect(policy.schedules).toMatchObject([{ input: '{"name":"Ann","age":40}' }]);
  });

  it('are what the schema takes, and not what it gives', () => {
    const input = z.object({ since: z.coerce.date() });
    const { policy } = read({ input, schedule: schedule({ since: new Date(0) }) });
    expect(policy.schedules).toMatchObject([{ input: '{"since":"1970-01-01T00:00:00.000Z"}' }]);
  });

  it('may be left out when the schema accepts no body', () => {
    const { policy } = read({ input: Person.optional(), schedule: schedule(undefined) });
    expect(policy.schedules).toMatchObject([{ input: null }]);
  });

  it('may differ between entries of the same time', () => {
    const entries = [...schedule({ name: 'Ann', age: 40 }), ...schedule({ name: 'Ben', age: 40 })];
    expect(read({ input: Person, schedule: entries }).policy.schedules).toHaveLength(2);
  });

  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;
  const nested = (depth: number): unknown => (depth === 0 ? [] : [nested(depth - 1)]);
  it.each<[what: string, args: unknown, problem: RegExp]>([
    [
      'missing',
      undefined,
      /^schedule\[0\]\.args is missing, and the task’s input schema does not accept an empty body$/,
    ],
    [
      'wrong',
      { name: 'Ann', age: '40' },
      /^schedule\[0\]\.args does not fit the task’s input schema: age: Invalid input: expected number/,
    ],
    ['a cycle', cycle, /^schedule\[0\]\.args cannot be sent as JSON: .*circular/],
    ['a BigInt', 5n, /^schedule\[0\]\.args cannot be sent as JSON: .*BigInt/],
    ['a function', () => {}, /^schedule\[0\]\.args cannot be sent as JSON: it is a function$/],
    ['deeper than a body may be', nested(70), /^schedule\[0\]\.args cannot be sent as JSON: .*64 levels/],
    ['null', null, /^schedule\[0\]\.args does not fit/],
  ])('are refused when they are %s', (_, args, problem) => {
    expect(problems({ input: Person, schedule: schedule(args) })).toEqual([expect.stringMatching(problem)]);
  });

  it('are refused when the task takes none', () => {
    expect(problems({ schedule: schedule({}) })).toEqual([
      'schedule[0].args is given, and the task takes no input: leave it out, or give the task an input schema',
    ]);
  });

  it('are not blamed for a schema that is none', () => {
    expect(problems({ input: 5, schedule: schedule({}) })).toEqual([
      expect.stringMatching(/^The input is 5\. Give it a zod schema/),
    ]);
  });
});

describe('an isolated task', () => {
  it('is refused in a state that was added by hand, as its thread could not load it', () => {
    expect(problems({ isolate: true }, {})).toEqual([
      'isolate needs a file that the thread can load, and this state was added by hand: serve it from a folder, or name its file: registry.add(state, { source: file })',
    ]);
  });

  it('is refused when the file is not there', () => {
    expect(problems({ isolate: true }, { source: '/gone/mail.ts' })).toEqual([
      'isolate needs a file that the thread can load, and there is none at "/gone/mail.ts"',
    ]);
  });

  it('may be added by hand with its file', () => {
    expect(read({ isolate: true }, { source: file }).policy).toMatchObject({ isolate: true, memoryMb: null });
  });
});

describe('the key of a run', () => {
  it('is made of the parsed input', () => {
    const seen: unknown[] = [];
    const key = (...args: unknown[]) => {
      seen.push(args);
      return 'a customer';
    };
    const task = read({ input: z.coerce.date(), key, concurrencyPerKey: 1, unique: { key, forMs: 5 } });
    expect(task.keyOf(new Date(5))).toBe('a customer');
    expect(task.uniqueOf(new Date(5))).toEqual({ key: 'a customer', forMs: 5 });
    expect(seen).toEqual([[new Date(5)], [new Date(5)]]);
  });

  it('holds while the run is active, where that is said', () => {
    const task = read({ unique: { key: () => 'one', whileActive: true } });
    expect(task.uniqueOf(undefined)).toEqual({ key: 'one', forMs: null });
  });

  it('is none without an option', () => {
    expect(read({}).keyOf(undefined)).toBeNull();
    expect(read({}).uniqueOf(undefined)).toBeNull();
  });

  it('is made without an argument for a task without input', () => {
    const task = read({ key: (...args: unknown[]) => `of ${args.length}`, concurrencyPerKey: 1 });
    expect(task.keyOf('stray')).toBe('of 0');
  });

  it('has 1 to 512 characters', () => {
    const keyOf = (key: unknown) => read({ key: () => key, concurrencyPerKey: 1 }).keyOf(undefined);
    expect(keyOf('a')).toBe('a');
    expect(keyOf('a'.repeat(512))).toBe('a'.repeat(512));
    for (const [key, given] of [
      ['', '""'],
      ['a'.repeat(513), 'one of 513'],
      [5, '5'],
      [undefined, 'undefined'],
      [null, 'null'],
      [Promise.resolve('a'), 'a Promise'],
      [{}, 'an object'],
    ] as const) {
      expect(() => keyOf(key)).toThrow(
        new TypeError(
          `key of task send of state mail must give a text of 1 to 512 characters, and gave ${given}`,
        ),
      );
    }
    const unique = read({ unique: { key: () => 5, whileActive: true } });
    expect(() => unique.uniqueOf(undefined)).toThrow(/^unique\.key of task send of state mail must give/);
  });

  it('lets what the author’s function throws pass', () => {
    const thrown = new Error('no customer');
    const key = () => {
      throw thrown;
    };
    const task = read({ key, concurrencyPerKey: 1, unique: { key, whileActive: true } });
    expect(() => task.keyOf(undefined)).toThrow(thrown);
    expect(() => task.uniqueOf(undefined)).toThrow(thrown);
  });
});
