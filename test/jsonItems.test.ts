import { describe, expect, test } from 'vitest';
import { RequestError } from '../src/errors.ts';
import { itemsOf } from '../src/jsonItems.ts';

const limit = 1000;

function read(text: string): { values: unknown[]; texts: string[] } {
  const items = [...itemsOf(text, 'inputs', limit)];
  return { values: items.map(({ value }) => value), texts: items.map((item) => item.text) };
}

function fault(text: string): RequestError {
  try {
    read(text);
  } catch (error) {
    if (error instanceof RequestError) return error;
    throw error;
  }
  throw new Error(`This was read: ${text}`);
}

describe('The items of a list', () => {
  test.for([
    '{"inputs":[]}',
    ' {\n"inputs" : [ ] } ',
    '{"inputs":[1]}',
    '{"inputs":[null,true,false,-1.5e3,"",""]}',
    '{"inputs":["a]","b\\"]","c\\\\",{"d":"}"},[["e"],[]]]}',
    '{"inputs":[ {"a":[1,{"b":2}]} , [] , {} ]}',
    '{"inputs":["\\u00e9é\u2028😀"]}',
  ])('are those that JSON.parse finds: %s', (text) => {
    expect(read(text).values).toEqual((JSON.parse(text) as { inputs: unknown[] }).inputs);
  });

  test('come as they were sent', () => {
    expect(read('{"inputs":[ {"a" :1.0} ,12345678901234567890]}').texts).toEqual([
      '{"a" :1.0}',
      '12345678901234567890',
    ]);
  });

  test('are given out before what is wrong behind them is met', () => {
    const items = itemsOf('{"inputs":[1,2,nonsense', 'inputs', limit);
    expect(items.next().value).toEqual({ text: '1', value: 1 });
    expect(items.next().value).toEqual({ text: '2', value: 2 });
    expect(() => items.next()).toThrow('At position 15 (line 1, column 16) the body has "n"');
  });

  test('may have as many bytes each as the limit says', () => {
    const most = JSON.stringify('é'.repeat(limit / 2 - 1));
    expect(read(`{"inputs":[${most},${most}]}`).values).toHaveLength(2);
    const { code, message } = fault(`{"inputs":[1,${JSON.stringify('é'.repeat(limit / 2))}]}`);
    expect({ code, message }).toEqual({
      code: 'body-too-large',
      message: 'inputs[1] is larger than 1000 bytes, which is the limit for one of them.',
    });
  });
});

describe('What is not such a list', () => {
  test('is never read, wherever it breaks off or goes wrong', () => {
    const whole = '{"inputs":[{"a":[1,"x\\n"]},null,-1.5e3]}';
    for (let at = 0; at < whole.length; at++) {
      expect(() => read(whole.slice(0, at))).toThrow(RequestError);
      for (const wrong of ['}', ']', '{', '[', ',', ':', '"', 'x', '\u0000', '\\']) {
        const text = whole.slice(0, at) + wrong + whole.slice(at + 1);
        let isList = false;
        try {
          isList =
            Object.keys(JSON.parse(text)).join() === 'inputs' && Array.isArray(JSON.parse(text).inputs);
        } catch {
          // Then it must not be read either.
        }
        if (isList) expect(read(text).values).toEqual(JSON.parse(text).inputs);
        else expect(() => read(text)).toThrow(RequestError);
      }
    }
  });

  test.for<[text: string, code: string, message: string]>([
    ['', 'invalid-input', 'an object with one key'],
    ['[1]', 'invalid-input', 'an object with one key'],
    ['{}', 'invalid-input', 'no "inputs"'],
    ['{"inputs":{}}', 'invalid-input', 'must be a list'],
    ['{"inputs":"[1]"}', 'invalid-input', 'must be a list'],
    ['{"input":[1]}', 'invalid-input', 'a key "input"'],
    ['{"__proto__":[1]}', 'invalid-input', 'a key "__proto__"'],
    [`{"${'x'.repeat(9000)}":[1]}`, 'invalid-input', 'a key'],
    ['{"inputs":[1],"more":2}', 'invalid-input', 'a key "more"'],
    ['{"inputs":[1],"inputs":[2]}', 'invalid-input', 'twice'],
    ['{"\\u0069nputs":[1],"inputs":[2]}', 'invalid-input', 'twice'],
    ['{"inputs":[1] 2}', 'invalid-json', '"," or "}"'],
    ['{"inputs":[1]}{}', 'invalid-json', 'nothing more'],
    ['{"inputs":[1,]}', 'invalid-json', 'a value'],
    ['{"inputs":[1 2]}', 'invalid-json', '"," or "]"'],
    ['{"inputs":\n[1,\n {"a":tru}]}', 'invalid-json', 'line 3, column 7'],
    ['{"inputs":[{"__proto__":1}]}', 'refused-json', '__proto__'],
    [`{"inputs":[${'['.repeat(65)}${']'.repeat(65)}]}`, 'refused-json', '64 levels'],
  ])('is refused with what is wrong: %s', ([text, code, message]) => {
    const error = fault(text);
    expect(error.code).toBe(code);
    expect(error.message).toContain(message);
    expect(error.message.length).toBeLessThan(400);
  });
});
