/**
 * Whose turn it is: the clients that have runs waiting take turns, however many each has.
 */
import type { Row } from './driver.ts';

/** The clients that have runs waiting, in the order of their turns. */
export class WaitingClients {
  readonly #counts = new Map<string | null, number>();
  size = 0;

  reset(rows: readonly Row[]): void {
    this.#counts.clear();
    this.size = 0;
    for (const { client, count } of rows) {
      this.#counts.set(client as string | null, count as number);
      this.size += count as number;
    }
  }

  add(client: string | null): void {
    this.#counts.set(client, (this.#counts.get(client) ?? 0) + 1);
    this.size++;
  }

  remove(client: string | null): void {
    const left = (this.#counts.get(client) ?? 0) - 1;
    if (left > 0) this.#counts.set(client, left);
    else this.#counts.delete(client);
    this.size--;
  }

  /** The client whose turn it is; it goes to the end of the line, one run fewer. */
  next(): string | null | undefined {
    const turn = this.#counts.entries().next();
    if (turn.done) return undefined;
    const [client, count] = turn.value;
    this.#counts.delete(client);
    if (count > 1) this.#counts.set(client, count - 1);
    this.size--;
    return client;
  }
}
