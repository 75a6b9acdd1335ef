/**
 * Carries out what an admin has ordered to be cancelled, one order after the other. The store notes how far each has come in the
 * very commits that cancel, so a crash neither loses an order nor counts a run twice.
 */
import type { Clock } from '../../clock.ts';
import type { EngineLog } from '../../engine.ts';
import type { CancelOrder } from './cancelOrder.ts';
import type { WriteAnswers } from './protocol.ts';
import type { StoreClient } from './storeClient.ts';

/** What could not be stored, whatever the reason, is tried again so often. */
const retryMs = 1000;

export interface CancelOrdersParts {
  clock: Clock;
  log: EngineLog;
  store: StoreClient;
  /** How many waiting runs are cancelled in one commit. */
  atOnce: number;
  /** A batch is on disk: those that waited have ended, those that are leased are to be asked to stop. */
  cancelled(batch: WriteAnswers['cancelAll']): void;
}

export class CancelOrders {
  readonly #parts: CancelOrdersParts;
  #waiting: CancelOrder[] = [];
  /** Orders are told again until they are done; numbers only rise. */
  #latest = 0;
  #isBusy = false;
  #isStopped = false;
  #stopRetry = () => {};

  constructor(parts: CancelOrdersParts) {
    this.#parts = parts;
  }

  receive(orders: readonly CancelOrder[]): Promise<void> {
    for (const order of orders) {
      if (order.id <= this.#latest) continue;
      this.#latest = order.id;
      this.#waiting.push(order);
    }
    return this.carryOut();
  }

  /** All that wait; what the store cannot take now is left for when it can. */
  async carryOut(): Promise<void> {
    if (this.#isBusy || this.#isStopped) return;
    this.#isBusy = true;
    this.#stopRetry();
    try {
      for (let [order] = this.#waiting; order; [order] = this.#waiting) {
        await this.#carryOut(order);
        this.#waiting.shift();
      }
    } catch (error) {
      this.#parts.log('warn', `An admin's cancel is kept for later: ${(error as Error).message}`);
      // Whatever is wrong with it is not to be in the way of the others.
      this.#waiting.push(...this.#waiting.splice(0, 1));
      if (!this.#isStopped) this.#stopRetry = this.#parts.clock.after(retryMs, () => void this.carryOut());
    } finally {
      this.#isBusy = false;
    }
  }

  /** What waits is the next server's. */
  stop(): void {
    this.#isStopped = true;
    this.#stopRetry();
  }

  async #carryOut(order: CancelOrder): Promise<void> {
    const { clock, log, store, atOnce, cancelled } = this.#parts;
    for (;;) {
      const at = clock.now();
      const { progress, ...batch } = await store.write({ op: 'carryOut', order, limit: atOnce, at });
      cancelled(batch);
      if (batch.more) continue;
      const { upTo: _upTo, ...match } = order.match;
      const { ended, asked } = progress;
      log('info', 'An admin has cancelled all that match', { ...match, ended, asked });
      return;
    }
  }
}
