/**
 * Runs that `bench/peers/fill.ts` puts into a store, known by their number.
 */
import { createHash } from 'node:crypto';

/** As long as an id, and as random for the index as one. */
export function storedRunId(number: number): string {
  return createHash('sha256').update(`run ${number}`).digest('hex').slice(0, 22);
}

/** Every other run was started with one of a hundred client tokens, the rest directly. */
export function storedRunClient(number: number): string | null {
  return number % 2 === 0 ? null : `client${(number % 200) + 100}`;
}
