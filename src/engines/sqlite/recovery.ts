/**
 * Takes back the runs that were leased when the process died: each waits for another attempt, or has ended.
 */
import type { Policies } from '../../policy.ts';
import type { RunEvent } from '../../run.ts';
import type { Row } from './driver.ts';
import { rowSnapshot } from './history.ts';
import { LiveRun, leaseOf } from './liveRun.ts';
import type { Progress } from './progress.ts';
import type { StoreClient } from './storeClient.ts';
import { verdictOnLost } from './verdict.ts';

export interface RecoveryParts {
  policies: Policies;
  store: StoreClient;
  progress: Progress;
  emit(event: RunEvent): void;
  /** A run waits again, or has ended, as its row says. */
  released(row: Row): void;
}

export class Recovery {
  readonly #parts: RecoveryParts;
  /** Not taken back yet, by id. */
  readonly #lost = new Map<string, Row>();

  constructor(parts: RecoveryParts) {
    this.#parts = parts;
  }

  open(lost: readonly Row[]): void {
    for (const row of lost) this.#lost.set(row.id as string, row);
  }

  /** A cancel of one of them was stored. */
  cancel(id: string): void {
    const row = this.#lost.get(id);
    if (row) row.cancel = 1;
  }

  async run(): Promise<void> {
    const rows = [...this.#lost.values()];
    this.#lost.clear();
    await Promise.all(rows.map((row) => this.#takeBack(row)));
  }

  async #takeBack(row: Row): Promise<void> {
    const { store, progress, policies, emit, released } = this.#parts;
    const run = new LiveRun(progress, leaseOf(row), rowSnapshot(row));
    run.skipShown((row.reserved as number | null) ?? 0);
    run.cancelRequested = row.cancel === 1;
    const { outcome, back } = verdictOnLost(run, policies.of(run.state, run.task));
    const { update, events } = run.end(outcome, back);
    if (back) {
      const waiting = await store.write({
        op: 'release',
        run: update,
        because: back.because,
        dueAt: back.dueAt,
      });
      if (waiting) released(waiting);
    } else if (await store.write({ op: 'finish', run: update })) {
      // Who waits for it may have come before: a full disk takes this end late. What it said before its death is in its history.
      emit(events.at(-1) as RunEvent);
    }
  }
}
