/**
 * A long list in a JSON text, read item by item: parsing all of it at once would hold up the event loop for as long.
 */
import { RequestError, shown } from './errors.ts';
import { invalidJson, parseJson } from './json.ts';

/** Of a key that nobody knows it is enough to be recognised. */
const longestKeyShown = 200;

/** An item as it was sent, and what it means. */
export interface JsonItem {
  text: string;
  value: unknown;
}

/**
 * The items of the one list in `{"<key>": [...]}`, in order. An item may have up to `mostBytes`. Throws a `RequestError` where
 * the text is something else; what comes before that has been given out by then.
 */
export function* itemsOf(text: string, key: string, mostBytes: number): Generator<JsonItem, void> {
  let at = openList(text, key);
  for (let index = 0; ; index++) {
    at = skipSpace(text, at);
    if (index === 0 && text[at] === ']') break;
    const end = endOfValue(text, at, mostBytes);
    if (end === at) throw invalidJson(text, at, index === 0 ? 'a value or "]"' : 'a value');
    // A copy that stands alone: a slice would keep the whole text in memory for as long as its run.
    const item = Buffer.from(text.slice(at, end)).toString();
    if (item.length * 3 > mostBytes && Buffer.byteLength(item) > mostBytes) {
      throw new RequestError(
        'body-too-large',
        `${key}[${index}] is larger than ${mostBytes} bytes, which is the limit for one of them.`,
      );
    }
    yield { text: item, value: parseJson(item, text, at) };
    at = skipSpace(text, end);
    if (text[at] === ']') break;
    if (text[at] !== ',') throw invalidJson(text, at, '"," or "]"');
    at++;
  }
  closeList(text, at + 1, key);
}

/** Where the first item may stand. */
function openList(text: string, key: string): number {
  let at = skipSpace(text, 0);
  if (text[at] !== '{') throw wrongShape(key, `The body must be an object with one key: {"${key}": [...]}.`);
  at = skipSpace(text, at + 1);
  if (text[at] === '}') throw wrongShape(key, `The body has no "${key}": send {"${key}": [...]}.`);
  if (text[at] !== '"') throw invalidJson(text, at, 'a key in double quotes or "}"');
  at = skipSpace(text, endOfKey(text, at, key));
  if (text[at] !== ':') throw invalidJson(text, at, '":"');
  at = skipSpace(text, at + 1);
  if (text[at] !== '[') throw wrongShape(key, `"${key}" must be a list: {"${key}": [...]}.`);
  return at + 1;
}

/** Nothing but the end of the object may follow. */
function closeList(text: string, from: number, key: string): void {
  let at = skipSpace(text, from);
  if (text[at] === ',') {
    at = skipSpace(text, at + 1);
    if (text[at] !== '"') throw invalidJson(text, at, 'a key in double quotes');
    endOfKey(text, at, key);
    throw wrongShape(key, `The body has "${key}" twice. Send one list.`);
  }
  if (text[at] !== '}') throw invalidJson(text, at, '"," or "}"');
  at = skipSpace(text, at + 1);
  if (at < text.length) throw invalidJson(text, at, 'nothing more');
}

/** The index after a key that must be `key`. */
function endOfKey(text: string, at: number, key: string): number {
  const end = endOfString(text, at, Math.min(text.length, at + longestKeyShown));
  const quoted = text.slice(at, end);
  if (quoted === JSON.stringify(key)) return end;
  // One that has been cut is shown as it stands.
  const name = quoted.length < longestKeyShown ? String(parseJson(quoted, text, at)) : quoted;
  if (name === key) return end;
  throw wrongShape(name, `The body has a key ${shown(name)}, and may have none but "${key}".`);
}

function wrongShape(key: string, message: string): RequestError {
  return new RequestError('invalid-input', message, { errors: [{ path: key, message }] });
}

const space = /[ \t\n\r]*/y;

function skipSpace(text: string, from: number): number {
  space.lastIndex = from;
  space.test(text);
  return space.lastIndex;
}

/** The index after the value at `start`, were it valid; not further than just beyond `mostChars`. */
function endOfValue(text: string, start: number, mostChars: number): number {
  const last = Math.min(text.length, start + mostChars + 1);
  const first = text.charCodeAt(start);
  if (first === 0x22) return endOfString(text, start, last);
  if (first !== 0x5b && first !== 0x7b) {
    let at = start;
    while (at < last && !endsScalar(text.charCodeAt(at))) at++;
    return at;
  }
  let depth = 0;
  for (let at = start; at < last; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x22) at = endOfString(text, at, last) - 1;
    else if (code === 0x5b || code === 0x7b) depth++;
    else if ((code === 0x5d || code === 0x7d) && --depth === 0) return at + 1;
  }
  return last;
}

/** The index after the string that begins at `start`. */
function endOfString(text: string, start: number, last: number): number {
  for (let at = start + 1; at < last; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x22) return at + 1;
    if (code === 0x5c) at++;
  }
  return last;
}

/** A comma, a bracket or a space. */
function endsScalar(code: number): boolean {
  return code === 0x2c || code === 0x5d || code === 0x7d || code === 0x20 || (code >= 9 && code <= 13);
}
