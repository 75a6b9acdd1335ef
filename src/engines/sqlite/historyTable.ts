/**
 * The history of runs, beyond what their rows imply: chunks of events, and the budget that they are kept to.
 */
import type { Row } from './driver.ts';
import { chunkEvents, historyBytes, historyEvents, lastStatus, onlyStatusChanges } from './history.ts';
import type { RunUpdate } from './protocol.ts';
import type { Statements } from './statements.ts';

export class HistoryTable {
  readonly #statements: Statements;

  constructor(statements: Statements) {
    this.#statements = statements;
  }

  keep({ n, chunks }: Pick<RunUpdate, 'n' | 'chunks'>): void {
    for (const { seq, last, count, body } of chunks) {
      this.#statements.run(
        'INSERT INTO events (n, seq, last, count, bytes, body) VALUES (?, ?, ?, ?, ?, ?)',
        [n, seq, last, count, Buffer.byteLength(body), body],
      );
    }
  }

  /** Lets go of the oldest events of a run until its history is within its budget again. */
  trim(n: number): { count: number; bytes: number } {
    const sql = this.#statements;
    const total = sql.get('SELECT sum(count) AS count, sum(bytes) AS bytes FROM events WHERE n = ?', [n]);
    let count = (total?.count as number | null) ?? 0;
    let bytes = (total?.bytes as number | null) ?? 0;
    if (count <= historyEvents && bytes <= historyBytes) return { count, bytes };
    const row = sql.get('SELECT * FROM runs WHERE n = ?', [n]) as Row;
    // Down to nine tenths, so that not every write has to come here.
    const chunks = sql.all('SELECT * FROM events WHERE n = ? AND trimmed = 0 ORDER BY seq', [n]);
    for (const chunk of chunks.slice(0, -1)) {
      if (count <= historyEvents * 0.9 && bytes <= historyBytes * 0.9) break;
      const previous = sql.get('SELECT body FROM events WHERE n = ? AND seq < ? ORDER BY seq DESC LIMIT 1', [
        n,
        chunk.seq as number,
      ]);
      const kept = onlyStatusChanges(
        chunk.body as string,
        row,
        previous && lastStatus(previous.body as string),
      );
      count -= chunk.count as number;
      bytes -= chunk.bytes as number;
      if (kept) {
        const size = Buffer.byteLength(kept.body);
        count += kept.count;
        bytes += size;
        sql.run(
          'UPDATE events SET seq = ?, last = ?, count = ?, bytes = ?, body = ?, trimmed = 1 WHERE n = ? AND seq = ?',
          [kept.seq, kept.last, kept.count, size, kept.body, n, chunk.seq as number],
        );
      } else {
        sql.run('DELETE FROM events WHERE n = ? AND seq = ?', [n, chunk.seq as number]);
      }
    }
    return { count, bytes };
  }

  /** About a page of chunks with events after `since`, in order, and whether there are more. */
  page(n: number, since: number): { bodies: string[]; more: boolean } {
    const bodies: string[] = [];
    const chunks = this.#statements.all(
      `SELECT last, count, body FROM events
       WHERE n = ? AND seq >= coalesce((SELECT max(seq) FROM events WHERE n = ? AND seq <= ?), 0) ORDER BY seq LIMIT ?`,
      [n, n, since + 1, chunkEvents],
    );
    let count = 0;
    for (const chunk of chunks) {
      if (count >= chunkEvents) return { bodies, more: true };
      if ((chunk.last as number) <= since) continue;
      bodies.push(chunk.body as string);
      count += chunk.count as number;
    }
    return { bodies, more: chunks.length === chunkEvents };
  }

  forget(n: number): void {
    this.#statements.run('DELETE FROM events WHERE n = ?', [n]);
  }
}
