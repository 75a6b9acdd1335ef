/**
 * The statements of one database, each prepared once.
 */
import type { Database, Row, SqlValue, Statement } from './driver.ts';

export class Statements {
  readonly #database: Database;
  readonly #prepared = new Map<string, Statement>();

  constructor(database: Database) {
    this.#database = database;
  }

  /** The number of rows changed. */
  run(sql: string, params: SqlValue[] = []): number {
    return this.#prepare(sql).run(params);
  }

  get(sql: string, params: SqlValue[] = []): Row | undefined {
    return this.#prepare(sql).get(params);
  }

  all(sql: string, params: SqlValue[] = []): Row[] {
    return this.#prepare(sql).all(params);
  }

  #prepare(sql: string): Statement {
    let statement = this.#prepared.get(sql);
    if (!statement) {
      statement = this.#database.prepare(sql);
      this.#prepared.set(sql, statement);
    }
    return statement;
  }
}
