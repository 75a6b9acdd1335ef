/**
 * What the operations of the store share: the tables, what waits, and what is remembered between commits.
 */
import type { CancelOrderTable } from './cancelOrderTable.ts';
import type { HistoryTable } from './historyTable.ts';
import type { KeyTable } from './keyTable.ts';
import type { RunTable } from './runTable.ts';
import type { ScheduleTable } from './scheduleTable.ts';
import type { Statements } from './statements.ts';
import type { WaitingRuns } from './waitingRuns.ts';

export interface StoreParts {
  readonly sql: Statements;
  readonly runs: RunTable;
  readonly history: HistoryTable;
  readonly keys: KeyTable;
  readonly schedules: ScheduleTable;
  readonly orders: CancelOrderTable;
  readonly waiting: WaitingRuns;
  readonly memory: StoreMemory;
}

export interface StoreMemory {
  /** No run is due, or expires, before this time. */
  nextDue: number;
  /** When was last looked for runs that may begin; later than any time where that is not known. */
  lookedAt: number;
  /** Runs that ended since the store was opened. */
  ended: number;
}
