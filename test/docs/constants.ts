/**
 * Numbers of the sources, exported or not, for the documents that speak of them.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkout } from './document.ts';

/** The number that a file of `src` names: `const name = 16 * 1024;` or `name: 10_000,`. */
export function constant(path: string, name: string): number {
  const text = readFileSync(join(checkout, 'src', path), 'utf8');
  const [, expression] = new RegExp(`\\b${name}(?: =|:) ([\\d_]+(?: \\* [\\d_]+)*)[;,]`).exec(text) ?? [];
  if (expression === undefined) throw new Error(`src/${path} has no number ${name}`);
  return expression.split(' * ').reduce((product, factor) => product * Number(factor.replaceAll('_', '')), 1);
}

export function seconds(ms: number): string {
  return `${ms / 1000} s`;
}

export function mebibytes(bytes: number): string {
  return `${bytes / 1024 / 1024} MiB`;
}

export function grouped(number: number): string {
  return number.toLocaleString('en');
}
