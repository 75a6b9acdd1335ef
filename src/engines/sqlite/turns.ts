/**
 * Whose turn it is: clients take turns, however many runs each has. A client's turn is a number, and the lowest goes first. Who had
 * one goes to the end. Who comes anew goes before those that have just had theirs, so that its first run does not wait behind
 * their many; but each that does so goes a little further back than the one before, so that clients which come once each, without
 * end, do not hold up those that stay.
 */
interface Client {
  turn: number;
  /** How many of its runs wait. */
  waiting: number;
}

/** So many that come anew, in the place of one that had a turn. */
const newcomers = 2;

export class Turns {
  /** Those that wait, and those that have had a turn lately. */
  readonly #clients = new Map<string | null, Client>();
  /** The turn of whoever went last, before it went. */
  #now = 0;
  #last = 0;
  /** The turn of whoever came last. */
  #came = 0;
  #mostRemembered = leastRemembered;

  of(client: string | null): number {
    return this.#clients.get(client)?.turn ?? this.#now;
  }

  /** A run of the client begins to wait. */
  came(client: string | null): void {
    const known = this.#clients.get(client);
    if (known && (known.waiting > 0 || known.turn > this.#now)) {
      known.waiting++;
      return;
    }
    this.#came = Math.max(this.#came, this.#now) + 1 / newcomers;
    this.#last = Math.max(this.#last, this.#came);
    this.#clients.set(client, { turn: this.#came, waiting: 1 });
    if (this.#clients.size > this.#mostRemembered) this.#forget();
  }

  /** A run of it waits no longer. */
  left(client: string | null): void {
    const known = this.#clients.get(client);
    if (known) known.waiting--;
  }

  /** It has had its turn, for a run that has left. Only who waits still moves the end further back. */
  took(client: string | null): void {
    const known = this.#clients.get(client);
    if (!known) return;
    this.#now = Math.max(this.#now, known.turn);
    if (known.waiting > 0) this.#last++;
    known.turn = this.#last;
  }

  /** Who does not wait, and whose turn is not behind the others', is as one who comes anew. */
  #forget(): void {
    for (const [client, { turn, waiting }] of this.#clients) {
      if (waiting === 0 && turn <= this.#now) this.#clients.delete(client);
    }
    this.#mostRemembered = Math.max(leastRemembered, 2 * this.#clients.size);
  }
}

const leastRemembered = 10_000;
