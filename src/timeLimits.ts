/**
 * How long an attempt may take, and how long it may say nothing. Stands between the method and its engine, so that every engine
 * has it. Time is the clock's `after`, never wall time: a clock that jumps neither ends an attempt nor spares it.
 */
import type { Clock } from './clock.ts';
import { AbortReason, type AttemptContext, type LeasedRun, type RunPatch } from './engine.ts';
import type { TaskPolicy } from './policy.ts';

/** What an attempt gets to come to its end when its signal has been aborted and it must end. */
export const patienceMs = 5000;

export interface Limits {
  /** null: any time. */
  timeoutMs: number | null;
  heartbeatMs: number | null;
}

/** What holds for an attempt: a caller may only want less than the author gives. undefined: nothing, and no timer is needed. */
export function limitsOf(
  { timeoutMs: authors, heartbeatMs }: TaskPolicy,
  run: LeasedRun,
): Limits | undefined {
  const callers = run.timeoutMs;
  if (authors === null && callers === null && heartbeatMs === null) return undefined;
  const timeoutMs = authors === null || callers === null ? (authors ?? callers) : Math.min(authors, callers);
  return { timeoutMs, heartbeatMs };
}

const resolved = Promise.resolve();

export class LimitedAttempt implements AttemptContext {
  readonly #attempt: AttemptContext;
  readonly #limits: Limits;
  readonly #clock: Clock;
  #stopTimeout: (() => void) | undefined;
  #stopHeartbeat: (() => void) | undefined;
  #stopPatience: (() => void) | undefined;
  /** Words since the time for them was over. */
  #heard = false;
  #state: 'waiting' | 'running' | 'over' | 'ended' = 'waiting';
  #giveUp: ((reason: AbortReason) => void) | undefined;

  constructor(attempt: AttemptContext, limits: Limits, clock: Clock) {
    this.#attempt = attempt;
    this.#limits = limits;
    this.#clock = clock;
  }

  /** The method is about to be called: time runs from here. */
  begin(): void {
    if (this.#state !== 'waiting') return;
    this.#state = 'running';
    const { timeoutMs } = this.#limits;
    if (timeoutMs !== null) {
      this.#stopTimeout = this.#clock.after(timeoutMs, () =>
        this.#over(new AbortReason('timeout', timeoutMs)),
      );
    }
    this.#listen();
  }

  /** The attempt has ended, or was given up: no timer is left, and what it still says is not heard. */
  end(): void {
    this.#state = 'ended';
    this.#stopTimers();
    this.#stopPatience?.();
  }

  /** Resolves, with why it was aborted, when the attempt is still there so long after its time was over. */
  givenUp(): Promise<AbortReason> {
    return new Promise((resolve) => {
      this.#giveUp = resolve;
    });
  }

  get signal(): AbortSignal {
    return this.#attempt.signal;
  }

  abort(reason: AbortReason): void {
    this.#attempt.abort(reason);
  }

  onAbort(listener: (reason: AbortReason) => void): void {
    this.#attempt.onAbort(listener);
  }

  update(patch: RunPatch): Promise<void> {
    if (this.#state === 'ended') return resolved;
    this.#hear();
    return this.#attempt.update(patch);
  }

  log(text: string, fields: Record<string, unknown> | undefined): Promise<void> {
    if (this.#state === 'ended') return resolved;
    this.#hear();
    return this.#attempt.log(text, fields);
  }

  #hear(): void {
    this.#heard = true;
    if (this.#state !== 'running' || !this.#stopHeartbeat) return;
    this.#stopHeartbeat();
    this.#listen();
  }

  #listen(): void {
    const { heartbeatMs } = this.#limits;
    if (heartbeatMs === null) return;
    this.#stopHeartbeat = this.#clock.after(heartbeatMs, () => {
      this.#heard = false;
      // A loop that was blocked, by whomever, has words waiting for their turn: they are heard before it is judged.
      setImmediate(() => {
        if (!this.#heard) this.#over(new AbortReason('heartbeat', heartbeatMs));
      });
    });
  }

  #over(reason: AbortReason): void {
    if (this.#state !== 'running') return;
    this.#state = 'over';
    this.#stopTimers();
    this.#attempt.abort(reason);
    const giveUp = this.#giveUp;
    if (!giveUp) return;
    // It may have been cancelled before, and only the first reason counts.
    this.#stopPatience = this.#clock.after(patienceMs, () => giveUp(this.#attempt.signal.reason));
  }

  #stopTimers(): void {
    this.#stopTimeout?.();
    this.#stopHeartbeat?.();
  }
}
