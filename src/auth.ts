/**
 * Client tokens at work: who is calling, what for, and the end of a token that was revoked or has expired.
 */
import type { Clock } from './clock.ts';
import { RequestError, shown } from './errors.ts';
import { type ClientToken, isUsable, sameDigest, type TokenStore, tokenDigest } from './token.ts';

/** Compared with when there is no such token, so that an unknown one costs the same time as a known one. */
const nobodysDigest = tokenDigest('');

/** The reason that a stream is closed with, with code 1008. */
export const endedToken = 'The client token was revoked or has expired';

/** How long no look is taken at the time while a token is to expire: a clock that was set may have moved by any amount. */
const longestSleepMs = 1000;

export class Auth {
  readonly #tokens: TokenStore;
  readonly #clock: Clock;
  /** The tokens that could be used when last looked, by id. */
  readonly #usable = new Map<string, ClientToken>();
  readonly #labels = new Map<string, string | null>();
  #onEnd: (tokenId: string) => void = () => {};
  #stopTimer: () => void = () => {};

  constructor(tokens: TokenStore, clock: Clock) {
    this.#tokens = tokens;
    this.#clock = clock;
  }

  /** Begins to watch the tokens. `onEnd` is called with the id of each that stops being usable. */
  async start(onEnd: (tokenId: string) => void): Promise<void> {
    this.#onEnd = onEnd;
    this.#tokens.onChange(() => this.#reviewInTime());
    await this.#review();
  }

  stop(): void {
    this.#onEnd = () => {};
    this.#stopTimer();
  }

  /**
   * The token whose secret was presented. Throws the same 401, after the same work, whether it is malformed, unknown,
   * revoked or expired.
   */
  authenticate(secret: string): ClientToken {
    const digest = tokenDigest(secret);
    const token = this.#tokens.find(digest);
    const isKnown = sameDigest(token?.digest ?? nobodysDigest, digest);
    if (token === undefined || !isKnown || !isUsable(token, this.#clock.now())) throw invalidToken();
    // Noted here too, since a token can be made and used before the store's word of it arrives.
    if (!this.#usable.has(token.id)) this.#note(token);
    return token;
  }

  /** Whether a token that was good when it was presented still is. */
  isGood({ digest }: ClientToken): boolean {
    const token = this.#tokens.find(digest);
    return token !== undefined && isUsable(token, this.#clock.now());
  }

  /** Throws a 403 when the token was made for other states. */
  requireScope(token: ClientToken, state: string): void {
    if (token.states === null || token.states.includes(state)) return;
    throw new RequestError('token-scope', `This client token may not be used for the state ${shown(state)}.`);
  }

  /** The label of a token by its id; null when it has none. */
  label(tokenId: string | null): string | null {
    return tokenId === null ? null : (this.#labels.get(tokenId) ?? null);
  }

  /** A store that cannot answer just now must not keep a revoked token's sockets open for good. */
  #reviewInTime(): void {
    this.#review().catch(() => this.#clock.after(1000, () => this.#reviewInTime()));
  }

  async #review(): Promise<void> {
    for (const token of await this.#tokens.list()) {
      this.#labels.set(token.id, token.label);
      if (isUsable(token, this.#clock.now())) this.#usable.set(token.id, token);
      else this.#end(token);
    }
    this.#waitForNextExpiry();
  }

  #note(token: ClientToken): void {
    this.#labels.set(token.id, token.label);
    this.#usable.set(token.id, token);
    this.#waitForNextExpiry();
  }

  #end(token: ClientToken): void {
    if (this.#usable.delete(token.id)) this.#onEnd(token.id);
  }

  #waitForNextExpiry(): void {
    this.#stopTimer();
    let next = Number.POSITIVE_INFINITY;
    for (const { expiresAt } of this.#usable.values())
      if (expiresAt !== null && expiresAt < next) next = expiresAt;
    if (next === Number.POSITIVE_INFINITY) return;
    const sleepMs = Math.min(next - this.#clock.now(), longestSleepMs);
    this.#stopTimer = this.#clock.after(sleepMs, () => this.#endExpired());
  }

  #endExpired(): void {
    const now = this.#clock.now();
    for (const token of this.#usable.values()) if (!isUsable(token, now)) this.#end(token);
    this.#waitForNextExpiry();
  }
}

/** One for all that can be wrong with a token, so that the answer does not say what. */
export function invalidToken(): RequestError {
  return new RequestError(
    'unknown-token',
    'The client token in this address is not valid: it is unknown, was revoked or has expired. ' +
      'Ask for a new one ("spyglass-tasks token create").',
    // RFC 9110, section 15.5.2 asks for a challenge. No registered scheme puts its credential into the path.
    { headers: { 'www-authenticate': 'ClientToken realm="spyglass-tasks"' } },
  );
}
