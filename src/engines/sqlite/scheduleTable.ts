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

  /** Takes note that the occurrence at `at` has got the run `id`. False: it, or a later one, had one before. */
  occur(key: string, at: number, id: string): boolean {
    return (
      this.#statements.run(
        'UPDATE schedules SET since = ?, last_at = ?, last_id = ? WHERE key = ? AND since < ?',
        [at, at, id, key, at],
      ) > 0
    );
  }
}
