/**
 * Client tokens in the store's database: one table, read whole, since there are few.
 */
import type { ClientToken, TokenStore } from '../../token.ts';
import { openOrMakeDatabase } from './dataFolder.ts';
import type { Database, Row, SqlValue } from './driver.ts';

export function readTokens(database: Database): ClientToken[] {
  return database.prepare('SELECT * FROM tokens ORDER BY created_at, id').all().map(fromRow);
}

export function insertToken(database: Database, token: ClientToken): void {
  const { id, digest, label, states, createdAt, expiresAt, revokedAt } = token;
  const values: SqlValue[] = [
    id,
    digest,
    label,
    states && JSON.stringify(states),
    createdAt,
    expiresAt,
    revokedAt,
  ];
  database
    .prepare(
      'INSERT INTO tokens (id, digest, label, states, created_at, expires_at, revoked_at) VALUES (?, ?, ?, ?, ?, ?, ?)',
    )
    .run(values);
}

/** Revoking again changes nothing: the first time stays. */
export function revokeToken(database: Database, idOrDigest: string, now: number): ClientToken | undefined {
  database
    .prepare('UPDATE tokens SET revoked_at = coalesce(revoked_at, ?) WHERE id = ? OR digest = ?')
    .run([now, idOrDigest, idOrDigest]);
  const row = database
    .prepare('SELECT * FROM tokens WHERE id = ? OR digest = ?')
    .get([idOrDigest, idOrDigest]);
  return row && fromRow(row);
}

function fromRow(row: Row): ClientToken {
  return {
    id: row.id as string,
    digest: row.digest as string,
    label: row.label as string | null,
    states: row.states === null ? null : (JSON.parse(row.states as string) as string[]),
    createdAt: row.created_at as number,
    expiresAt: row.expires_at as number | null,
    revokedAt: row.revoked_at as number | null,
  };
}

/** The tokens opened from outside the server, which may be running on the same data or not. */
export class SqliteTokens implements TokenStore {
  readonly #database: Database;

  private constructor(database: Database) {
    this.#database = database;
  }

  static open(folder: string): SqliteTokens {
    return new SqliteTokens(openOrMakeDatabase(folder));
  }

  find(digest: string): ClientToken | undefined {
    return readTokens(this.#database).find((token) => token.digest === digest);
  }

  onChange(): void {
    // Nobody listens in a process that runs one command.
  }

  async create(token: ClientToken): Promise<void> {
    insertToken(this.#database, token);
  }

  async list(): Promise<ClientToken[]> {
    return readTokens(this.#database);
  }

  async revoke(idOrDigest: string, now: number): Promise<ClientToken | undefined> {
    return revokeToken(this.#database, idOrDigest, now);
  }

  close(): void {
    this.#database.close();
  }
}
