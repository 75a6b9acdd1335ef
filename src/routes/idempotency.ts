/**
 * The header `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07): the same start sent twice makes one run.
 */
import { createHash } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { RequestError, shown } from '../errors.ts';

const longestKey = 255;

/** A string of RFC 8941, section 3.3.3, with any parameters, which say nothing. */
const quotedKey = /^"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"(?:\s*;.*)?$/;
/** As most clients send it, bare. */
const bareKey = /^[\x20\x21\x23-\x7e][\x20-\x7e]*$/;

/** The key of a start; undefined when there is none. Throws a 400 for what cannot be one. */
export function idempotencyKey(request: FastifyRequest): string | undefined {
  const header = request.headers['idempotency-key'];
  if (header === undefined) return undefined;
  const text = String(header);
  const key = quotedKey.exec(text)?.[1]?.replace(/\\(.)/g, '$1') ?? bareKey.exec(text)?.[0] ?? '';
  const given = request.raw.headersDistinct['idempotency-key']?.length ?? 1;
  if (given === 1 && key.length >= 1 && key.length <= longestKey) return key;
  const what = given > 1 ? `${given} of them` : `${shown(text)}, of ${text.length} characters`;
  throw new RequestError(
    'bad-request',
    `The header Idempotency-Key must be one key of 1 to ${longestKey} printable ASCII characters, in double quotes or bare, such as "8e03978e-40d5-43dd-bc93-6894a57f9324", and not ${what}.`,
  );
}

/**
 * Tells apart what is asked for under one key: the kind of start and what it is of, its options, and its body, null for none.
 * Whatever differs, in spaces too, is another request.
 */
export function fingerprint(request: FastifyRequest, what: readonly string[], body: string | null): string {
  const query = Object.entries(request.query as Record<string, string>).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256')
    .update(JSON.stringify([what, query, body]))
    .digest('hex');
}
