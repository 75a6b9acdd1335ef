/**
 * Cancels, as the store commits them.
 */
import type { CancelProgress } from '../../admin.ts';
import type { BoundedMatch, CancelOrder } from './cancelOrder.ts';
import type { Row } from './driver.ts';
import type { WriteAnswers } from './protocol.ts';
import { placeOf, statusColumn } from './runTable.ts';
import { matching } from './selection.ts';
import type { StoreParts } from './storeParts.ts';

export class Cancels {
  readonly #parts: StoreParts;

  constructor(parts: StoreParts) {
    this.#parts = parts;
  }

  /** Ends a run that waits; undefined when it does not. */
  endWaiting(id: string, at: number): Row | undefined {
    const ended = this.#parts.sql.get(
      `UPDATE runs SET status = ?, error = NULL, seq = seq + 1, at = ?, due_at = NULL, expires_at = NULL
       WHERE id = ? AND status = 0 RETURNING *`,
      [statusColumn.cancelled, at, id],
    );
    if (!ended) return undefined;
    this.#parts.waiting.remove(ended.n as number, placeOf(ended), at);
    this.#parts.memory.ended++;
    return ended;
  }

  /** Ends a run that waits, or takes note that a leased one is to end. */
  cancel(id: string, at: number): WriteAnswers['cancel'] {
    const ended = this.endWaiting(id, at);
    if (ended) return { row: ended, cancelled: true };
    this.#parts.sql.run('UPDATE runs SET cancel = 1 WHERE id = ? AND status < 3', [id]);
    const row = this.#parts.runs.byId(id);
    return row && { row, cancelled: false };
  }

  /** The same for all that match: up to `limit` of those that wait, and all that are leased. */
  cancelAll(match: BoundedMatch, limit: number, at: number): WriteAnswers['cancelAll'] {
    const { where, params } = matching(match);
    const ended: Row[] = [];
    if (match.active !== 'running') {
      const delayed = this.#parts.sql.all(
        `SELECT n FROM runs WHERE due_at IS NOT NULL AND status = 0 AND ${where} LIMIT ?`,
        [...params, limit],
      );
      const ns = [...delayed.map(({ n }) => n as number), ...this.#parts.waiting.matching(match, limit)];
      for (const n of ns.slice(0, limit)) {
        const row = this.endWaiting(this.#parts.runs.byNumber(n).id as string, at);
        if (row) ended.push(row);
      }
    }
    if (match.active === 'pending') return { ended, leased: [], more: ended.length === limit };
    const leased = this.#parts.sql.all(
      `UPDATE runs SET cancel = 1 WHERE status < 3 AND status IN (1, 2) AND ${where} RETURNING id`,
      params,
    );
    return { ended, leased: leased.map(({ id }) => id as string), more: ended.length === limit };
  }

  /** A batch of an order. */
  carryOut({ id, match }: CancelOrder, limit: number, at: number): WriteAnswers['carryOut'] {
    const asked = match.active === 'pending' ? 0 : this.#notYetAsked(match);
    const batch = this.cancelAll(match, limit, at);
    const { orders } = this.#parts;
    orders.goOn(id, batch.ended.length, asked, batch.more ? null : at);
    return { ...batch, progress: orders.progress(id) as CancelProgress };
  }

  /** Leased runs that nobody has asked to stop before: each batch meets those of the last one again. */
  #notYetAsked(match: BoundedMatch): number {
    const { where, params } = matching(match);
    const sql = `SELECT count(*) AS count FROM runs WHERE status < 3 AND status IN (1, 2) AND cancel = 0 AND ${where}`;
    return this.#parts.sql.get(sql, params)?.count as number;
  }
}
