/**
 * Where in an author's files something is: read from stacks, which tsx and Node map back to the lines of the source.
 */
import { fileURLToPath } from 'node:url';

/** `file:line` from which `callee` was called; null where the stack does not say. */
export function callSite(callee: (...args: never[]) => unknown): string | null {
  const holder: { stack?: string } = {};
  Error.captureStackTrace(holder, callee);
  return placeOfFrame(holder.stack?.split('\n')[1] ?? '');
}

/** `file:line` of the innermost frame of `error` that lies in `file`, and not in what a compiler added to it. */
export function placeWithin(file: string, error: Error): string | null {
  const frames = error.stack?.split('\n').filter((frame) => !/^\s*at __/.test(frame)) ?? [];
  const places = frames.map(placeOfFrame);
  return places.find((place) => place?.startsWith(`${file}:`)) ?? null;
}

/** A frame is `at name (file:line:column)` or `at file:line:column`; tsx adds a query to the file. */
function placeOfFrame(frame: string): string | null {
  const [, path, line] = /^\s*at (?:.*? \()?(.+?)(?:\?[^/]*)?:(\d+):\d+\)?$/.exec(frame) ?? [];
  if (path === undefined || path.startsWith('data:') || path.startsWith('node:')) return null;
  return `${path.startsWith('file:') ? fileURLToPath(path) : path}:${line}`;
}
