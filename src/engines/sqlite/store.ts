/**
 * The database and every statement that touches it. Synchronous: it lives in the store thread.
 */
import { join } from 'node:path';
import type { Match, ScopeMode } from '../../engine.ts';
import { type Database, openDatabase, type Row, type SqlValue } from './driver.ts';
import { HistoryTable } from './historyTable.ts';
import { KeyTable } from './keyTable.ts';
import { migrate } from './migrations.ts';
import { ModeTable } from './modeTable.ts';
import type {
  Accepted,
  NewRun,
  ReadAnswers,
  ReadOperation,
  Release,
  RunUpdate,
  StoredRun,
  StoreSettings,
  WriteAnswers,
  WriteOperation,
} from './protocol.ts';
import { ScheduleTable } from './scheduleTable.ts';
import { matching, selection } from './selection.ts';
import { Statements } from './statements.ts';
import { databaseFile, insertToken, revokeToken } from './tokens.ts';
import { type Place, WaitingRuns } from './waitingRuns.ts';

// `status < 3` stands in every query for active runs, next to what it already implies: SQLite uses a partial index only for a
// query that repeats the index's own condition (https://www.sqlite.org/partialindex.html).

/** What reading a run takes: not its input, which can be large and is for its attempts only. */
const shown = `n, id, state, task, client, status, progress, message, result, error, attempt, seq, at,
  created_at, started_at, priority, key, run_at, due_at, retry_of`;

/** A list of runs is cut short before it holds more than this of results. */
const listBytes = 16 * 1024 * 1024;

/** Of runs whose time has come, or has run out, so many in one commit. */
const duePerCommit = 1000;

/** Of a larger batch nobody asks where each of its runs stands. */
const batchToldOf = 100;

const pending = 0;
const starting = 1;
const failed = 4;
const cancelled = 5;

export class Store {
  readonly #database: Database;
  readonly #sql: Statements;
  readonly #history: HistoryTable;
  readonly #keys: KeyTable;
  readonly #schedules: ScheduleTable;
  readonly #modes: ModeTable;
  readonly #waiting: WaitingRuns;
  /** No run is due, or expires, before this time. */
  #nextDue = Number.NEGATIVE_INFINITY;
  /** When was last looked for runs that may begin. */
  #lookedAt = Number.POSITIVE_INFINITY;
  /** Runs that ended since the store was opened. */
  ended = 0;

  private constructor(database: Database, waiting: WaitingRuns) {
    this.#database = database;
    this.#sql = new Statements(database);
    this.#history = new HistoryTable(this.#sql);
    this.#keys = new KeyTable(this.#sql);
    this.#schedules = new ScheduleTable(this.#sql);
    this.#modes = new ModeTable(this.#sql);
    this.#waiting = waiting;
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
    const store = new Store(database, new WaitingRuns(settings.limits, settings.threads));
    store.#load(settings);
    return store;
  }

  get database(): Database {
    return this.#database;
  }

  /** Runs that are not leased and have not ended. */
  pending(): number {
    return this.#sql.get('SELECT count(*) AS count FROM runs WHERE status < 3 AND status = 0')
      ?.count as number;
  }

  lastN(): number {
    return (this.#sql.get('SELECT max(n) AS n FROM runs')?.n as number | null) ?? 0;
  }

  /** Runs that were leased when the process died. */
  interrupted(): Row[] {
    return this.#sql.all('SELECT * FROM runs WHERE status < 3 AND status IN (1, 2) ORDER BY n');
  }

  /** Runs the operations as one commit: on disk when this returns, undone when it throws. */
  commit(operations: readonly WriteOperation[]): WriteAnswers[WriteOperation['op']][] {
    const { ended } = this;
    this.#sql.run('BEGIN IMMEDIATE');
    try {
      const answers = operations.map((operation) => this.#write(operation));
      this.#sql.run('COMMIT');
      this.#waiting.committed();
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
    this.#waiting.rolledBack();
    this.#nextDue = Number.NEGATIVE_INFINITY;
  }

  /** What waits, what is paused, and when attempts of tasks with a rate began. */
  #load({ limits, openedAt }: StoreSettings): void {
    const lines = this.#sql.all(
      `SELECT state, task, client, key, priority, json_group_array(n) AS ns FROM runs
       WHERE status < 3 AND status = 0 AND due_at IS NULL GROUP BY state, task, client, key, priority`,
    );
    for (const line of lines) {
      const ns = (JSON.parse(line.ns as string) as number[]).sort((a, b) => a - b);
      this.#waiting.load(ns, placeOf(line), openedAt);
    }
    this.readModes();
    for (const { state, task, rateLimit } of limits) {
      if (rateLimit === null) continue;
      const begun = this.#sql.all('SELECT at FROM begun WHERE state = ? AND task = ? ORDER BY at', [
        state,
        task,
      ]);
      this.#waiting.restoreBegun(
        state,
        task,
        begun.map(({ at }) => at as number),
      );
    }
    this.#waiting.committed();
  }

  /** Reads the modes anew: another process may have set them. */
  readModes(): ScopeMode[] {
    const modes = this.#modes.all();
    this.#waiting.replaceModes(modes);
    return modes;
  }

  #write(operation: WriteOperation): WriteAnswers[WriteOperation['op']] {
    switch (operation.op) {
      case 'accept':
        return this.#accept(operation.runs);
      case 'lease':
        return this.#lease(operation.max, operation.at);
      case 'progress':
        return this.#progress(operation.run, operation.reserved, operation.outgrown);
      case 'finish':
        return this.#finish(operation.run);
      case 'release':
        return this.#release(operation.run, operation.because, operation.dueAt);
      case 'cancel':
        return this.#cancel(operation.id, operation.at);
      case 'cancelAll':
        return this.#cancelAll(operation.match, operation.limit, operation.at);
      case 'setMode':
        this.#modes.set(operation.scope, operation.mode);
        this.#waiting.setMode(operation.scope, operation.mode);
        return this.#modes.all();
      case 'seeSchedules':
        return this.#schedules.see(operation.keys, operation.at);
      case 'occur':
        return this.#occur(operation.key, operation.occurrence, operation.run);
      case 'createToken':
        insertToken(this.#database, operation.token);
        return true;
      case 'revokeToken':
        return revokeToken(this.#database, operation.idOrDigest, operation.at);
    }
  }

  // ---- Accepting

  #accept(runs: readonly NewRun[]): Accepted {
    if (runs.every(({ wish, leased, limited }) => leased && !wish && !limited)) {
      for (const run of runs) this.#insert(run);
      return allNew;
    }
    // Asked of all before any is kept, since a conflict is one for all.
    if (this.#keys.conflicts(runs)) return 'conflict';
    const known = new Map<number, StoredRun>();
    const held = new Set<number>();
    const waiting: NewRun[] = [];
    for (const [place, run] of runs.entries()) {
      const holder = this.#keys.holder(run);
      if (typeof holder === 'number') {
        this.#keys.remember(run, holder);
        known.set(place, this.#stored(this.#rowOf(holder), run.at));
        continue;
      }
      const leased = run.leased && (!run.limited || this.#beginAtOnce(run));
      if (run.leased && !leased) held.add(place);
      this.#insert({ ...run, leased });
      this.#keys.take(run);
      if (!leased) waiting.push(run);
    }
    if (runs.length > batchToldOf) return { known, held, waiting: [] };
    const ahead = waiting.map((run) =>
      isDelayed(run) ? null : this.#waiting.ahead(run.n, placeOfNew(run), run.at),
    );
    return { known, held, waiting: ahead };
  }

  /** A run of a task with limits begins as it is accepted, where they have room: nobody who waits may begin, or it would not be asked. */
  #beginAtOnce(run: NewRun): boolean {
    if (!this.#waiting.begin(run.n, placeOfNew(run), run.at)) return false;
    this.#countBegun(run.state, run.task, run.at);
    return true;
  }

  #occur(key: string, occurrence: number, run: NewRun | null): WriteAnswers['occur'] {
    if (this.#schedules.hasOccurred(key, occurrence)) return 'occurred';
    if (!run) {
      this.#schedules.leaveOut(key, occurrence);
      return 'occurred';
    }
    const accepted = this.#accept([run]);
    const known = accepted === 'conflict' ? undefined : accepted.known.get(0);
    this.#schedules.occur(key, occurrence, (known?.row.id as string | undefined) ?? run.id);
    return accepted;
  }

  #insert(run: NewRun): void {
    const { n, id, state, task, client, input, leased, at, wish } = run;
    const values: SqlValue[] = leased
      ? [n, id, state, task, client, starting, 1, 2, at, input, at, at, 1]
      : [n, id, state, task, client, pending, 0, 1, at, input, at, null, 0];
    if (!wish) {
      this.#sql.run(
        `INSERT INTO runs (n, id, state, task, client, status, attempt, seq, at, input, created_at, started_at, fence)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        values,
      );
    } else {
      const dueAt = isDelayed(run) ? wish.runAt : null;
      this.#sql.run(
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
      if (dueAt !== null) this.#nextDue = Math.min(this.#nextDue, dueAt);
      if (wish.expiresAt !== null) this.#nextDue = Math.min(this.#nextDue, wish.expiresAt);
    }
    if (!leased && !isDelayed(run)) this.#waiting.add(n, placeOfNew(run), at);
  }

  // ---- Leasing

  /** Leases up to `max` runs, whose turn it is at `at`; before that, what is due begins to wait for its turn. */
  #lease(max: number, at: number): WriteAnswers['lease'] {
    // The clock was set back, in this life or between this and the one before: what has begun has not done so in the future.
    if (at < this.#lookedAt) this.#sql.run('UPDATE begun SET at = ? WHERE at > ?', [at, at]);
    this.#lookedAt = at;
    const expired = at >= this.#nextDue ? this.#lookAtTime(at) : [];
    // More expire than fit into one commit: none of those may begin, so nothing does before they have ended.
    if (expired.length === duePerCommit) return { leased: [], expired, nextAt: at };
    const leased: Row[] = [];
    while (leased.length < max) {
      const n = this.#waiting.take(at);
      if (n === undefined) break;
      const row = this.#sql.get(
        `UPDATE runs SET status = 1, attempt = attempt + 1, seq = seq + 1, at = ?, started_at = coalesce(started_at, ?),
           fence = fence + 1, progress = 0, message = NULL, result = NULL, error = NULL, expires_at = NULL
         WHERE n = ? AND status = 0 RETURNING *`,
        [at, at, n],
      );
      if (!row) {
        this.#waiting.ended(n);
        continue;
      }
      this.#countBegun(row.state as string, row.task as string, at);
      leased.push(row);
    }
    const opens = this.#waiting.rateOpensAt(at);
    const nextAt = Math.min(this.#nextDue, opens ?? Number.POSITIVE_INFINITY);
    return { leased, expired, nextAt: Number.isFinite(nextAt) ? nextAt : null };
  }

  /** Ends what was to begin by now and has not, and lets what is due wait for its turn. */
  #lookAtTime(at: number): Row[] {
    const late = this.#sql.all('SELECT * FROM runs WHERE expires_at <= ? ORDER BY expires_at LIMIT ?', [
      at,
      duePerCommit,
    ]);
    const expired = late.map((row) => this.#expire(row, at)).filter((row) => row !== undefined);
    const due = this.#sql.all(
      'SELECT n, state, task, client, key, priority FROM runs WHERE due_at <= ? ORDER BY due_at LIMIT ?',
      [at, duePerCommit],
    );
    for (const row of due) {
      this.#sql.run('UPDATE runs SET due_at = NULL WHERE n = ?', [row.n as number]);
      this.#waiting.add(row.n as number, placeOf(row), at);
    }
    const dueAt = this.#sql.get('SELECT min(due_at) AS at FROM runs WHERE due_at IS NOT NULL')?.at;
    const endsAt = this.#sql.get('SELECT min(expires_at) AS at FROM runs WHERE expires_at IS NOT NULL')?.at;
    this.#nextDue = Math.min(
      ...[dueAt, endsAt].map((time) => (time as number | null) ?? Number.POSITIVE_INFINITY),
    );
    return expired;
  }

  #expire(row: Row, at: number): Row | undefined {
    const waitedMs =
      (row.expires_at as number) - ((row.run_at as number | null) ?? (row.created_at as number));
    const error = { name: 'ExpiredError', message: `The run had not begun ${waitedMs} ms after it was due.` };
    const ended = this.#sql.get(
      `UPDATE runs SET status = ?, error = ?, seq = seq + 1, at = ?, due_at = NULL, expires_at = NULL
       WHERE n = ? AND status = 0 RETURNING *`,
      [failed, JSON.stringify(error), at, row.n as number],
    );
    this.#waiting.remove(row.n as number, placeOf(row), at);
    if (ended) this.ended++;
    return ended;
  }

  /** For the rate limit of its task, which must hold through a restart. */
  #countBegun(state: string, task: string, at: number): void {
    const spanMs = this.#waiting.rateSpanMs(state, task);
    if (spanMs === undefined) return;
    this.#sql.run('DELETE FROM begun WHERE state = ? AND task = ? AND at <= ?', [state, task, at - spanMs]);
    this.#sql.run('INSERT INTO begun (state, task, at) VALUES (?, ?, ?)', [state, task, at]);
  }

  // ---- What attempts say, and their ends

  #progress(run: RunUpdate, reserved: number, outgrown: boolean): WriteAnswers['progress'] {
    const held = this.#sql.run(
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
    if (held) this.#history.keep(run);
    return outgrown ? this.#history.trim(run.n) : true;
  }

  #finish(run: RunUpdate): boolean {
    // The last chunk goes into the row: most runs then have no row of events at all.
    const tail = run.chunks.at(-1)?.body ?? null;
    const held = this.#sql.run(
      `UPDATE runs SET status = ?, progress = ?, message = ?, result = ?, error = ?, seq = ?, at = ?, tail = ?
       WHERE n = ? AND fence = ? AND status < 3`,
      [run.status, run.progress, run.message, run.result, run.error, run.seq, run.at, tail, run.n, run.fence],
    );
    if (held && run.chunks.length > 1) {
      this.#history.keep({ n: run.n, chunks: run.chunks.slice(0, -1) });
      this.#history.trim(run.n);
    }
    if (held) this.#waiting.ended(run.n);
    this.ended += held;
    return held > 0;
  }

  #release(run: RunUpdate, because: Release, dueAt: number | null): WriteAnswers['release'] {
    const held = this.#sql.get(
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
    this.#waiting.ended(run.n);
    this.#history.keep(run);
    // A cancel that was accepted while the lease was ending must not be forgotten with it.
    if (held.cancel === 1) return this.#endWaiting(held.id as string, run.at);
    if (dueAt === null) this.#waiting.add(run.n, placeOf(held), run.at);
    else this.#nextDue = Math.min(this.#nextDue, dueAt);
    return held;
  }

  // ---- Cancelling

  /** Ends a run that waits; undefined when it does not. */
  #endWaiting(id: string, at: number): Row | undefined {
    const ended = this.#sql.get(
      `UPDATE runs SET status = ?, error = NULL, seq = seq + 1, at = ?, due_at = NULL, expires_at = NULL
       WHERE id = ? AND status = 0 RETURNING *`,
      [cancelled, at, id],
    );
    if (!ended) return undefined;
    this.#waiting.remove(ended.n as number, placeOf(ended), at);
    this.ended++;
    return ended;
  }

  #cancel(id: string, at: number): WriteAnswers['cancel'] {
    const ended = this.#endWaiting(id, at);
    if (ended) return { row: ended, cancelled: true };
    this.#sql.run('UPDATE runs SET cancel = 1 WHERE id = ? AND status < 3', [id]);
    const row = this.#row(id);
    return row && { row, cancelled: false };
  }

  #cancelAll(match: Match, limit: number, at: number): WriteAnswers['cancelAll'] {
    const { where, params } = matching(match);
    const ended: Row[] = [];
    if (match.active !== 'running') {
      const delayed = this.#sql.all(
        `SELECT n FROM runs WHERE due_at IS NOT NULL AND status = 0 AND ${where} LIMIT ?`,
        [...params, limit],
      );
      const ns = [...delayed.map(({ n }) => n as number), ...this.#waiting.matching(match, limit)];
      for (const n of ns.slice(0, limit)) {
        const row = this.#endWaiting(this.#rowOf(n).id as string, at);
        if (row) ended.push(row);
      }
    }
    if (match.active === 'pending') return { ended, leased: [], more: ended.length === limit };
    const leased = this.#sql.all(
      `UPDATE runs SET cancel = 1 WHERE status < 3 AND status IN (1, 2) AND ${where} RETURNING id`,
      params,
    );
    return { ended, leased: leased.map(({ id }) => id as string), more: ended.length === limit };
  }

  // ---- Reading

  answer(operation: ReadOperation): ReadAnswers[ReadOperation['op']] {
    switch (operation.op) {
      case 'read': {
        const row = this.#row(operation.id);
        return row && this.#stored(row, operation.at);
      }
      case 'list':
        return this.#list(operation).map((row) => this.#stored(row, operation.at));
      case 'history':
        return this.#page(operation.id, operation.since);
      case 'input': {
        const row = this.#sql.get('SELECT input FROM runs WHERE id = ?', [operation.id]);
        return row && (row.input as string | null);
      }
      case 'standings':
        return operation.ids.flatMap((id) => {
          const row = this.#row(id);
          return row?.status === pending ? [this.#stored(row, operation.at)] : [];
        });
    }
  }

  #row(id: string): Row | undefined {
    return this.#sql.get(`SELECT ${shown} FROM runs WHERE id = ?`, [id]);
  }

  #rowOf(n: number): Row {
    return this.#sql.get(`SELECT ${shown} FROM runs WHERE n = ?`, [n]) as Row;
  }

  #stored(row: Row, at: number): StoredRun {
    if (row.status !== pending) return { row };
    const waits = row.due_at === null;
    return { row, ahead: waits ? this.#waiting.ahead(row.n as number, placeOf(row), at) : null };
  }

  #list(query: Extract<ReadOperation, { op: 'list' }>): Row[] {
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
    return this.#sql.all(`SELECT ${shown} FROM runs WHERE ${where} ORDER BY ${order} LIMIT ?`, [
      ...params,
      limit,
    ]);
  }

  #page(id: string, since: number): ReadAnswers['history'] {
    const row = this.#sql.get(`SELECT ${shown}, tail FROM runs WHERE id = ?`, [id]);
    return row && { row, ...this.#history.page(row.n as number, since) };
  }

  // ---- Retention

  /** Finished runs in the store. A scan of an index: once, not on the way to listening. */
  countFinished(): number {
    const all = this.#sql.get('SELECT count(*) AS count FROM runs', [])?.count as number;
    return all - (this.#sql.get('SELECT count(*) AS count FROM runs WHERE status < 3', [])?.count as number);
  }

  /** The oldest runs after `n`, in the order of acceptance. `keyed`: a key still stands for it. */
  oldest(after: number, limit: number, now: number): Row[] {
    return this.#sql.all(
      `SELECT n, status, at, created_at, EXISTS (SELECT 1 FROM keys WHERE keys.n = runs.n AND until > ?) AS keyed
       FROM runs WHERE n > ? ORDER BY n LIMIT ?`,
      [now, after, limit],
    );
  }

  /** Deletes runs with all that belongs to them. */
  deleteRuns(ns: readonly number[]): void {
    this.#sql.run('BEGIN IMMEDIATE');
    try {
      for (const n of ns) {
        this.#history.forget(n);
        this.#keys.forget(n);
        this.#sql.run('DELETE FROM runs WHERE n = ?', [n]);
      }
      this.#sql.run('COMMIT');
    } catch (error) {
      this.#rollback();
      throw error;
    }
  }

  /** Changes when another connection has committed. */
  dataVersion(): number {
    return this.#sql.get('PRAGMA data_version', [])?.data_version as number;
  }

  close(): void {
    this.#database.close();
  }
}

const allNew: Accepted = { known: new Map(), held: new Set(), waiting: [] };

function isDelayed({ wish, at }: NewRun): boolean {
  return wish !== undefined && wish.runAt !== null && wish.runAt > at;
}

function placeOf(row: Row): Place {
  return {
    state: row.state as string,
    task: row.task as string,
    client: row.client as string | null,
    key: row.key as string | null,
    priority: row.priority as number,
  };
}

function placeOfNew({ state, task, client, wish }: NewRun): Place {
  return { state, task, client, key: wish?.key ?? null, priority: wish?.priority ?? 0 };
}
