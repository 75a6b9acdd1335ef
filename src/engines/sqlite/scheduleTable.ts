/**
 * How far each schedule has come, so that none of its occurrences is run twice. A schedule is known by all that it says: one
 * that is changed is another one, and begins anew.
 */
import type { Row } from './driver.ts';
import type { Statements } from './statements.ts';

export class ScheduleTable {
  readonly #statements: Statements;

  constructor(statements: Statements) {
    this.#statements = statements;
  }

  /** Those of `keys`, where each that is new begins at `at`; all others are forgotten. */
  see(keys: readonly string[], at: number): Row[] {
    for (const key of keys) {
      this.#statements.run('INSERT OR IGNORE INTO schedules (key, since) VALUES (?, ?)', [key, at]);
    }
    const rows = this.#statements.all('SELECT key, since, last_at, last_id FROM schedules');
    const known = new Set(keys);
    for (const { key } of rows) {
      if (!known.has(key as string))
        this.#statements.run('DELETE FROM schedules WHERE key = ?', [key as string]);
    }
    return rows.filter(({ key }) => known.has(key as string));
  }

  /** Whether the occurrence at `at`, or a later one, has had its run. */
  hasOccurred(key: string, at: number): boolean {
    return (
      this.#statements.get('SELECT 1 FROM schedules WHERE key = ? AND since >= ?', [key, at]) !== undefined
    );
  }

  /** Takes note that the occurrence at `at` has got the run `id`. */
  occur(key: string, at: number, id: string): void {
    this.#statements.run('UPDATE schedules SET since = ?, last_at = ?, last_id = ? WHERE key = ?', [
      at,
      at,
      id,
      key,
    ]);
  }

  /** Takes note that the occurrence at `at` is to have no run. */
  leaveOut(key: string, at: number): void {
    this.#statements.run('UPDATE schedules SET since = ? WHERE key = ?', [at, key]);
  }
}
