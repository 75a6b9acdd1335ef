/**
 * Leases runs as there is room, hands each to `execute`, and commits what comes of it: its end, or its wait for another attempt.
 */
import type { Clock } from '../../clock.ts';
import { AbortReason, type EngineLog, type Execute } from '../../engine.ts';
import type { Policies } from '../../policy.ts';
import type { Outcome, RunEvent, Snapshot } from '../../run.ts';
import type { Row } from './driver.ts';
import { closingEvents, rowSnapshot } from './history.ts';
import { type Lease, LiveRun, leaseOf } from './liveRun.ts';
import type { Progress } from './progress.ts';
import type { NewRun } from './protocol.ts';
import type { RunTimes } from './runTimes.ts';
import type { StoreClient } from './storeClient.ts';
import { isUnlimited } from './taskLimits.ts';
import { verdictOn } from './verdict.ts';

/** A method that has said nothing for so long counts as at work. */
const silentStartMs = 100;

/** What an aborted attempt gets to come to its end before its run is handed back without it. */
const abortPatienceMs = 1000;

/** When a lease was refused, how soon it is asked for again. */
const leaseRetryMs = 1000;

/** How long no look is taken at the time while something waits for it: a clock that was set may have moved by any amount. */
const longestSleepMs = 1000;

/**
 * So many attempts begin in one turn of the event loop: 10,000 at once, accepted together, would hold it up for 100 ms, and again
 * when all of them had been silent for as long.
 */
const sliceAttempts = 200;

export interface LeaserParts {
  clock: Clock;
  log: EngineLog;
  policies: Policies;
  store: StoreClient;
  progress: Progress;
  times: RunTimes;
  concurrency: number;
  emit(event: RunEvent): void;
  /** Why nothing can be stored just now. */
  trouble(): string | null;
}

export class Leaser {
  readonly #parts: LeaserParts;
  /** Leased runs by id. */
  readonly live = new Map<string, LiveRun>();
  /** Runs that are not leased and have not ended. */
  pending = 0;
  #execute: Execute | undefined;
  #draining = false;

  /** Leases asked for and not yet answered: they hold their place among the `concurrency`. */
  #leasing = 0;
  #leaseAsked = false;
  /** How many the lease on its way may bring. */
  #askedFor = 0;
  #leaseComes = false;
  /** Whether one that waits may be leased, for all that is known here. The store knows of turns and limits. */
  #mayBeMore = false;
  /** Rises when that may have become so. */
  #changes = 0;
  /** When the store wants to be asked again, because time will have made a difference. */
  #wakeAt = Number.POSITIVE_INFINITY;
  /** The latest lease was refused, and that was logged. */
  #wasRefused = false;
  /** The latest that the time was looked at. */
  #lookedAt = 0;
  #stopWaking: () => void = () => {};

  /** Attempts that are not over: an end that waits for its commit holds nobody else up. */
  #atWork = 0;
  /** Leased in this turn: executed in the next, so that the answers to their starts leave first. */
  #begun: LiveRun[] = [];
  #idle: (() => void) | undefined;

  constructor(parts: LeaserParts) {
    this.#parts = parts;
  }

  /** `pending`: how many wait in the store. */
  open(pending: number): void {
    this.pending = pending;
    this.#mayBeMore = pending > 0;
    this.#wakeAt = pending > 0 ? 0 : Number.POSITIVE_INFINITY;
  }

  start(execute: Execute): void {
    this.#execute = execute;
    this.#leaseMore();
    this.#armWaking();
  }

  get running(): number {
    return this.#atWork + this.#leasing;
  }

  // ---- Leases

  /** Nobody waits who could be leased, and there is room: then accepting and leasing are one commit. */
  reserve(): boolean {
    // Those that a lease on its way will find come before, whichever commit this start gets into.
    const somebodyWaits = this.#mayBeMore && this.pending > this.#askedFor;
    const may = this.#execute !== undefined && !this.#draining && !somebodyWaits && this.#room() > 0;
    if (may) this.#leasing++;
    return may;
  }

  /** The answer to so many reservations is there: what of their room is not taken up at once, somebody else may have. */
  unreserve(count: number): void {
    if (count === 0) return;
    this.#leasing -= count;
    this.#leaseMore();
    process.nextTick(() => this.#checkIdle());
  }

  /** So many runs wait that did not before; those whose time has not come, until `dueAt`. */
  added(count: number, dueAt: number | null = null): void {
    this.pending += count;
    if (dueAt === null) this.mayHaveOpened();
    else this.wakeBy(dueAt);
  }

  /** So many runs wait no longer, without having been leased. */
  removed(count: number): void {
    this.pending -= count;
  }

  /** Something has changed that may let another run begin. */
  mayHaveOpened(): void {
    this.#changes++;
    this.#mayBeMore = true;
    this.#leaseMore();
  }

  wakeBy(time: number): void {
    if (time >= this.#wakeAt) return;
    this.#wakeAt = time;
    this.#armWaking();
  }

  #armWaking(): void {
    this.#stopWaking();
    if (this.#wakeAt === Number.POSITIVE_INFINITY || !this.#execute || this.#draining) return;
    const sleepMs = Math.min(Math.max(this.#wakeAt - this.#parts.clock.now(), 0), longestSleepMs);
    this.#stopWaking = this.#parts.clock.after(sleepMs, () => {
      const now = this.#parts.clock.now();
      // Where the clock was set back, what the store said of a later time holds no more: a rate would count from now.
      const wasSetBack = now < this.#lookedAt;
      this.#lookedAt = now;
      if (now < this.#wakeAt && !wasSetBack) this.#armWaking();
      else this.#wake();
    });
  }

  #wake(): void {
    if (this.#parts.trouble() !== null) {
      this.#stopWaking = this.#parts.clock.after(longestSleepMs, () => this.#wake());
      return;
    }
    // Without room too: what has expired is to end.
    this.#lease(Math.max(this.#room(), 0));
  }

  #room(): number {
    return this.#parts.concurrency - this.#atWork - this.#leasing;
  }

  /** As soon as all has been heard that comes together, ends of runs and starts: one lease is asked for then, for all the room there is. */
  #leaseMore(): void {
    if (this.#leaseComes || !this.#mayBeMore) return;
    this.#leaseComes = true;
    process.nextTick(() => {
      this.#leaseComes = false;
      const max = Math.min(this.#room(), this.pending);
      if (max > 0 && this.#mayBeMore && this.#parts.trouble() === null) this.#lease(max);
    });
  }

  #lease(max: number): void {
    if (this.#leaseAsked || this.#draining || !this.#execute) return;
    this.#leaseAsked = true;
    this.#askedFor = max;
    this.#leasing += max;
    const changes = this.#changes;
    const at = this.#parts.clock.now();
    this.#lookedAt = at;
    this.#parts.store
      .write({ op: 'lease', max, at })
      .then(
        ({ leased, expired, nextAt }) => {
          this.pending -= leased.length + expired.length;
          for (const row of expired) for (const event of closingEvents(row)) this.#parts.emit(event);
          for (const row of leased) this.#leased(row);
          // Fewer than there was room for: all that may begin have, unless something has changed meanwhile. All that there was
          // room for: more may have come due.
          this.#wasRefused = false;
          if (leased.length === max) this.#mayBeMore = true;
          else if (changes === this.#changes) this.#mayBeMore = false;
          this.#wakeAt = nextAt ?? Number.POSITIVE_INFINITY;
        },
        (error: Error) => {
          if (!this.#wasRefused) this.#parts.log('warn', `No run could be leased: ${error.message}`);
          this.#wasRefused = true;
          // Not again before that time, whatever is asked for meanwhile.
          this.#mayBeMore = false;
          this.#wakeAt = this.#parts.clock.now() + leaseRetryMs;
        },
      )
      .then(() => {
        this.#leasing -= max;
        this.#leaseAsked = false;
        this.#askedFor = 0;
        this.#armWaking();
        this.#leaseMore();
        this.#checkIdle();
      });
  }

  #leased(row: Row): void {
    const snapshot = rowSnapshot(row);
    const event: RunEvent = { kind: 'update', snapshot, client: row.client as string | null };
    this.#parts.emit(event);
    const run = this.begin(leaseOf(row), snapshot);
    // The first lease is implied by the run's row; a later one is an event to be stored like any other.
    if (run.attempt > 1) {
      run.addUnwritten(event);
      this.#parts.progress.writeSoon(run);
    }
  }

  /** A run that was leased as it was accepted. */
  acceptedAndLeased({ n, id, state, task, client, input, wish }: NewRun, snapshot: Snapshot): void {
    const { key = null, timeoutMs = null } = wish ?? {};
    const lease = {
      n,
      id,
      state,
      task,
      client,
      input,
      attempt: 1,
      fence: 1,
      key,
      timeoutMs,
      failures: 0,
      deaths: 0,
    };
    this.begin(lease, snapshot);
  }

  // ---- Attempts

  begin(lease: Lease, snapshot: Snapshot): LiveRun {
    const run = new LiveRun(this.#parts.progress, lease, snapshot);
    this.live.set(run.id, run);
    this.#atWork++;
    if (this.#begun.push(run) === 1) {
      setImmediate(() => {
        const begun = this.#begun;
        this.#begun = [];
        this.#attemptAll(begun.values());
      });
    }
    return run;
  }

  #attemptAll(remaining: IterableIterator<LiveRun>): void {
    let begun = 0;
    for (const run of remaining) {
      // It may have been given up while others had their turn.
      if (run.closed) continue;
      if (this.#draining) this.#finish(run, { kind: 'interrupted' });
      else this.#attempt(run);
      if (++begun === sliceAttempts) {
        setImmediate(() => this.#attemptAll(remaining));
        return;
      }
    }
  }

  #attempt(run: LiveRun): void {
    const execute = this.#execute as Execute;
    const { clock, progress } = this.#parts;
    const stopTimer = clock.after(silentStartMs, () => progress.show(run, run.beginProcessing()));
    execute(run, run)
      .catch(({ message }: Error): Outcome => ({ kind: 'failed', error: { name: 'Error', message } }))
      .then((outcome) => {
        stopTimer();
        // Handed back meanwhile: the attempt was given up, and its end is nobody's business any more.
        if (!run.closed) this.#finish(run, outcome);
      });
  }

  #finish(run: LiveRun, outcome: Outcome): void {
    const { clock, log, policies, progress, store, times } = this.#parts;
    if (outcome.kind === 'completed' || outcome.kind === 'failed') {
      times.note(run.state, run.task, clock.elapsed() - run.begunAt);
    }
    const verdict = verdictOn(outcome, run, policies.of(run.state, run.task), clock.now());
    const { update, events } = run.end(verdict.outcome, verdict.back);
    progress.forget(run);
    this.#atWork--;
    const write: Promise<Row | boolean | undefined> = verdict.back
      ? store.write({ op: 'release', run: update, because: verdict.back.because, dueAt: verdict.back.dueAt })
      : store.write({ op: 'finish', run: update });
    // In the same commit, and behind it: another run of its task may have been waiting for it.
    if (this.pending > 0 && !isUnlimited(policies.of(run.state, run.task))) this.mayHaveOpened();
    else this.#leaseMore();
    write
      .then(
        (held) => {
          if (held) {
            for (const event of events) this.#parts.emit(event);
            if (held !== true) this.released(held);
          } else log('warn', 'A stale result was refused', { run: run.id, attempt: run.attempt });
        },
        (error: Error) =>
          log('error', `The end of a run could not be stored: ${error.message}`, { run: run.id }),
      )
      .finally(() => {
        // It may have been leased again in the same commit.
        if (this.live.get(run.id) === run) this.live.delete(run.id);
        // It may have been the one that others of its task were waiting for.
        if (this.pending > 0 && !isUnlimited(policies.of(run.state, run.task))) this.mayHaveOpened();
        this.#checkIdle();
      });
  }

  /** A run that was handed back waits again, or has ended, when a cancel had been accepted meanwhile. */
  released(row: Row): void {
    const end = closingEvents(row);
    if (end.length === 0) this.added(1, row.due_at as number | null);
    for (const event of end) this.#parts.emit(event);
  }

  /** Asks a leased run to stop, after that was stored. */
  cancel(id: string): void {
    const run = this.live.get(id);
    if (!run) return;
    run.cancelRequested = true;
    run.abort(new AbortReason('cancel'));
  }

  // ---- Stopping

  async drain(graceMs: number): Promise<void> {
    this.#draining = true;
    this.#stopWaking();
    if (await this.#settled(graceMs)) return;
    for (const run of this.live.values()) run.abort(new AbortReason('shutdown'));
    await this.#settled(abortPatienceMs);
  }

  /** Whether no run is leased any more, waiting for it up to `patienceMs`. */
  async #settled(patienceMs: number): Promise<boolean> {
    if (this.live.size + this.#leasing === 0) return true;
    if (patienceMs > 0) {
      await new Promise<void>((resolve) => {
        const giveUp = this.#parts.clock.after(patienceMs, resolve);
        this.#idle = () => {
          giveUp();
          resolve();
        };
      });
      this.#idle = undefined;
    }
    return this.live.size + this.#leasing === 0;
  }

  #checkIdle(): void {
    if (this.live.size + this.#leasing === 0) this.#idle?.();
  }

  /** Deaf to its signal: handed back without its consent, and whatever it still says or returns is not heard. */
  giveUp(): void {
    for (const run of this.live.values()) if (!run.closed) this.#finish(run, { kind: 'interrupted' });
  }
}
