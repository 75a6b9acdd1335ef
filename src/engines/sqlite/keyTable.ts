/**
 * Keys under which a run was started, so that a second start with the same one gets that run: idempotency keys of callers, and
 * unique keys of authors. A key belongs to a task and a client.
 *
 * Nobody takes a key away when its time is over: whoever asks for it then finds it free. It goes with its run.
 */
import { idempotencyMs } from '../../engine.ts';
import type { NewRun } from './protocol.ts';
import type { Statements } from './statements.ts';

const kinds = { idempotency: 0, unique: 1 } as const;

export class KeyTable {
  readonly #statements: Statements;

  constructor(statements: Statements) {
    this.#statements = statements;
  }

  /** The run that holds a key of `run` already; `conflict` when it was started with another input. */
  holder(run: NewRun): number | 'conflict' | undefined {
    const { idempotency, unique } = run.wish ?? {};
    if (idempotency) {
      const held = this.#held('idempotency', run, idempotency.key);
      if (held) return held.fingerprint === idempotency.fingerprint ? held.n : 'conflict';
    }
    return unique && this.#held('unique', run, unique.key)?.n;
  }

  /** Gives the keys of a new run to it. */
  take(run: NewRun): void {
    const { idempotency, unique } = run.wish ?? {};
    if (idempotency) {
      this.#take('idempotency', run, idempotency.key, idempotency.fingerprint, run.at + idempotencyMs);
    }
    if (unique) {
      this.#take('unique', run, unique.key, null, unique.forMs === null ? null : run.at + unique.forMs);
    }
  }

  forget(n: number): void {
    this.#statements.run('DELETE FROM keys WHERE n = ?', [n]);
  }

  #held(
    kind: keyof typeof kinds,
    { state, task, client, at }: NewRun,
    key: string,
  ): { n: number; fingerprint: string | null } | undefined {
    const row = this.#statements.get(
      `SELECT keys.n AS n, fingerprint FROM keys JOIN runs ON runs.n = keys.n
       WHERE kind = ? AND keys.state = ? AND keys.task = ? AND keys.client = ? AND keys.key = ?
         AND CASE WHEN until IS NULL THEN runs.status < 3 ELSE until > ? END`,
      [kinds[kind], state, task, client ?? '', key, at],
    );
    return row && { n: row.n as number, fingerprint: row.fingerprint as string | null };
  }

  #take(
    kind: keyof typeof kinds,
    { n, state, task, client }: NewRun,
    key: string,
    fingerprint: string | null,
    until: number | null,
  ): void {
    this.#statements.run(
      'INSERT OR REPLACE INTO keys (kind, state, task, client, key, n, fingerprint, until) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
      [kinds[kind], state, task, client ?? '', key, n, fingerprint, until],
    );
  }
}
