/**
 * What an admin has ordered to be cancelled, from outside of the server: kept until a server has done it, and for a day beyond, for
 * who waits for the answer.
 */
import type { CancelProgress } from '../../admin.ts';
import type { Match } from '../../engine.ts';
import type { CancelOrder } from './cancelOrder.ts';
import type { Statements } from './statements.ts';

const keptMs = 86_400_000;

export class CancelOrderTable {
  readonly #sql: Statements;

  constructor(sql: Statements) {
    this.#sql = sql;
  }

  /**
   * The order means the runs that are in the table now, which is one commit with its own: whoever starts a run after it does not
   * find it cancelled, however late the order is carried out.
   */
  give(match: Match, at: number): number {
    this.#sql.run('DELETE FROM cancel_orders WHERE done_at < ?', [at - keptMs]);
    const row = this.#sql.get(
      `INSERT INTO cancel_orders (matching, up_to, given_at) SELECT ?, coalesce(max(n), 0), ? FROM runs RETURNING id`,
      [JSON.stringify(match), at],
    );
    return row?.id as number;
  }

  /** Those that are to be carried out, oldest first. */
  open(): CancelOrder[] {
    return this.#sql
      .all('SELECT id, matching, up_to FROM cancel_orders WHERE done_at IS NULL ORDER BY id')
      .map(({ id, matching, up_to }) => ({
        id: id as number,
        match: { ...(JSON.parse(matching as string) as Match), upTo: up_to as number },
      }));
  }

  progress(id: number): CancelProgress | undefined {
    const row = this.#sql.get('SELECT ended, asked, done_at FROM cancel_orders WHERE id = ?', [id]);
    return row && { ended: row.ended as number, asked: row.asked as number, isDone: row.done_at !== null };
  }

  /** `doneAt`: null while there is more to do. */
  goOn(id: number, ended: number, asked: number, doneAt: number | null): void {
    this.#sql.run('UPDATE cancel_orders SET ended = ended + ?, asked = asked + ?, done_at = ? WHERE id = ?', [
      ended,
      asked,
      doneAt,
      id,
    ]);
  }
}
