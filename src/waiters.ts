/**
 * Callers who wait for a run to end: woken by its terminal event, and otherwise only by a timer of their own. Nobody polls.
 */
import type { Clock } from './clock.ts';
import { isTerminal, type RunEvent } from './run.ts';

/** So many are woken in one turn of the event loop: each of them is then answered. */
const sliceWaiters = 200;

/** Why a wait is over. */
export type WaitEnd =
  /** `json`: the run's last snapshot, the same text for all who wait for it. */
  | { because: 'ended'; json: string }
  /** The time is over, or the server is stopping. */
  | { because: 'over' }
  /** The client token that the caller came with is good no longer. */
  | { because: 'revoked' }
  /** The caller has hung up. */
  | { because: 'left' };

export interface Wait {
  /** Never rejects. */
  readonly end: Promise<WaitEnd>;
  /** Ends it for a caller who has gone, or need not wait after all; then nothing is left of it. */
  readonly leave: () => void;
}

interface Waiter {
  readonly client: string | null;
  finish(end: WaitEnd): void;
}

export class Waiters {
  readonly #clock: Clock;
  readonly #runs = new Map<string, Set<Waiter>>();
  #isClosed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How many wait. */
  get size(): number {
    let size = 0;
    for (const waiters of this.#runs.values()) size += waiters.size;
    return size;
  }

  /** Mostly nobody waits: then this is one look-up. */
  receive({ snapshot }: RunEvent): void {
    const waiters = this.#runs.get(snapshot.task_id);
    if (!waiters || !isTerminal(snapshot.status)) return;
    this.#runs.delete(snapshot.task_id);
    wake(waiters.values(), { because: 'ended', json: JSON.stringify(snapshot) });
  }

  /**
   * Begins to wait for a run. Whoever asks reads the run after that, and not before: then no end falls in between. `client` is
   * the id of the token that was come with, null for direct access.
   */
  add(id: string, client: string | null, ms: number): Wait {
    if (this.#isClosed) return { end: Promise.resolve({ because: 'over' }), leave: () => {} };
    let finish: (end: WaitEnd) => void = () => {};
    const end = new Promise<WaitEnd>((resolve) => {
      const giveUp = this.#clock.after(ms, () => finish({ because: 'over' }));
      const waiter: Waiter = {
        client,
        finish: (reason) => {
          giveUp();
          this.#remove(id, waiter);
          resolve(reason);
        },
      };
      finish = waiter.finish;
      const waiters = this.#runs.get(id);
      if (waiters) waiters.add(waiter);
      else this.#runs.set(id, new Set([waiter]));
    });
    return { end, leave: () => finish({ because: 'left' }) };
  }

  /** Ends the waits that were begun with one client token. */
  endClient(client: string): void {
    for (const waiters of this.#runs.values()) {
      for (const waiter of waiters) if (waiter.client === client) waiter.finish({ because: 'revoked' });
    }
  }

  /** Ends all waits, and those to come at once. */
  close(): void {
    this.#isClosed = true;
    for (const waiters of this.#runs.values()) wake(waiters.values(), { because: 'over' });
  }

  #remove(id: string, waiter: Waiter): void {
    const waiters = this.#runs.get(id);
    if (waiters?.delete(waiter) && waiters.size === 0) this.#runs.delete(id);
  }
}

function wake(waiters: IterableIterator<Waiter>, end: WaitEnd): void {
  let woken = 0;
  for (const waiter of waiters) {
    waiter.finish(end);
    // Who leaves before it is its turn is simply not met.
    if (++woken === sliceWaiters) {
      setImmediate(() => wake(waiters, end));
      return;
    }
  }
}
