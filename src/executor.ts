/**
 * One attempt, from its context to its Outcome: finds the task, and sees to its time limits and to the thread it runs in.
 */
import { abortedOutcome, failed, runAttempt } from './attempt.ts';
import type { Clock } from './clock.ts';
import type { AbortReason, AttemptContext, Execute, LeasedRun } from './engine.ts';
import type { Isolation } from './isolation.ts';
import type { Registry } from './registry.ts';
import type { Outcome, RunError } from './run.ts';
import type { StateDefinition, TaskDefinition } from './task.ts';
import { LimitedAttempt, limitsOf } from './timeLimits.ts';

export interface ExecuteOptions {
  clock: Clock;
  /** Where attempts of tasks with `isolate` run. */
  isolation: Isolation;
  /** The label of a client token, by the token's id. */
  tokenLabel(client: string | null): string | null;
  /** Hears of each attempt that failed, with its stack, which callers never see, and of each whose thread died. */
  onFailure(run: LeasedRun, error: RunError, stack: string | undefined): void;
  /** Hears of each attempt whose method had not ended when all time was over: its code may still run, unheard. */
  onGivenUp(run: LeasedRun, reason: AbortReason): void;
}

/** What an engine is handed to run attempts with. */
export function createExecute(registry: Registry, options: ExecuteOptions): Execute {
  return async (run, attempt) => {
    const state = registry.state(run.state);
    const task = state?.tasks.get(run.task);
    const outcome =
      state && task
        ? await execute({ run, state, task }, attempt, options)
        : failed('UnknownTaskError', `This server has no task ${run.task} in state ${run.state} any more.`);
    if (outcome.kind === 'failed') options.onFailure(run, outcome.error, outcome.stack);
    else if (outcome.kind === 'died') options.onFailure(run, outcome.error, undefined);
    return outcome;
  };
}

interface Work {
  run: LeasedRun;
  state: StateDefinition;
  task: TaskDefinition;
}

/** A task without limits has no timer, and its attempt nothing between itself and the engine. */
function execute(work: Work, attempt: AttemptContext, options: ExecuteOptions): Promise<Outcome> {
  const { run, task } = work;
  const limits = limitsOf(task.policy, run);
  if (limits) return executeLimited(work, new LimitedAttempt(attempt, limits, options.clock), options);
  const client = options.tokenLabel(run.client);
  if (task.policy.isolate) return options.isolation.run({ ...work, client }, attempt, () => {});
  return runAttempt(task, run, attempt, client);
}

async function executeLimited(
  work: Work,
  attempt: LimitedAttempt,
  { isolation, tokenLabel, onGivenUp }: ExecuteOptions,
): Promise<Outcome> {
  const { run, task } = work;
  const client = tokenLabel(run.client);
  try {
    // A thread can be killed, and is; a method in this one can only be given up.
    if (task.policy.isolate) return await isolation.run({ ...work, client }, attempt, () => attempt.begin());
    const givenUp = attempt.givenUp().then((reason) => {
      onGivenUp(run, reason);
      return abortedOutcome(reason);
    });
    attempt.begin();
    return await Promise.race([runAttempt(task, run, attempt, client), givenUp]);
  } finally {
    attempt.end();
  }
}
