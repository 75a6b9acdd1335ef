/**
 * Client tokens as the server sees them: all in memory, changes through the store thread.
 */
import type { ClientToken, TokenStore } from '../../token.ts';
import type { StoreClient } from './storeClient.ts';

export class SqliteTokenStore implements TokenStore {
  readonly #store: StoreClient;
  #byDigest = new Map<string, ClientToken>();
  readonly #listeners: (() => void)[] = [];

  constructor(store: StoreClient) {
    this.#store = store;
  }

  replace(tokens: readonly ClientToken[]): void {
    this.#byDigest = new Map(tokens.map((token) => [token.digest, token]));
    for (const listener of this.#listeners) listener();
  }

  find(digest: string): ClientToken | undefined {
    return this.#byDigest.get(digest);
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  async create(token: ClientToken): Promise<void> {
    await this.#store.write({ op: 'createToken', token });
  }

  async list(): Promise<ClientToken[]> {
    return [...this.#byDigest.values()];
  }

  revoke(idOrDigest: string, at: number): Promise<ClientToken | undefined> {
    return this.#store.write({ op: 'revokeToken', idOrDigest, at });
  }
}
