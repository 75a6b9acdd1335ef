import { describe, expect, test } from 'vitest';
import { RequestError } from '../src/errors.ts';
import { jsonFault, maxDepth, parseBody } from '../src/json.ts';

function refusal(body: string | Buffer): RequestError {
  try {
    parseBody(Buffer.from(body as string));
  } catch (error) {
    expect(error).toBeInstanceOf(RequestError);
    expect((error as RequestError).statusCode).toBe(400);
    return error as RequestError;
  }
  throw new Error('It was not refused');
}

describe('A body', () => {
  test('is kept as its text and read as its value', () => {
    expect(parseBody(Buffer.from('{"a": [1, "é"]}'))).toEqual({
      text: '{"a": [1, "é"]}',
      value: { a: [1, 'é'] },
    });
  });

  test('that is empty is none', () => {
    expect(parseBody(Buffer.alloc(0))).toBeUndefined();
  });

  test('may begin with a byte order mark, which is not kept', () => {
    expect(parseBody(Buffer.from('\ufeff{}'))).toEqual({ text: '{}', value: {} });
  });

  test('may be any JSON value', () => {
    for (const text of ['null', '0', '"x"', 'false', '[]']) {
      expect(parseBody(Buffer.from(text))).toEqual({ text, value: JSON.parse(text) });
    }
  });

  test('that is not UTF-8 is refused', () => {
    const { code, message } = refusal(Buffer.from([0x22, 0xff, 0xfe, 0x22]));
    expect(code).toBe('invalid-json');
    expect(message).toContain('UTF-8');
  });

  test(`may nest ${maxDepth} levels deep and no deeper, whatever its strings hold`, () => {
    const nested = (depth: number) =>
      `${'[{"a":'.repeat(depth / 2)}"${'['.repeat(200)}\\""${'}]'.repeat(depth / 2)}`;
    expect(parseBody(Buffer.from(nested(maxDepth)))?.text).toBe(nested(maxDepth));
    expect(refusal(nested(maxDepth + 2))).toMatchObject({ code: 'refused-json' });
    expect(refusal('['.repeat(500_000))).toMatchObject({ code: 'refused-json' });
  });

  test.for([
    '{"__proto__": {"admin": true}}',
    '{"a": [{"__proto__": null}]}',
    '{"\\u005f_proto__": 1}',
    '{"constructor": {"prototype": {"x": 1}}}',
  ])('with a key that reaches for a prototype is refused: %s', (text) => {
    expect(refusal(text)).toMatchObject({ code: 'refused-json' });
  });

  test('may have a key "constructor" that is only a word', () => {
    expect(parseBody(Buffer.from('{"constructor":"Smith"}'))?.value).toEqual({ constructor: 'Smith' });
  });

  test.for<[string, string]>([
    ['{"name": Matt}', 'At position 9 (line 1, column 10) the body has "M" where a value should be.'],
    [
      '{"a": 1,\n  b: 2}',
      'At position 11 (line 2, column 3) the body has "b" where a key in double quotes should be.',
    ],
    ['{"a": 1', 'At position 7 (line 1, column 8) the body has its end where "," or "}" should be.'],
    ['{"a" 1}', 'At position 5 (line 1, column 6) the body has "1" where ":" should be.'],
    ['[1, 2,]', 'At position 6 (line 1, column 7) the body has "]" where a value should be.'],
    ['{} {}', 'At position 3 (line 1, column 4) the body has "{" where nothing more should be.'],
    [
      "{'a': 1}",
      `At position 1 (line 1, column 2) the body has "'" where a key in double quotes or "}" should be.`,
    ],
    [' ', 'At position 1 (line 1, column 2) the body has its end where a value should be.'],
    [
      '"open',
      'At position 5 (line 1, column 6) the body has its end where the closing quote of a string should be.',
    ],
    ['01', 'At position 1 (line 1, column 2) the body has "1" where nothing more should be.'],
  ])('that is not JSON is answered with the place: %s', ([text, message]) => {
    expect(refusal(text)).toMatchObject({ code: 'invalid-json', message });
  });
});

/** A generator of its own, so that a failure can be had again. */
function seeded(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((state / 2 ** 31) * below);
  };
}

describe('The place where a text stops being JSON', () => {
  test('is found in exactly the texts that JSON.parse refuses, near where it says', () => {
    const texts = [
      '{"name":"Matt","age":25}',
      '[1,2.5e-3,{"a":[true,false,null]},"x\\u00e9\\n"]',
      ' {"a" : {} , "b" : [ ] } ',
    ];
    const alphabet = '{}[]",:0129.eE-+tfnul\\ \n\tax';
    const random = seeded(20_261_123);
    let refused = 0;
    for (let round = 0; round < 20_000; round++) {
      let text = texts[random(texts.length)] as string;
      for (let change = random(3); change >= 0; change--) {
        const at = random(text.length + 1);
        const inserted = random(2) === 0 ? '' : alphabet.charAt(random(alphabet.length));
        text = text.slice(0, at) + inserted + text.slice(at + random(2));
      }
      const fault = jsonFault(text);
      let problem: string | undefined;
      try {
        JSON.parse(text);
      } catch (error) {
        problem = (error as Error).message;
      }
      expect(fault !== undefined, text).toBe(problem !== undefined);
      if (!fault || !problem) continue;
      refused++;
      const position = /at position (\d+)/.exec(problem)?.[1];
      // Within a number or an escape the two count from its beginning, or to the character.
      if (position !== undefined)
        expect(Math.abs(Number(position) - fault.position), `${text}: ${problem}`).toBeLessThan(6);
    }
    expect(refused).toBeGreaterThan(10_000);
  });
});
