/**
 * The harness's end of `bench/peers/watchers.ts`.
 */
import type { Child } from './child.ts';

export interface WatchersTarget {
  port: number;
  path: string;
  count: number;
}

export class Watchers {
  readonly #child: Child;
  readonly count: number;
  #messages = 0;

  private constructor(child: Child, count: number) {
    this.#child = child;
    this.count = count;
  }

  /** Resolves when all are connected and all have been told the same. */
  static async connect(child: Child, target: WatchersTarget): Promise<Watchers> {
    await child.call('connect', target);
    const watchers = new Watchers(child, target.count);
    watchers.#messages = await child.call('level');
    return watchers;
  }

  /** Resolves when each of them has received so many more messages; rejects when they do not come. */
  async receive(messages: number): Promise<void> {
    this.#messages += messages;
    await this.#child.call('receive', this.#messages);
  }

  stop(): Promise<void> {
    return this.#child.stop();
  }
}
