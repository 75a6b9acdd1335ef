/**
 * The JSON that the server takes: valid, not too deep, and without keys that reach for prototypes.
 */
import { isUtf8 } from 'node:buffer';
import { parse } from 'secure-json-parse';
import { RequestError } from './errors.ts';

/** A body as it came, and what it means. `text` is what is stored; it has no byte order mark. */
export interface JsonBody {
  text: string;
  value: unknown;
}

/** A deeper value parses, and then overflows the stack of zod and of `JSON.stringify`. */
export const maxDepth = 64;

const refusePrototypes = { protoAction: 'error', constructorAction: 'error' } as const;

/** Reads a body; undefined when it is empty. Throws a `RequestError` that says what is wrong, and where. */
export function parseBody(bytes: Buffer): JsonBody | undefined {
  if (bytes.length === 0) return undefined;
  const text = decodeBody(bytes);
  return { text, value: parseJson(text) };
}

/** The text of a body, without a byte order mark. Throws a `RequestError` when it is not UTF-8. */
export function decodeBody(bytes: Buffer): string {
  if (!isUtf8(bytes)) {
    throw new RequestError(
      'invalid-json',
      'The body is not UTF-8 text. Send JSON encoded as UTF-8 (RFC 8259).',
    );
  }
  const decoded = bytes.toString();
  return decoded.charCodeAt(0) === 0xfeff ? decoded.slice(1) : decoded;
}

/** The value of a text. Where it is a part of another one, `offset` is where it stands `within` that, for the error. */
export function parseJson(text: string, within = text, offset = 0): unknown {
  // Each level takes two characters, so most texts are too short to be too deep.
  if (text.length > 2 * maxDepth && isDeeperThan(text, maxDepth)) {
    throw new RequestError(
      'refused-json',
      `The body nests more than ${maxDepth} levels deep. Send it flatter.`,
    );
  }
  try {
    return parse(text, refusePrototypes);
  } catch {
    const fault = jsonFault(text);
    throw fault ? invalidJson(within, offset + fault.position, fault.expected) : prototypeKey();
  }
}

/** Whether brackets nest deeper than `limit`, by the text alone: nothing is built that could be too deep to walk. */
function isDeeperThan(text: string, limit: number): boolean {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x22) {
      for (i++; i < text.length && text.charCodeAt(i) !== 0x22; i++) if (text.charCodeAt(i) === 0x5c) i++;
    } else if (code === 0x5b || code === 0x7b) {
      if (++depth > limit) return true;
    } else if (code === 0x5d || code === 0x7d) depth--;
  }
  return false;
}

function prototypeKey(): RequestError {
  return new RequestError(
    'refused-json',
    'The body has a key "__proto__", or a key "constructor" that holds a "prototype". Use other names.',
  );
}

/** For a text that has something else at `position` than what JSON has there. */
export function invalidJson(text: string, position: number, expected: string): RequestError {
  let line = 1;
  let lineStart = 0;
  for (let at = 0; at < position; at++) {
    if (text.charCodeAt(at) !== 0x0a) continue;
    line++;
    lineStart = at + 1;
  }
  const found =
    position < text.length
      ? JSON.stringify(String.fromCodePoint(text.codePointAt(position) ?? 0))
      : 'its end';
  return new RequestError(
    'invalid-json',
    `At position ${position} (line ${line}, column ${position - lineStart + 1}) the body has ${found} where ${expected} should be.`,
  );
}

const space = /[ \t\n\r]*/y;
const plainValue = /true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;

/**
 * Where a text stops being JSON (RFC 8259), and what should have been there; undefined when it is JSON. V8 names the position of
 * some errors only, so a text that it has refused is walked once more.
 */
export function jsonFault(text: string): { position: number; expected: string } | undefined {
  const open: string[] = [];
  let at = 0;
  let expected = 'a value';
  while (true) {
    at = endOf(space, text, at);
    const char = text[at];
    if (expected === 'a value' || expected === 'a value or "]"') {
      if (char === ']' && expected === 'a value or "]"') {
        open.pop();
        at++;
      } else if (char === '{' || char === '[') {
        open.push(char);
        expected = char === '{' ? 'a key in double quotes or "}"' : 'a value or "]"';
        at++;
        continue;
      } else if (char === '"') {
        const string = stringFrom(text, at);
        if (typeof string !== 'number') return string;
        at = string;
      } else {
        const end = endOf(plainValue, text, at);
        if (end === at) return { position: at, expected };
        at = end;
      }
    } else if (expected.startsWith('a key')) {
      if (char === '"') {
        const string = stringFrom(text, at);
        if (typeof string !== 'number') return string;
        at = string;
        expected = '":"';
        continue;
      }
      if (char !== '}' || expected === 'a key in double quotes') return { position: at, expected };
      open.pop();
      at++;
    } else if (expected === '":"') {
      if (char !== ':') return { position: at, expected };
      expected = 'a value';
      at++;
      continue;
    } else if (expected === 'nothing more') {
      return at === text.length ? undefined : { position: at, expected };
    } else if (char === ',') {
      expected = open.at(-1) === '{' ? 'a key in double quotes' : 'a value';
      at++;
      continue;
    } else if (char === (open.at(-1) === '{' ? '}' : ']')) {
      open.pop();
      at++;
    } else return { position: at, expected };
    // A value has ended: what may follow depends on what it stands in.
    const around = open.at(-1);
    expected = around === undefined ? 'nothing more' : around === '{' ? '"," or "}"' : '"," or "]"';
  }
}

function endOf(pattern: RegExp, text: string, from: number): number {
  pattern.lastIndex = from;
  return pattern.test(text) ? pattern.lastIndex : from;
}

/** The index after the string that begins at `start`, or where it goes wrong. */
function stringFrom(text: string, start: number): number | { position: number; expected: string } {
  for (let at = start + 1; at < text.length; at++) {
    const char = text[at] as string;
    if (char === '"') return at + 1;
    if (char < ' ') return { position: at, expected: 'an escape such as \\n (a string cannot hold it bare)' };
    if (char !== '\\') continue;
    at++;
    const escaped = text[at];
    if (escaped === 'u' && /^[0-9a-fA-F]{4}$/.test(text.slice(at + 1, at + 5))) at += 4;
    else if (escaped === undefined || !'"\\/bfnrt'.includes(escaped)) {
      return { position: Math.min(at, text.length), expected: 'an escape such as \\n, \\" or \\u00e9' };
    }
  }
  return { position: text.length, expected: 'the closing quote of a string' };
}
