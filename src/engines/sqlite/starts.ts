/**
 * Starts, as the store commits them: each with its keys, leased at once where it may begin.
 */
import type { SqlValue } from './driver.ts';
import type { Leases } from './leases.ts';
import type { Accepted, NewRun, StoredRun, WriteAnswers } from './protocol.ts';
import { statusColumn } from './runTable.ts';
import type { StoreParts } from './storeParts.ts';
import type { Place } from './waitingRuns.ts';

/** Of a larger batch nobody asks where each of its runs stands. */
const batchToldOf = 100;

export class Starts {
  readonly #parts: StoreParts;
  readonly #leases: Leases;

  constructor(parts: StoreParts, leases: Leases) {
    this.#parts = parts;
    this.#leases = leases;
  }

  /** All of them, with their keys, or none. */
  accept(runs: readonly NewRun[]): Accepted {
    const { waiting: others } = this.#parts;
    if (!others.isAnythingPaused && runs.every(({ wish, leased, limited }) => leased && !wish && !limited)) {
      for (const run of runs) this.#insert(run);
      return allNew;
    }
    // Asked of all before any is kept, since a refusal is one for all.
    if (this.#parts.keys.conflicts(runs)) return 'conflict';
    if (runs.some((run) => run.drained && this.#parts.keys.holder(run) === undefined)) return 'drained';
    const known = new Map<number, StoredRun>();
    const held = new Set<number>();
    const waiting: NewRun[] = [];
    for (const [place, run] of runs.entries()) {
      const holder = this.#parts.keys.holder(run);
      if (typeof holder === 'number') {
        this.#parts.keys.remember(run, holder);
        known.set(place, this.#parts.runs.stored(this.#parts.runs.byNumber(holder), run.at));
        continue;
      }
      const leased = run.leased && !others.isPaused(run) && (!run.limited || this.#beginAtOnce(run));
      if (run.leased && !leased) held.add(place);
      this.#insert({ ...run, leased });
      this.#parts.keys.take(run);
      if (!leased) waiting.push(run);
    }
    if (runs.length > batchToldOf) return { known, held, waiting: [] };
    const ahead = waiting.map((run) =>
      isDelayed(run) ? null : this.#parts.waiting.ahead(run.n, placeOfNew(run), run.at),
    );
    return { known, held, waiting: ahead };
  }

  /** A run of a task with limits begins as it is accepted, where they have room that nobody waits for. */
  #beginAtOnce(run: NewRun): boolean {
    if (!this.#parts.waiting.begin(run.n, placeOfNew(run), run.at)) return false;
    this.#leases.countBegun(run.state, run.task, run.at);
    return true;
  }

  /** The run of an occurrence; null: it is left out. */
  occur(key: string, occurrence: number, run: NewRun | null): WriteAnswers['occur'] {
    if (this.#parts.schedules.hasOccurred(key, occurrence)) return 'occurred';
    if (!run) {
      this.#parts.schedules.leaveOut(key, occurrence);
      return 'occurred';
    }
    const accepted = this.accept([run]);
    const known = typeof accepted === 'string' ? undefined : accepted.known.get(0);
    this.#parts.schedules.occur(key, occurrence, (known?.row.id as string | undefined) ?? run.id);
    return accepted;
  }

  #insert(run: NewRun): void {
    const { memory } = this.#parts;
    const { n, id, state, task, client, input, leased, at, wish } = run;
    const values: SqlValue[] = leased
      ? [n, id, state, task, client, statusColumn.starting, 1, 2, at, input, at, at, 1]
      : [n, id, state, task, client, statusColumn.pending, 0, 1, at, input, at, null, 0];
    if (!wish) {
      this.#parts.sql.run(
        `INSERT INTO runs (n, id, state, task, client, status, attempt, seq, at, input, created_at, started_at, fence)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        values,
      );
    } else {
      const dueAt = isDelayed(run) ? wish.runAt : null;
      this.#parts.sql.run(
        `INSERT INTO runs (n, id, state, task, client, status, attempt, seq, at, input, created_at, started_at, fence,
           priority, key, run_at, due_at, expires_at, timeout_ms, retry_of)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        [
          ...values,
          wish.priority,
          wish.key,
          wish.runAt,
          dueAt,
          leased ? null : wish.expiresAt,
          wish.timeoutMs,
          wish.retryOf,
        ],
      );
      if (dueAt !== null) memory.nextDue = Math.min(memory.nextDue, dueAt);
      if (wish.expiresAt !== null) memory.nextDue = Math.min(memory.nextDue, wish.expiresAt);
    }
    if (!leased && !isDelayed(run)) this.#parts.waiting.add(n, placeOfNew(run), at);
  }
}

const allNew: Accepted = { known: new Map(), held: new Set(), waiting: [] };

function isDelayed({ wish, at }: NewRun): boolean {
  return wish !== undefined && wish.runAt !== null && wish.runAt > at;
}

function placeOfNew({ state, task, client, wish }: NewRun): Place {
  return { state, task, client, key: wish?.key ?? null, priority: wish?.priority ?? 0 };
}
