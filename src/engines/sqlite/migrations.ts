/**
 * The database's shape, as numbered steps: `user_version` says how many have been taken. Append only.
 */
import { StartError } from '../../errors.ts';
import type { Database } from './driver.ts';

const migrations: readonly string[] = [
  `
  -- One row a run. n is the order of acceptance. JSON columns hold JSON text (libsql cuts raw text at a NUL).
  CREATE TABLE runs (
    n          INTEGER PRIMARY KEY,
    id         TEXT    NOT NULL UNIQUE,
    state      TEXT    NOT NULL,
    task       TEXT    NOT NULL,
    client     TEXT,                         -- id of the client token; NULL: direct access
    status     INTEGER NOT NULL,             -- place in taskStatuses; from 3 on terminal
    progress   REAL    NOT NULL DEFAULT 0,
    message    TEXT,                         -- JSON
    result     TEXT,                         -- JSON
    error      TEXT,                         -- JSON
    attempt    INTEGER NOT NULL,
    seq        INTEGER NOT NULL,             -- the latest event
    at         INTEGER NOT NULL,             -- when it happened (ms)
    input      TEXT,                         -- JSON; NULL: no body
    created_at INTEGER NOT NULL,
    started_at INTEGER,                      -- first lease
    fence      INTEGER NOT NULL DEFAULT 0,   -- rises with each lease: a stale holder's writes change no row
    reserved   INTEGER,                      -- no event beyond this seq has been shown to anybody
    deaths     INTEGER NOT NULL DEFAULT 0,   -- attempts whose process died
    cancel     INTEGER NOT NULL DEFAULT 0,   -- a cancel was accepted while it ran
    tail       TEXT                          -- the last chunk of its history, committed with its end
  ) STRICT;
  CREATE INDEX runs_active ON runs (status, client, n) WHERE status < 3;
  CREATE INDEX runs_client ON runs (client, state, n) WHERE client IS NOT NULL;
  CREATE INDEX runs_ended  ON runs (client, state, at) WHERE client IS NOT NULL AND status >= 3;

  -- History beyond what the row itself implies, in chunks: see history.ts.
  CREATE TABLE events (
    n       INTEGER NOT NULL,
    seq     INTEGER NOT NULL,                -- of the chunk's first event
    last    INTEGER NOT NULL,                -- of its last
    count   INTEGER NOT NULL,
    bytes   INTEGER NOT NULL,
    trimmed INTEGER NOT NULL DEFAULT 0,      -- only its status changes are left
    body    TEXT    NOT NULL,
    PRIMARY KEY (n, seq)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE tokens (
    id         TEXT    PRIMARY KEY,
    digest     TEXT    NOT NULL UNIQUE,
    label      TEXT,
    states     TEXT,                         -- JSON list; NULL: all
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
  ) STRICT;
  `,
  `
  ALTER TABLE runs ADD COLUMN priority   INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE runs ADD COLUMN key        TEXT;    -- for concurrencyPerKey
  ALTER TABLE runs ADD COLUMN run_at     INTEGER; -- as the caller wanted it: not before. NULL: at once
  ALTER TABLE runs ADD COLUMN due_at     INTEGER; -- while it waits for a time, and not for its turn
  ALTER TABLE runs ADD COLUMN expires_at INTEGER; -- not begun by then, it ends in Error; NULL once it has begun
  ALTER TABLE runs ADD COLUMN timeout_ms INTEGER; -- of each attempt, as the caller wants it
  ALTER TABLE runs ADD COLUMN failures   INTEGER NOT NULL DEFAULT 0; -- attempts that failed: its retries count these
  ALTER TABLE runs ADD COLUMN retry_of   TEXT;
  CREATE INDEX runs_due      ON runs (due_at) WHERE due_at IS NOT NULL;
  CREATE INDEX runs_expiring ON runs (expires_at) WHERE expires_at IS NOT NULL;

  -- Keys under which runs were started. A key without a time holds as long as its run is active.
  CREATE TABLE keys (
    kind        INTEGER NOT NULL,            -- 0: idempotency, 1: unique
    state       TEXT    NOT NULL,
    task        TEXT    NOT NULL,
    client      TEXT    NOT NULL,            -- '': direct access
    key         TEXT    NOT NULL,
    n           INTEGER NOT NULL,
    fingerprint TEXT,
    until       INTEGER,
    PRIMARY KEY (kind, state, task, client, key)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX keys_run ON keys (n);

  -- When attempts of tasks with a rate limit began, as far back as the limit reaches.
  CREATE TABLE begun (
    state TEXT    NOT NULL,
    task  TEXT    NOT NULL,
    at    INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX begun_task ON begun (state, task, at);

  CREATE TABLE schedules (
    key     TEXT    PRIMARY KEY,             -- all that the schedule says, as JSON
    since   INTEGER NOT NULL,                -- occurrences up to here have had their run, or will have none
    last_at INTEGER,
    last_id TEXT
  ) STRICT;

  -- What an admin has paused or drained; task '': the whole state.
  CREATE TABLE modes (
    state TEXT NOT NULL,
    task  TEXT NOT NULL,
    mode  TEXT NOT NULL,
    PRIMARY KEY (state, task)
  ) STRICT, WITHOUT ROWID;
  `,
  `
  -- What the latest server serves, in its order.
  CREATE TABLE served (
    place INTEGER PRIMARY KEY,
    state TEXT NOT NULL,
    task  TEXT NOT NULL
  ) STRICT;
  `,
  `
  -- What an admin wants to be cancelled. Numbers are never used again: a server knows by them what it has heard of.
  CREATE TABLE cancel_orders (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    matching TEXT    NOT NULL,               -- JSON
    up_to    INTEGER NOT NULL,               -- the latest run when it was given: later ones are not meant
    given_at INTEGER NOT NULL,
    ended    INTEGER NOT NULL DEFAULT 0,     -- runs that waited, so far
    asked    INTEGER NOT NULL DEFAULT 0,     -- runs at work
    done_at  INTEGER
  ) STRICT;
  `,
];

/** Brings a database up to date, each step in a transaction of its own. */
export function migrate(database: Database, path: string): void {
  const version = Number(database.prepare('PRAGMA user_version').get()?.user_version);
  if (version > migrations.length) {
    throw new StartError(
      `${path} was written by a newer spyglass-tasks (its version is ${version}, this one knows ${migrations.length}). ` +
        'Update spyglass-tasks, or name another folder with --data.',
    );
  }
  for (let step = version; step < migrations.length; step++) {
    database.exec('BEGIN IMMEDIATE');
    try {
      // Somebody else (a token command, a starting server) may have taken the step while this one waited.
      if (Number(database.prepare('PRAGMA user_version').get()?.user_version) === step) {
        database.exec(migrations[step] as string);
        database.exec(`PRAGMA user_version = ${step + 1}`);
      }
      database.exec('COMMIT');
    } catch (error) {
      database.exec('ROLLBACK');
      throw error;
    }
  }
}
