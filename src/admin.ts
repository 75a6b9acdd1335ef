/**
 * What an admin sees and decides from outside of the server, which may be running on the same data or not.
 */
import type { Match, Mode, Scope, ScopeMode } from './engine.ts';
import type { TaskName } from './servedTasks.ts';
import type { ClientToken } from './token.ts';

/** How far an order to cancel has come. */
export interface CancelProgress {
  /** Runs that waited, and have ended. */
  ended: number;
  /** Runs at work that were asked to stop, by this order first. */
  asked: number;
  isDone: boolean;
}

/** A running server notices within 100 ms what is decided here. */
export interface AdminStore {
  /** What the latest server on this data serves; none before the first. */
  served(): TaskName[];
  /** Whether runs of the scope wait or are at work, also of one that no server has any more. */
  hasActive(scope: Scope): boolean;
  modes(): readonly ScopeMode[];
  setMode(scope: Scope, mode: Mode): void;
  /** Oldest first. */
  tokens(): ClientToken[];
  /**
   * Orders the end of the runs that match, of those accepted so far, and answers with the order's number. The running server carries it
   * out, or the next one before it leases anything.
   */
  orderCancel(match: Match, at: number): number;
  cancelProgress(order: number): CancelProgress;
  /** Whether a server has the data just now. */
  isServerRunning(): boolean;
  close(): void;
}
