/**
 * What the outcome of an attempt makes of its run: the run's end, or a wait for another attempt. A cancel that was accepted
 * outlives whatever would have it tried again.
 */
import { retryDelayMs, type TaskPolicy } from '../../policy.ts';
import type { Outcome, RunError } from '../../run.ts';
import type { HandBack } from './liveRun.ts';
import type { Release } from './protocol.ts';

/** After so many deaths of its process, or its thread, a run ends in `Error`. */
const mostDeaths = 3;

export interface Verdict {
  outcome: Outcome;
  /** null: the run ends. */
  back: (HandBack & { because: Release }) | null;
}

/** What a run has behind it. */
export interface Past {
  failures: number;
  deaths: number;
  cancelRequested: boolean;
}

type Rules = Pick<TaskPolicy, 'onCrash' | 'retries'>;

const cancelled: Verdict = { outcome: { kind: 'cancelled' }, back: null };

/** `now`: milliseconds since the epoch. */
export function verdictOn(outcome: Outcome, past: Past, rules: Rules, now: number): Verdict {
  switch (outcome.kind) {
    case 'completed':
    case 'cancelled':
      return { outcome, back: null };
    case 'interrupted':
      return past.cancelRequested ? cancelled : { outcome, back: { because: 'stop', dueAt: null } };
    case 'died':
      return past.cancelRequested ? cancelled : afterDeath(outcome, outcome.error, past, rules);
    case 'failed': {
      const failures = past.failures + 1;
      const deaths = past.deaths + (outcome.killed ? 1 : 0);
      const { retry, killed } = outcome;
      const isLastDeath = killed && (deaths >= mostDeaths || rules.onCrash === 'fail');
      const isOver = failures >= rules.retries.attempts || isLastDeath;
      if (past.cancelRequested || retry === 'never' || isOver) return { outcome, back: null };
      const waitMs = retry?.afterMs ?? retryDelayMs(rules.retries, failures);
      const dueAt = waitMs === 0 ? null : now + waitMs;
      return { outcome, back: { because: killed ? 'kill' : 'failure', dueAt } };
    }
  }
}

/** The same for an attempt whose process died, which nobody told the outcome of. */
export function verdictOnLost(past: Past, rules: Rules): Verdict {
  return past.cancelRequested ? cancelled : afterDeath({ kind: 'interrupted' }, processDied, past, rules);
}

/** A death is no failure of the task, and is not counted as one of its attempts. */
function afterDeath(outcome: Outcome, what: RunError, past: Past, { onCrash }: Rules): Verdict {
  const deaths = past.deaths + 1;
  if (onCrash === 'retry' && deaths < mostDeaths) return { outcome, back: { because: 'death', dueAt: null } };
  const why =
    onCrash === 'fail'
      ? 'The task is declared with onCrash: fail.'
      : `Its process or thread has died ${deaths} times under this run, which is not tried again.`;
  return {
    outcome: { kind: 'failed', error: { name: what.name, message: `${what.message} ${why}` } },
    back: null,
  };
}

const processDied: RunError = {
  name: 'ProcessDiedError',
  message: 'The server process died while the task was at work.',
};
