/**
 * The database and every statement that touches it. Synchronous: it lives in the store thread.
 */
import { join } from 'node:path';
import { type Database, openDatabase, type Row, type SqlValue, type Statement } from './driver.ts';
import { chunkEvents, historyBytes, historyEvents, lastStatus, onlyStatusChanges } from './history.ts';
import { migrate } from './migrations.ts';
import type {
  NewRun,
  ReadAnswers,
  ReadOperation,
  RunUpdate,
  StoreSettings,
  WriteAnswers,
  WriteOperation,
} from './protocol.ts';
import { selection } from './selection.ts';
import { databaseFile, insertToken, revokeToken } from './tokens.ts';
import { WaitingClients } from './waitingClients.ts';

// `status < 3` stands in every query for active runs, next to what it already implies: SQLite uses a partial index only for a
// query that repeats the index's own condition (https://www.sqlite.org/partialindex.html).

/** What reading a run takes: not its input, which can be large and is for its attempts only. */
const shown = `n, id, state, task, client, status, progress, message, result, error, attempt, seq, at,
  created_at, started_at`;

/** A list of runs is cut short before it holds more than this of results. */
const listBytes = 16 * 1024 * 1024;

const pending = 0;
const starting = 1;
const cancelled = 5;

export class Store {
  readonly #database: Database;
  readonly #waiting = new WaitingClients();
  readonly #statements = new Map<string, Statement>();
  /** Runs that ended since the store was opened. */
  ended = 0;

  private constructor(database: Database) {
    this.#database = database;
  }

  static open(settings: StoreSettings): Store {
    const path = join(settings.folder, databaseFile);
    const database = openDatabase(path, settings.driver);
    // Whoever holds the database longer is answered for with 503, lest reads wait behind it.
    database.exec('PRAGMA busy_timeout = 100');
    // 16 MB of log between checkpoints, and a page cache that holds the hot end of the indexes.
    database.exec('PRAGMA wal_autocheckpoint = 4000');
    database.exec('PRAGMA cache_size = -16000');
    migrate(database, path);
    const store = new Store(database);
    store.#recount();
    return store;
  }

  get database(): Database {
    return this.#database;
  }

  get pending(): number {
    return this.#waiting.size;
  }

  lastN(): number {
    return (this.#get('SELECT max(n) AS n FROM runs', [])?.n as number | null) ?? 0;
  }

  /** Runs that were leased when the process died. */
  interrupted(): Row[] {
    return this.#all('SELECT * FROM runs WHERE status < 3 AND status IN (1, 2) ORDER BY n', []);
  }

  /** Runs the operations as one commit: on disk when this returns, undone when it throws. */
  commit(operations: readonly WriteOperation[]): WriteAnswers[WriteOperation['op']][] {
    const { ended } = this;
    this.#prepare('BEGIN IMMEDIATE').run();
    try {
      const answers = operations.map((operation) => this.#write(operation));
      this.#prepare('COMMIT').run();
      return answers;
    } catch (error) {
      this.ended = ended;
      this.#rollback();
      throw error;
    }
  }

  #rollback(): void {
    try {
      this.#database.exec('ROLLBACK');
    } catch {
      // SQLite has rolled back by itself, as it does when the disk is full.
    }
    this.#recount();
  }

  #recount(): void {
    this.#waiting.reset(
      this.#all(
        'SELECT client, count(*) AS count FROM runs WHERE status < 3 AND status = 0 GROUP BY client',
        [],
      ),
    );
  }

  #write(operation: WriteOperation): WriteAnswers[WriteOperation['op']] {
    switch (operation.op) {
      case 'accept':
        for (const run of operation.runs) this.#insert(run);
        return true;
      case 'lease':
        return this.#lease(operation.max, operation.at);
      case 'progress':
        return this.#progress(operation.run, operation.reserved, operation.outgrown);
      case 'finish':
        return this.#finish(operation.run);
      case 'release':
        return this.#release(operation.run, operation.death);
      case 'cancel':
        return this.#cancel(operation.id, operation.at);
      case 'createToken':
        insertToken(this.#database, operation.token);
        return true;
      case 'revokeToken':
        return revokeToken(this.#database, operation.idOrDigest, operation.at);
    }
  }

  #insert({ n, id, state, task, client, input, leased, at }: NewRun): void {
    this.#run(
      `INSERT INTO runs (n, id, state, task, client, status, attempt, seq, at, input, created_at, started_at, fence)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      leased
        ? [n, id, state, task, client, starting, 1, 2, at, input, at, at, 1]
        : [n, id, state, task, client, pending, 0, 1, at, input, at, null, 0],
    );
    if (!leased) this.#waiting.add(client);
  }

  /** Leases up to `max` runs: clients take turns, and within one client the oldest goes first. */
  #lease(max: number, at: number): Row[] {
    const leased: Row[] = [];
    while (leased.length < max) {
      const client = this.#waiting.next();
      if (client === undefined) break;
      const row = this.#get(
        `UPDATE runs SET status = 1, attempt = attempt + 1, seq = seq + 1, at = ?, started_at = coalesce(started_at, ?),
           fence = fence + 1, progress = 0, message = NULL, result = NULL, error = NULL
         WHERE n = (SELECT n FROM runs WHERE status < 3 AND status = 0 AND client IS ? ORDER BY n LIMIT 1) RETURNING *`,
        [at, at, client],
      );
      if (row) leased.push(row);
    }
    return leased;
  }

  #progress(run: RunUpdate, reserved: number, outgrown: boolean): WriteAnswers['progress'] {
    const held = this.#run(
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
    if (held) this.#keepChunks(run);
    return outgrown ? this.#trimHistory(run.n) : true;
  }

  #finish(run: RunUpdate): boolean {
    // The last chunk goes into the row: most runs then have no row of events at all.
    const tail = run.chunks.at(-1)?.body ?? null;
    const held = this.#run(
      `UPDATE runs SET status = ?, progress = ?, message = ?, result = ?, error = ?, seq = ?, at = ?, tail = ?
       WHERE n = ? AND fence = ? AND status < 3`,
      [run.status, run.progress, run.message, run.result, run.error, run.seq, run.at, tail, run.n, run.fence],
    );
    if (held && run.chunks.length > 1) {
      this.#keepChunks({ ...run, chunks: run.chunks.slice(0, -1) });
      this.#trimHistory(run.n);
    }
    this.ended += held;
    return held > 0;
  }

  #release(run: RunUpdate, death: boolean): WriteAnswers['release'] {
    const held = this.#get(
      `UPDATE runs SET status = ?, progress = ?, message = ?, result = ?, error = ?, seq = ?, at = ?,
         fence = fence + 1, reserved = NULL, deaths = deaths + ?
       WHERE n = ? AND fence = ? AND status < 3 RETURNING *`,
      [
        run.status,
        run.progress,
        run.message,
        run.result,
        run.error,
        run.seq,
        run.at,
        death ? 1 : 0,
        run.n,
        run.fence,
      ],
    );
    if (!held) return undefined;
    this.#keepChunks(run);
    // A cancel that was accepted while the lease was ending must not be forgotten with it.
    if (held.cancel === 1) return this.#endWaiting(held.id as string, run.at);
    this.#waiting.add(held.client as string | null);
    return held;
  }

  /** Ends a run that waits; undefined when it does not. */
  #endWaiting(id: string, at: number): Row | undefined {
    const ended = this.#get(
      'UPDATE runs SET status = ?, seq = seq + 1, at = ? WHERE id = ? AND status = 0 RETURNING *',
      [cancelled, at, id],
    );
    if (ended) this.ended++;
    return ended;
  }

  #cancel(id: string, at: number): WriteAnswers['cancel'] {
    const ended = this.#endWaiting(id, at);
    if (ended) {
      this.#waiting.remove(ended.client as string | null);
      return { row: ended, cancelled: true };
    }
    this.#run('UPDATE runs SET cancel = 1 WHERE id = ? AND status < 3', [id]);
    const row = this.#row(id);
    return row && { row, cancelled: false };
  }

  #keepChunks(run: RunUpdate): void {
    for (const { seq, last, count, body } of run.chunks) {
      this.#run('INSERT INTO events (n, seq, last, count, bytes, body) VALUES (?, ?, ?, ?, ?, ?)', [
        run.n,
        seq,
        last,
        count,
        Buffer.byteLength(body),
        body,
      ]);
    }
  }

  /** Lets go of the oldest events of a run until its history is within its budget again. */
  #trimHistory(n: number): { count: number; bytes: number } {
    const total = this.#get('SELECT sum(count) AS count, sum(bytes) AS bytes FROM events WHERE n = ?', [n]);
    let count = (total?.count as number | null) ?? 0;
    let bytes = (total?.bytes as number | null) ?? 0;
    if (count <= historyEvents && bytes <= historyBytes) return { count, bytes };
    const row = this.#get('SELECT * FROM runs WHERE n = ?', [n]) as Row;
    // Down to nine tenths, so that not every write has to come here.
    const chunks = this.#all('SELECT * FROM events WHERE n = ? AND trimmed = 0 ORDER BY seq', [n]);
    for (const chunk of chunks.slice(0, -1)) {
      if (count <= historyEvents * 0.9 && bytes <= historyBytes * 0.9) break;
      const previous = this.#get(
        'SELECT body FROM events WHERE n = ? AND seq < ? ORDER BY seq DESC LIMIT 1',
        [n, chunk.seq as number],
      );
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
        this.#run(
          'UPDATE events SET seq = ?, last = ?, count = ?, bytes = ?, body = ?, trimmed = 1 WHERE n = ? AND seq = ?',
          [kept.seq, kept.last, kept.count, size, kept.body, n, chunk.seq as number],
        );
      } else {
        this.#run('DELETE FROM events WHERE n = ? AND seq = ?', [n, chunk.seq as number]);
      }
    }
    return { count, bytes };
  }

  answer(operation: ReadOperation): ReadAnswers[ReadOperation['op']] {
    switch (operation.op) {
      case 'read':
        return this.#row(operation.id);
      case 'list':
        return this.#list(operation);
      case 'history':
        return this.#history(operation.id, operation.since);
    }
  }

  #row(id: string): Row | undefined {
    return this.#get(`SELECT ${shown} FROM runs WHERE id = ?`, [id]);
  }

  #list(query: Extract<ReadOperation, { op: 'list' }>): Row[] {
    const { where, params, order } = selection(query);
    const sized = this.#all(
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
    return this.#all(`SELECT ${shown} FROM runs WHERE ${where} ORDER BY ${order} LIMIT ?`, [
      ...params,
      limit,
    ]);
  }

  #history(id: string, since: number): ReadAnswers['history'] {
    const row = this.#get(`SELECT ${shown}, tail FROM runs WHERE id = ?`, [id]);
    if (!row) return undefined;
    const bodies: string[] = [];
    const chunks = this.#all(
      `SELECT last, count, body FROM events
       WHERE n = ? AND seq >= coalesce((SELECT max(seq) FROM events WHERE n = ? AND seq <= ?), 0) ORDER BY seq LIMIT ?`,
      [row.n as number, row.n as number, since + 1, chunkEvents],
    );
    let count = 0;
    for (const chunk of chunks) {
      if (count >= chunkEvents) return { row, bodies, more: true };
      if ((chunk.last as number) <= since) continue;
      bodies.push(chunk.body as string);
      count += chunk.count as number;
    }
    return { row, bodies, more: chunks.length === chunkEvents };
  }

  /** Finished runs in the store. A scan of an index: once, not on the way to listening. */
  countFinished(): number {
    const all = this.#get('SELECT count(*) AS count FROM runs', [])?.count as number;
    return all - (this.#get('SELECT count(*) AS count FROM runs WHERE status < 3', [])?.count as number);
  }

  /** The oldest runs after `n`, in the order of acceptance. */
  oldest(after: number, limit: number): Row[] {
    return this.#all('SELECT n, status, at, created_at FROM runs WHERE n > ? ORDER BY n LIMIT ?', [
      after,
      limit,
    ]);
  }

  /** Deletes runs with all that belongs to them. */
  deleteRuns(ns: readonly number[]): void {
    this.#prepare('BEGIN IMMEDIATE').run();
    try {
      for (const n of ns) {
        this.#run('DELETE FROM events WHERE n = ?', [n]);
        this.#run('DELETE FROM runs WHERE n = ?', [n]);
      }
      this.#prepare('COMMIT').run();
    } catch (error) {
      this.#rollback();
      throw error;
    }
  }

  /** Changes when another connection has committed. */
  dataVersion(): number {
    return this.#get('PRAGMA data_version', [])?.data_version as number;
  }

  close(): void {
    this.#database.close();
  }

  #prepare(sql: string): Statement {
    let statement = this.#statements.get(sql);
    if (!statement) {
      statement = this.#database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #run(sql: string, params: SqlValue[]): number {
    return this.#prepare(sql).run(params);
  }

  #get(sql: string, params: SqlValue[]): Row | undefined {
    return this.#prepare(sql).get(params);
  }

  #all(sql: string, params: SqlValue[]): Row[] {
    return this.#prepare(sql).all(params);
  }
}
