/**
 * Starts the runs of schedules. How far each schedule has come is committed with the run of its occurrence, so that none gets two,
 * whatever happens in between.
 *
 * An occurrence is missed when nobody was there to see it: the server was down, the machine slept, or the clock was set forward.
 * What becomes of those is the author's `catchUp`; every other one is run, however late.
 */
import type { Clock } from '../../clock.ts';
import { latestOccurrence, nextOccurrence } from '../../cron.ts';
import type { EngineLog, ScheduleState, StartRequest } from '../../engine.ts';
import type { Policies, RunKeys, Schedule } from '../../policy.ts';
import type { StoreClient } from './storeClient.ts';

/** The time is looked at so often: the clock may have been set. */
const longestSleepMs = 1000;
/** Who has not looked for so long was not there. */
const absentMs = 60_000;
/** Of one schedule, so many occurrences are started at a look. */
const mostAtOnce = 100;

/** A clock that was set back by less is no matter. */
const toldMs = 60_000;

export interface SchedulerParts {
  clock: Clock;
  log: EngineLog;
  policies: Policies;
  store: StoreClient;
  /** Accepts the run of an occurrence; the id of the run that it has, or undefined when it had one before or is to have none. */
  occur(key: string, occurrence: number, request: StartRequest): Promise<string | undefined>;
}

interface Entry extends Omit<ScheduleState, 'nextAt'> {
  /** Names the schedule in the store. */
  readonly key: string;
  /** Occurrences up to here have had their run, or will have none. */
  since: number;
  /** As far as the store knows of it: those beyond were missed. */
  kept: number;
  nextAt: number | null;
}

export class Scheduler {
  readonly #parts: SchedulerParts;
  #entries: Entry[] = [];
  /** Since when somebody has been there all the time. */
  #presentSince = 0;
  #lookedAt = 0;
  #stop: () => void = () => {};
  #started = false;
  #stopped = false;

  constructor(parts: SchedulerParts) {
    this.#parts = parts;
  }

  /** Finds out how far the schedules have come; those that are new begin now. A full disk is waited for. */
  async open(): Promise<void> {
    while (!this.#stopped) {
      try {
        await this.#readStates();
        if (this.#started) this.start();
        return;
      } catch (error) {
        this.#parts.log('warn', `The schedules could not be read yet: ${(error as Error).message}`);
        await new Promise<void>((resolve) => this.#parts.clock.after(longestSleepMs, resolve));
      }
    }
  }

  async #readStates(): Promise<void> {
    const now = this.#parts.clock.now();
    const all = this.#parts.policies
      .all()
      .flatMap(({ state, task, policy }) => policy.schedules.map((schedule) => ({ state, task, schedule })));
    const keys = all.map(({ state, task, schedule }) => scheduleKey(state, task, schedule));
    const rows = await this.#parts.store.write({ op: 'seeSchedules', keys, at: now });
    const byKey = new Map(rows.map((row) => [row.key as string, row]));
    this.#entries = all.map((each, place) => {
      const key = keys[place] as string;
      const row = byKey.get(key);
      const since = (row?.since as number | undefined) ?? now;
      const lastAt = row?.last_at as number | null | undefined;
      const last = lastAt ? { at: lastAt, id: row?.last_id as string } : null;
      return { ...each, key, since, kept: since, last, nextAt: nextOccurrence(each.schedule, since) };
    });
    this.#presentSince = now;
    this.#lookedAt = now;
    this.#tellOfSetBack(now);
  }

  start(): void {
    this.#started = true;
    if (this.#entries.length > 0) this.#look();
  }

  stop(): void {
    this.#stopped = true;
    this.#stop();
  }

  states(): ScheduleState[] {
    return this.#entries.map(({ state, task, schedule, last, nextAt }) => ({
      state,
      task,
      schedule,
      last,
      nextAt,
    }));
  }

  #look(): void {
    const now = this.#parts.clock.now();
    if (now - this.#lookedAt > absentMs) this.#presentSince = now;
    if (now < this.#lookedAt) this.#takeBack(now);
    this.#lookedAt = now;
    const due = this.#entries.filter(({ nextAt }) => nextAt !== null && nextAt <= now);
    Promise.all(due.map((entry) => this.#startDue(entry, now)))
      .catch((error: Error) =>
        this.#parts.log('warn', `The run of a schedule could not be started yet: ${error.message}`),
      )
      .finally(() => this.#lookAgain());
  }

  #lookAgain(): void {
    if (this.#stopped) return;
    const now = this.#parts.clock.now();
    const next = Math.min(...this.#entries.map(({ nextAt }) => nextAt ?? Number.POSITIVE_INFINITY));
    const sleepMs = Math.min(Math.max(next - now, 0), longestSleepMs);
    // What could not be started is due still, and is not asked for without a pause.
    this.#stop = this.#parts.clock.after(next <= now ? longestSleepMs : sleepMs, () => this.#look());
  }

  async #startDue(entry: Entry, now: number): Promise<void> {
    const { schedule } = entry;
    if (entry.since < this.#presentSince) {
      const missed = latestOccurrence(schedule, entry.since, Math.min(this.#presentSince, now));
      if (missed !== null && schedule.catchUp === 'one') await this.#start(entry, missed);
      else this.#passTo(entry, Math.min(this.#presentSince, now));
    }
    for (
      let started = 0;
      started < mostAtOnce && !this.#stopped && entry.nextAt !== null && entry.nextAt <= now;
      started++
    ) {
      await this.#start(entry, entry.nextAt);
    }
  }

  async #start(entry: Entry, occurrence: number): Promise<void> {
    const { state, task, schedule, key } = entry;
    const request = { state, task, client: null, input: schedule.input };
    let keys: RunKeys;
    try {
      keys = this.#parts.policies.keysOf(state, task, schedule.input);
    } catch (error) {
      const why = `the author's key function failed: ${(error as Error).message}`;
      this.#parts.log('error', `An occurrence of a schedule was left out: ${why}`, { state, task });
      this.#passTo(entry, occurrence);
      return;
    }
    const id = await this.#parts.occur(key, occurrence, { ...request, ...keys });
    if (id !== undefined) entry.last = { at: occurrence, id };
    entry.kept = Math.max(entry.kept, occurrence);
    this.#passTo(entry, occurrence);
  }

  /** The clock was set back: what counted as missed because it had been set forward is yet to come. */
  #takeBack(now: number): void {
    this.#presentSince = Math.min(this.#presentSince, now);
    for (const entry of this.#entries) {
      entry.since = Math.min(entry.since, Math.max(entry.kept, now));
      entry.nextAt = nextOccurrence(entry.schedule, entry.since);
    }
    this.#tellOfSetBack(now);
  }

  /** What has been run is not run twice, so they are silent until the clock is where they were: somebody may wonder. */
  #tellOfSetBack(now: number): void {
    const furthest = Math.max(...this.#entries.map(({ kept }) => kept));
    if (furthest - now < toldMs) return;
    this.#parts.log('warn', 'The clock was set back: schedules go on when it is where they were', {
      until: new Date(furthest).toISOString(),
    });
  }

  #passTo(entry: Entry, time: number): void {
    entry.since = Math.max(entry.since, time);
    entry.nextAt = nextOccurrence(entry.schedule, entry.since);
  }
}

function scheduleKey(state: string, task: string, { cron, timeZone, input, catchUp }: Schedule): string {
  return JSON.stringify([state, task, cron, timeZone, input, catchUp]);
}
