/**
 * The table of runs, as it is read.
 */
import type { Row } from './driver.ts';
import type { HistoryTable } from './historyTable.ts';
import type { ReadAnswers, ReadOperation, StoredRun } from './protocol.ts';
import { selection } from './selection.ts';
import type { Statements } from './statements.ts';
import type { Place, WaitingRuns } from './waitingRuns.ts';

/** What reading a run takes: not its input, which can be large and is for its attempts only. */
const shown = `n, id, state, task, client, status, progress, message, result, error, attempt, seq, at,
  created_at, started_at, priority, key, run_at, due_at, retry_of`;

/** A list of runs is cut short before it holds more than this of results. */
const listBytes = 16 * 1024 * 1024;

/** Places in `taskStatuses`, as rows have them. */
export const statusColumn = { pending: 0, starting: 1, failed: 4, cancelled: 5 } as const;

export class RunTable {
  readonly #sql: Statements;
  readonly #history: HistoryTable;
  readonly #waiting: WaitingRuns;

  constructor(sql: Statements, history: HistoryTable, waiting: WaitingRuns) {
    this.#sql = sql;
    this.#history = history;
    this.#waiting = waiting;
  }

  /** Without its input. */
  byId(id: string): Row | undefined {
    return this.#sql.get(`SELECT ${shown} FROM runs WHERE id = ?`, [id]);
  }

  byNumber(n: number): Row {
    return this.#sql.get(`SELECT ${shown} FROM runs WHERE n = ?`, [n]) as Row;
  }

  /** With what goes before it, where it waits. */
  stored(row: Row, at: number): StoredRun {
    if (row.status !== statusColumn.pending) return { row };
    const waits = row.due_at === null;
    return { row, ahead: waits ? this.#waiting.ahead(row.n as number, placeOf(row), at) : null };
  }

  list(query: Extract<ReadOperation, { op: 'list' }>): StoredRun[] {
    const { where, params, order } = selection(query);
    const sized = this.#sql.all(
      `SELECT coalesce(octet_length(result), 0) + coalesce(octet_length(message), 0) AS size FROM runs WHERE ${where} ORDER BY ${order} LIMIT ?`,
      [...params, query.limit],
    );
    let bytes = 0;
    const fitting = sized.findIndex(({ size }) => {
      bytes += size as number;
      return bytes > listBytes;
    });
    // One is always given, however large: the next page begins behind it.
    const limit = fitting === -1 ? query.limit : Math.max(fitting, 1);
    const rows = this.#sql.all(`SELECT ${shown} FROM runs WHERE ${where} ORDER BY ${order} LIMIT ?`, [
      ...params,
      limit,
    ]);
    return rows.map((row) => this.stored(row, query.at));
  }

  page(id: string, since: number): ReadAnswers['history'] {
    const row = this.#sql.get(`SELECT ${shown}, tail FROM runs WHERE id = ?`, [id]);
    return row && { row, ...this.#history.page(row.n as number, since) };
  }

  input(id: string): string | null | undefined {
    const row = this.#sql.get('SELECT input FROM runs WHERE id = ?', [id]);
    return row && (row.input as string | null);
  }

  /** Those of `ids` that wait. */
  waitingOf(ids: readonly string[], at: number): StoredRun[] {
    return ids.flatMap((id) => {
      const row = this.byId(id);
      return row?.status === statusColumn.pending ? [this.stored(row, at)] : [];
    });
  }
}

/** What a run waits for, and as what. */
export function placeOf(row: Row): Place {
  return {
    state: row.state as string,
    task: row.task as string,
    client: row.client as string | null,
    key: row.key as string | null,
    priority: row.priority as number,
  };
}
