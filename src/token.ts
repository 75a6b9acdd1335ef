/**
 * What a client token is: a credential for the state-event routes. Only its digest is ever stored.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { customAlphabet } from 'nanoid';

/** Letters and digits: an id never begins with `-` and can be selected with a double click. */
export const idAlphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

/** So that secret scanners, and people, can tell what they have found. */
export const tokenPrefix = 'st_';

/** 32 characters of 62: 190 random bits. */
const makeSecret = customAlphabet(idAlphabet, 32);
const makeTokenId = customAlphabet(idAlphabet, 10);

/** A stored client token: everything but the secret itself. Times are milliseconds since the epoch. */
export interface ClientToken {
  /** Names the token without being a secret: what `token list` shows and `token revoke` takes. */
  id: string;
  label: string | null;
  /** The states it may be used for; null for all. */
  states: string[] | null;
  createdAt: number;
  /** null: never. */
  expiresAt: number | null;
  revokedAt: number | null;
  /** SHA-256 of the secret, in hexadecimal. A fast hash is enough: the secret has 190 random bits to guess. */
  digest: string;
}

/** A new token: `secret` is shown once and kept nowhere. */
export function makeToken(
  options: { label?: string | null; states?: string[] | null; expiresAt?: number | null },
  now: number,
): { token: ClientToken; secret: string } {
  const secret = tokenPrefix + makeSecret();
  const token: ClientToken = {
    id: makeTokenId(),
    label: options.label ?? null,
    states: options.states ?? null,
    createdAt: now,
    expiresAt: options.expiresAt ?? null,
    revokedAt: null,
    digest: tokenDigest(secret),
  };
  return { token, secret };
}

export function tokenDigest(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

/** Compares two digests in a time that does not depend on where they differ. */
export function sameDigest(a: string, b: string): boolean {
  const left = Buffer.from(a);
  const right = Buffer.from(b);
  return left.length === right.length && timingSafeEqual(left, right);
}

/** Whether a token is good at `now`, whatever it is scoped to. */
export function isUsable(token: ClientToken, now: number): boolean {
  return token.revokedAt === null && (token.expiresAt === null || now < token.expiresAt);
}

/**
 * Where client tokens are kept. On the server `find` answers from memory, and a change made by another process (the
 * `token` commands) is noticed within 100 ms.
 */
export interface TokenStore {
  /** The token with this digest, usable or not. */
  find(digest: string): ClientToken | undefined;
  /** Called after any token was created, changed or revoked, here or in another process. */
  onChange(listener: () => void): void;
  create(token: ClientToken): Promise<void>;
  /** Oldest first. */
  list(): Promise<ClientToken[]>;
  /** Revokes by id or by digest; answers the token as it now is, or undefined when there is none. */
  revoke(idOrDigest: string, now: number): Promise<ClientToken | undefined>;
}
