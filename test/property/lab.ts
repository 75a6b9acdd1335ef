/**
 * The tasks whose runs the property test starts: each with a few of the things that an author can decide.
 */
import { defaultPolicy, type Policies, type TaskPolicy } from '../../src/policy.ts';

export const state = 'lab';

/** Attempts at once of all tasks, and of those in threads. */
export const concurrency = 3;
export const threads = 1;

const retries = { backoff: 'fixed', delayMs: 1000, maxDelayMs: 1500, jitter: 'none' } as const;

const tasks = {
  plain: {},
  stubborn: { retries: { ...retries, attempts: 4, backoff: 'exponential' } },
  single: { concurrency: 1, priority: 2, retries: { ...retries, attempts: 2 } },
  keyed: { concurrencyPerKey: 1, retries: { ...retries, attempts: 2 } },
  shared: { concurrencyPerClient: 1, onCrash: 'fail' },
  rated: { rateLimit: { max: 2, perMs: 5000 }, retries: { ...retries, attempts: 3 } },
  hasty: { concurrency: 1, expiresInMs: 3000 },
  apart: { isolate: true },
} satisfies Record<string, Partial<TaskPolicy>>;

export type TaskName = keyof typeof tasks;

export const taskNames = Object.keys(tasks) as TaskName[];

export function policyOf(task: TaskName): TaskPolicy {
  return { ...defaultPolicy, ...tasks[task] };
}

export const policies: Policies = {
  of: (_state, task) => policyOf(task as TaskName),
  all: () => taskNames.map((task) => ({ state, task, policy: policyOf(task) })),
  keysOf: () => ({}),
};
