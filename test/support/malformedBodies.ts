/**
 * Bodies that a start must refuse: whatever is not the JSON that its task wants.
 */
import type { Random } from './random.ts';

/** What the task `mirror` takes. */
export const goodBody = '{"text":"hello"}';

function isGood(text: string): boolean {
  try {
    return typeof (JSON.parse(text) as { text?: unknown } | null)?.text === 'string';
  } catch {
    return false;
  }
}

const noise = [...'{}[]",:\\/0123456789eE+-.tfnaul \t\n\u0000\u001f\u007f\u2028é\ud83d'];

/** JSON with a character or a few taken out, put in or changed, so that it is no input any more. */
export function brokenJson(random: Random): string {
  for (;;) {
    let text = random.pick([
      goodBody,
      '{ "text" : "café \\u00e9 \\n", "more": [1, 2.5e-3, {"deep": null}] }',
      '[{"text":"a"},{"text":"b"}]',
      '{"text":"x","text":"y"}',
    ]);
    for (let changes = random.whole(1, 3); changes > 0; changes--) {
      const at = random.whole(0, text.length);
      const put = random.chance(0.5) ? random.pick(noise) : '';
      text = text.slice(0, at) + put + text.slice(at + random.whole(0, 2));
    }
    if (text !== '' && !isGood(text)) return text;
  }
}

export function wrongValue(random: Random): string {
  const value = random.pick<unknown>([
    null,
    random.chance(0.5),
    random.whole(-1e9, 1e9),
    `text${random.next()}`,
    [],
    {},
    { text: null },
    { text: random.next() * 10 ** random.whole(-300, 300) },
    { text: ['a', 'b'] },
    { text: { text: { text: random.next() } } },
    { Text: 'hello' },
    [{ text: 'hello' }],
  ]);
  return JSON.stringify(value);
}

export function deepJson(random: Random): string {
  const depth = random.pick([66, 100, 1000, 20_000, 80_000]);
  const [open, inner, close] = random.pick([
    ['[', '', ']'],
    ['{"a":', '1', '}'],
    ['[{"text":', '""', '}]'],
  ] as const);
  const deep = open.repeat(depth) + inner + close.repeat(random.chance(0.7) ? depth : depth - 1);
  return random.chance(0.5) ? deep : `{"text":${deep}}`;
}

/** Keys that reach for prototypes, spelt in several ways, at several depths. */
export function prototypeKeys(random: Random): string {
  const key = random.pick(['"__proto__"', '"\\u005f_proto__"', '"__pro\\u0074o__"']);
  const value = random.pick(['{"isAdmin":true}', 'null', '1', goodBody]);
  const evil = random.pick([`{${key}:${value}}`, '{"constructor":{"prototype":{"isAdmin":true}}}']);
  return random.pick([evil, `{"text":"x","more":${evil}}`, `{"text":"x",${evil.slice(1)}`, `[[${evil}]]`]);
}

export function invalidUtf8(random: Random): Buffer {
  const bytes = random.pick(['ff', 'c0af', 'eda080', 'e282', 'f888808080', '80', 'f4908080']);
  return Buffer.concat([Buffer.from('{"text":"'), Buffer.from(bytes, 'hex'), Buffer.from('"}')]);
}

/** For the task `brief`. */
export function boundlessNumbers(random: Random): string {
  const ms = random.pick(['1e999', '-1e999', '"1"', 'null', '[1]', '1e']);
  return `{"ms":${ms},"steps":${random.pick(['0', '1e400', '{}'])}}`;
}

export function bodyForNothing(random: Random): string {
  return random.pick(['{}', 'null', '[]', '0', '""', goodBody, ' ']);
}

export function tooLarge(random: Random): string {
  return `{"text":"${'x'.repeat(1024 * 1024 + random.whole(-10, 100_000))}"}`;
}
