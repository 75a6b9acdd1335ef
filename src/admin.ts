/**
 * What an admin sees and decides from outside of the server, which may be running on the same data or not.
 */
import type { Mode, Scope, ScopeMode } from './engine.ts';
import type { TaskName } from './servedTasks.ts';

/** A running server notices within 100 ms what is decided here. */
export interface AdminStore {
  /** What the latest server on this data serves; none before the first. */
  served(): TaskName[];
  /** Whether runs of the scope wait or are at work, also of one that no server has any more. */
  hasActive(scope: Scope): boolean;
  modes(): readonly ScopeMode[];
  setMode(scope: Scope, mode: Mode): void;
  close(): void;
}
