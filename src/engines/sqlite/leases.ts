/**
 * Leases, as the store commits them: how they begin, what their holders write, and how they end. Each write names the fence of its
 * lease; that of a stale holder changes no row.
 */
import type { Cancels } from './cancels.ts';
import type { Row } from './driver.ts';
import type { Release, RunUpdate, WriteAnswers } from './protocol.ts';
import { placeOf, statusColumn } from './runTable.ts';
import type { StoreParts } from './storeParts.ts';

/** Of runs whose time has come, or has run out, so many in one commit. */
const duePerCommit = 1000;

export class Leases {
  readonly #parts: StoreParts;
  readonly #cancels: Cancels;

  constructor(parts: StoreParts, cancels: Cancels) {
    this.#parts = parts;
    this.#cancels = cancels;
  }

  /** Leases up to `max` runs, whose turn it is at `at`; before that, what is due begins to wait for its turn. */
  lease(max: number, at: number): WriteAnswers['lease'] {
    // The clock was set back, in this life or between this and the one before: what has begun has not done so in the future.
    const { memory } = this.#parts;
    if (at < memory.lookedAt) this.#parts.sql.run('UPDATE begun SET at = ? WHERE at > ?', [at, at]);
    memory.lookedAt = at;
    const expired = at >= memory.nextDue ? this.#lookAtTime(at) : [];
    // More expire than fit into one commit: none of those may begin, so nothing does before they have ended.
    if (expired.length === duePerCommit) return { leased: [], expired, nextAt: at };
    const leased: Row[] = [];
    while (leased.length < max) {
      const n = this.#parts.waiting.take(at);
      if (n === undefined) break;
      const row = this.#parts.sql.get(
        `UPDATE runs SET status = 1, attempt = attempt + 1, seq = seq + 1, at = ?, started_at = coalesce(started_at, ?),
           fence = fence + 1, progress = 0, message = NULL, result = NULL, error = NULL, expires_at = NULL
         WHERE n = ? AND status = 0 RETURNING *`,
        [at, at, n],
      );
      if (!row) {
        this.#parts.waiting.ended(n);
        continue;
      }
      this.countBegun(row.state as string, row.task as string, at);
      leased.push(row);
    }
    const opens = this.#parts.waiting.rateOpensAt(at);
    const nextAt = Math.min(memory.nextDue, opens ?? Number.POSITIVE_INFINITY);
    return { leased, expired, nextAt: Number.isFinite(nextAt) ? nextAt : null };
  }

  /** Ends what was to begin by now and has not, and lets what is due wait for its turn. */
  #lookAtTime(at: number): Row[] {
    const late = this.#parts.sql.all('SELECT * FROM runs WHERE expires_at <= ? ORDER BY expires_at LIMIT ?', [
      at,
      duePerCommit,
    ]);
    const expired = late.map((row) => this.#expire(row, at)).filter((row) => row !== undefined);
    const due = this.#parts.sql.all(
      'SELECT n, state, task, client, key, priority FROM runs WHERE due_at <= ? ORDER BY due_at LIMIT ?',
      [at, duePerCommit],
    );
    for (const row of due) {
      this.#parts.sql.run('UPDATE runs SET due_at = NULL WHERE n = ?', [row.n as number]);
      this.#parts.waiting.add(row.n as number, placeOf(row), at);
    }
    const dueAt = this.#parts.sql.get('SELECT min(due_at) AS at FROM runs WHERE due_at IS NOT NULL')?.at;
    const endsAt = this.#parts.sql.get(
      'SELECT min(expires_at) AS at FROM runs WHERE expires_at IS NOT NULL',
    )?.at;
    this.#parts.memory.nextDue = Math.min(
      ...[dueAt, endsAt].map((time) => (time as number | null) ?? Number.POSITIVE_INFINITY),
    );
    return expired;
  }

  #expire(row: Row, at: number): Row | undefined {
    const waitedMs =
      (row.expires_at as number) - ((row.run_at as number | null) ?? (row.created_at as number));
    const error = { name: 'ExpiredError', message: `The run had not begun ${waitedMs} ms after it was due.` };
    const ended = this.#parts.sql.get(
      `UPDATE runs SET status = ?, error = ?, seq = seq + 1, at = ?, due_at = NULL, expires_at = NULL
       WHERE n = ? AND status = 0 RETURNING *`,
      [statusColumn.failed, JSON.stringify(error), at, row.n as number],
    );
    this.#parts.waiting.remove(row.n as number, placeOf(row), at);
    if (ended) this.#parts.memory.ended++;
    return ended;
  }

  /** For the rate limit of its task, which must hold through a restart. */
  countBegun(state: string, task: string, at: number): void {
    const spanMs = this.#parts.waiting.rateSpanMs(state, task);
    if (spanMs === undefined) return;
    this.#parts.sql.run('DELETE FROM begun WHERE state = ? AND task = ? AND at <= ?', [
      state,
      task,
      at - spanMs,
    ]);
    this.#parts.sql.run('INSERT INTO begun (state, task, at) VALUES (?, ?, ?)', [state, task, at]);
  }

  progress(run: RunUpdate, reserved: number, outgrown: boolean): WriteAnswers['progress'] {
    const held = this.#parts.sql.run(
      `UPDATE runs SET status = ?, progress = ?, message = ?, result = ?, error = ?, seq = ?, at = ?, reserved = ?
       WHERE n = ? AND fence = ? AND status < 3`,
      [
        run.status,
        run.progress,
        run.message,
        run.result,
        run.error,
        run.seq,
        run.at,
        reserved,
        run.n,
        run.fence,
      ],
    );
    if (held) this.#parts.history.keep(run);
    return outgrown ? this.#parts.history.trim(run.n) : true;
  }

  /** False: refused by its fence. */
  finish(run: RunUpdate): boolean {
    // The last chunk goes into the row: most runs then have no row of events at all.
    const tail = run.chunks.at(-1)?.body ?? null;
    const held = this.#parts.sql.run(
      `UPDATE runs SET status = ?, progress = ?, message = ?, result = ?, error = ?, seq = ?, at = ?, tail = ?
       WHERE n = ? AND fence = ? AND status < 3`,
      [run.status, run.progress, run.message, run.result, run.error, run.seq, run.at, tail, run.n, run.fence],
    );
    if (held && run.chunks.length > 1) {
      this.#parts.history.keep({ n: run.n, chunks: run.chunks.slice(0, -1) });
      this.#parts.history.trim(run.n);
    }
    if (held) this.#parts.waiting.ended(run.n);
    this.#parts.memory.ended += held;
    return held > 0;
  }

  /** Ends the lease: the run waits again. */
  release(run: RunUpdate, because: Release, dueAt: number | null): WriteAnswers['release'] {
    const held = this.#parts.sql.get(
      `UPDATE runs SET status = ?, progress = ?, message = ?, result = ?, error = ?, seq = ?, at = ?,
         fence = fence + 1, reserved = NULL, deaths = deaths + ?, failures = failures + ?, due_at = ?
       WHERE n = ? AND fence = ? AND status < 3 RETURNING *`,
      [
        run.status,
        run.progress,
        run.message,
        run.result,
        run.error,
        run.seq,
        run.at,
        because === 'death' || because === 'kill' ? 1 : 0,
        because === 'failure' || because === 'kill' ? 1 : 0,
        dueAt,
        run.n,
        run.fence,
      ],
    );
    if (!held) return undefined;
    this.#parts.waiting.ended(run.n);
    this.#parts.history.keep(run);
    // A cancel that was accepted while the lease was ending must not be forgotten with it.
    if (held.cancel === 1) return this.#cancels.endWaiting(held.id as string, run.at);
    if (dueAt === null) this.#parts.waiting.add(run.n, placeOf(held), run.at);
    else this.#parts.memory.nextDue = Math.min(this.#parts.memory.nextDue, dueAt);
    return held;
  }
}
