/**
 * Somebody who follows a run over as many connections as it takes, coming back with `?since` as a client does.
 */
import { isEvent } from './story.ts';
import { Watcher, type WireMessage } from './watcher.ts';

export class Follower {
  /** What all connections told, one after the other. */
  readonly messages: WireMessage[] = [];

  /** Listens until the stream closes; its close code. `address` is the stream's, without a query. */
  async listen(address: string): Promise<number> {
    // A gap whose snapshot was cut off will be told again.
    if (this.messages.at(-1)?.type === 'gap') this.messages.pop();
    const watcher = new Watcher(`${address}?since=${this.messages.at(-1)?.seq ?? 0}`);
    const { code } = await watcher.close();
    this.messages.push(...watcher.messages.filter(isEvent));
    return code;
  }

  /** Comes back until the stream says that the run has ended. */
  async listenToEnd(address: string): Promise<this> {
    while ((await this.listen(address)) !== 1000) await new Promise((resolve) => setTimeout(resolve, 20));
    return this;
  }
}
