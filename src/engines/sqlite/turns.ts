/**
 * Whose turn it is: clients take turns, however many runs each has. A client's turn is a number, and the lowest goes first; who
 * comes anew begins where the others are, so that it neither waits behind their runs nor can hold them up by coming and going.
 */
export class Turns {
  /** Those that have had a turn lately. */
  readonly #turns = new Map<string | null, number>();
  /** The turn of whoever went last, before it went. */
  #now = 0;
  #last = 0;

  of(client: string | null): number {
    return Math.max(this.#turns.get(client) ?? 0, this.#now);
  }

  /** A client has had its turn. */
  took(client: string | null): void {
    this.#now = Math.max(this.#now, this.of(client));
    this.#last = Math.max(this.#last, this.#now) + 1;
    this.#turns.set(client, this.#last);
    if (this.#turns.size > mostRemembered) this.#forget();
  }

  /** Whose turn is not behind the others' is as one who comes anew. */
  #forget(): void {
    for (const [client, turn] of this.#turns) if (turn <= this.#now) this.#turns.delete(client);
  }
}

const mostRemembered = 10_000;
