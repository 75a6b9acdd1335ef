/**
 * One attempt in this very thread: the author's method, from its input to the Outcome. Whatever the method does, what comes out
 * is a value. `executor.ts` calls it here, `isolatedAttempt.ts` in a thread of its own.
 */
import { asRun } from './currentRun.ts';
import { AbortReason, type AttemptContext, type LeasedRun } from './engine.ts';
import type { Outcome } from './run.ts';
import { beginWork, endWork } from './runTime.ts';
import type { TaskDefinition } from './task.ts';
import { AttemptTaskContext, cut, describe, textLimitBytes, toJsonValue } from './taskContext.ts';
import { retryWish } from './taskError.ts';

/** Runs `task` for `run`. `client` is the label that its method is told. Never rejects. */
export async function runAttempt(
  task: TaskDefinition,
  run: LeasedRun,
  attempt: AttemptContext,
  client: string | null,
): Promise<Outcome> {
  try {
    // Parsed anew for each attempt: what a schema makes of an input (dates, transforms) is not always JSON.
    const parsed = task.input?.parse(run.input === null ? undefined : JSON.parse(run.input));
    if (parsed && !parsed.ok) {
      const reasons = parsed.errors.map(({ path, message }) => (path ? `${path}: ${message}` : message));
      return failed('InputError', `The stored input does not fit the task any more. ${reasons.join('; ')}`);
    }
    const context = new AttemptTaskContext(run, attempt, client);
    const work = beginWork(task, run);
    try {
      return completed(await asRun(run, () => task.run(context, parsed?.value)));
    } catch (thrown) {
      return thrownOutcome(thrown, attempt);
    } finally {
      endWork(work);
    }
  } catch {
    // What was thrown throws itself when it is looked at: a getter, a proxy.
    return failed('Error', 'The task threw something that cannot be described.');
  }
}

/** What the method returned, as JSON; a value that cannot be JSON ends the run in an error that says so. */
function completed(value: unknown): Outcome {
  if (value === undefined || value === null) return { kind: 'completed', result: null };
  try {
    return { kind: 'completed', result: toJsonValue(value, 'The result') };
  } catch (error) {
    return failed('ResultError', (error as Error).message);
  }
}

function thrownOutcome(thrown: unknown, attempt: AttemptContext): Outcome {
  // Only the very reason counts: a method that fails otherwise while it is being aborted has failed.
  const reason = abortReason(thrown, attempt.signal);
  if (reason) return abortedOutcome(reason);
  if (!(thrown instanceof Object))
    return failed('Error', `The task threw ${describe(thrown)}, which is not an Error.`);
  const { name, message, stack } = thrown as Partial<Error>;
  const outcome = failed(
    typeof name === 'string' && name ? cut(name, 200) : 'Error',
    typeof message === 'string'
      ? cut(message, textLimitBytes)
      : `The task threw ${describe(thrown)}, which is not an Error.`,
    typeof stack === 'string' ? stack : undefined,
  );
  const retry = retryWish(thrown);
  return retry === undefined ? outcome : { ...outcome, retry };
}

/** The signal's reason, thrown as it is or as the cause of the AbortError that Node's own functions wrap it in. */
function abortReason(thrown: unknown, signal: AbortSignal): AbortReason | undefined {
  if (!signal.aborted || !(thrown instanceof Error)) return undefined;
  const reason = thrown.name === 'AbortError' && thrown.cause ? thrown.cause : thrown;
  return reason === signal.reason && reason instanceof AbortReason ? reason : undefined;
}

/** What an attempt ends in that ends because it was aborted: by its own consent, or given up. */
export function abortedOutcome({ because, name, message }: AbortReason): Outcome {
  if (because === 'cancel') return { kind: 'cancelled' };
  if (because === 'shutdown') return { kind: 'interrupted' };
  return failed(name, message);
}

export function failed(name: string, message: string, stack?: string): Extract<Outcome, { kind: 'failed' }> {
  return stack === undefined
    ? { kind: 'failed', error: { name, message } }
    : { kind: 'failed', error: { name, message }, stack };
}
