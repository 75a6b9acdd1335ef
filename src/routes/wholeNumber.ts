/**
 * Numbers in a query.
 */
import { shown } from '../errors.ts';
import { invalidQuery } from './checks.ts';

/** The value of a query parameter; undefined when it is not given. Throws a 400 for what is no such number. */
export function wholeNumber(
  name: string,
  text: string | undefined,
  least: number,
  most: number,
  kind = 'a whole number',
): number | undefined {
  if (text === undefined) return undefined;
  const value = /^\d{1,15}$/.test(text) ? Number(text) : -1;
  if (value >= least && value <= most) return value;
  throw invalidQuery(name, `${name} must be ${kind} from ${least} to ${most}, and not ${shown(text)}.`);
}
