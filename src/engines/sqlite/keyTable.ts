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
    const held = unique && this.#held('unique', run, unique.key);
    // Whoever wants that very run done again does not want to be told that it has been.
    return held?.id === run.wish?.retryOf ? undefined : held?.n;
  }

  /** Whether one of them has an idempotency key that was used with another input: before, or by another of them. */
  conflicts(runs: readonly NewRun[]): boolean {
    const fingerprints = new Map<string, string>();
    return runs.some((run) => {
      if (this.holder(run) === 'conflict') return true;
      const { state, task, client, wish } = run;
      if (!wish?.idempotency) return false;
      const { key, fingerprint } = wish.idempotency;
      const name = JSON.stringify([state, task, client, key]);
      const first = fingerprints.get(name) ?? fingerprint;
      fingerprints.set(name, first);
      return first !== fingerprint;
    });
  }

  /** Gives the keys of a new run to it. */
  take(run: NewRun): void {
    this.#takeIdempotency(run, run.n);
    const { unique } = run.wish ?? {};
    if (unique) {
      const mayBeginAt = Math.max(run.at, run.wish?.runAt ?? 0);
      const until = unique.forMs === null ? null : mayBeginAt + unique.forMs;
      this.#take('unique', run, unique.key, run.n, null, until);
    }
  }

  /** A start got the run `n` for its unique key: so it does when it is repeated, whatever has become of the run by then. */
  remember(run: NewRun, n: number): void {
    const { idempotency } = run.wish ?? {};
    if (idempotency && !this.#held('idempotency', run, idempotency.key)) this.#takeIdempotency(run, n);
  }

  #takeIdempotency(run: NewRun, n: number): void {
    const { idempotency } = run.wish ?? {};
    if (!idempotency) return;
    this.#take('idempotency', run, idempotency.key, n, idempotency.fingerprint, run.at + idempotencyMs);
  }

  forget(n: number): void {
    this.#statements.run('DELETE FROM keys WHERE n = ?', [n]);
  }

  #held(
    kind: keyof typeof kinds,
    { state, task, client, at }: NewRun,
    key: string,
  ): { n: number; id: string; fingerprint: string | null } | undefined {
    const row = this.#statements.get(
      `SELECT keys.n AS n, id, fingerprint FROM keys JOIN runs ON runs.n = keys.n
       WHERE kind = ? AND keys.state = ? AND keys.task = ? AND keys.client = ? AND keys.key = ?
         AND CASE WHEN until IS NULL THEN runs.status < 3 ELSE until > ? END`,
      [kinds[kind], state, task, client ?? '', key, at],
    );
    return row && { n: row.n as number, id: row.id as string, fingerprint: row.fingerprint as string | null };
  }

  #take(
    kind: keyof typeof kinds,
    { state, task, client }: NewRun,
    key: string,
    n: number,
    fingerprint: string | null,
    until: number | null,
  ): void {
    this.#statements.run(
      'INSERT OR REPLACE INTO keys (kind, state, task, client, key, n, fingerprint, until) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
      [kinds[kind], state, task, client ?? '', key, n, fingerprint, until],
    );
  }
}
