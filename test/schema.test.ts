import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import * as mini from 'zod/mini';
import { z as z3 } from 'zod3';
import type { JsonSchema } from '../src/jsonSchema.ts';
import { toInputSchema } from '../src/schema.ts';

/** The two kinds of zod that authors have. What follows has the same shape in both. */
const kinds = [
  ['zod 4', z],
  ['zod 3', z3 as unknown as typeof z],
] as const;

function errorsOf(schema: unknown, value: unknown) {
  const parsed = toInputSchema(schema).parse(value);
  if (parsed.ok) throw new Error(`accepted, and gave ${JSON.stringify(parsed.value)}`);
  return parsed.errors;
}

function refs(schema: JsonSchema): string[] {
  return [...JSON.stringify(schema).matchAll(/"\$ref":"([^"]*)"/g)].map((match) => match[1] as string);
}

describe.each(kinds)('an input schema of %s', (_, z) => {
  const person = z.object({ name: z.string(), age: z.number().int() });

  it('gives what the author’s schema makes of an input, unknown keys dropped and nothing coerced', () => {
    const input = toInputSchema(person);
    expect(input.parse({ name: 'Matt', age: 25, more: 1 })).toEqual({
      ok: true,
      value: { name: 'Matt', age: 25 },
    });
    expect(input.parse({ name: 'Matt', age: '25' }).ok).toBe(false);
  });

  it('coerces where the author’s schema says so', () => {
    const input = toInputSchema(z.object({ age: z.coerce.number(), since: z.coerce.date() }));
    const value = { age: 5, since: new Date('2026-01-31T00:00:00Z') };
    expect(input.parse({ age: '5', since: '2026-01-31' })).toEqual({ ok: true, value });
  });

  it('names each field that is wrong by its path', () => {
    const schema = z.object({
      address: z.object({ street: z.string() }),
      items: z.array(z.object({ name: z.string() })),
      odd: z.record(z.string(), z.number()),
    });
    const value = { address: {}, items: [{ name: 'a' }, { name: 'b' }, {}], odd: { 'a b': 'x', 'c"d': 'x' } };
    const paths = errorsOf(schema, value).map(({ path }) => path);
    expect(paths).toEqual(['address.street', 'items[2].name', 'odd["a b"]', 'odd["c\\"d"]']);
  });

  it('has the empty path for the input as a whole, and a path of its own for an item of a list', () => {
    expect(errorsOf(person, 'text').map(({ path }) => path)).toEqual(['']);
    expect(errorsOf(z.array(z.number()), [1, 'x']).map(({ path }) => path)).toEqual(['[1]']);
  });

  it('says what is wrong in a sentence', () => {
    for (const { message } of errorsOf(person, { name: 5 })) expect(message).toMatch(/^[A-Z].{5,}/);
  });

  it('says of a union what each alternative misses', () => {
    const schema = z.object({
      size: z.union([z.object({ width: z.number() }), z.object({ names: z.array(z.string()) })]),
    });
    const [error, ...more] = errorsOf(schema, { size: { width: 'wide', names: 5 } });
    expect(more).toEqual([]);
    expect(error?.path).toBe('size');
    expect(error?.message).toMatch(/width: .*expected number.*; or: names: .*expected array/i);
  });

  it('accepts no body at all when the schema has a default, and then gives the default', () => {
    const input = toInputSchema(person.default({ name: 'MATT', age: 25 }));
    expect(input.optional).toBe(true);
    expect(input.parse(undefined)).toEqual({ ok: true, value: { name: 'MATT', age: 25 } });
    expect(toInputSchema(person).optional).toBe(false);
    expect(toInputSchema(person).parse(undefined).ok).toBe(false);
    expect(toInputSchema(person.optional()).optional).toBe(true);
  });

  it('reports a hundred errors of a long list and counts the rest', () => {
    const errors = errorsOf(z.array(z.string()), Array(1_000).fill(1));
    expect(errors).toHaveLength(101);
    expect(errors.at(-1)).toEqual({ path: '', message: 'There are 900 more errors' });
  });

  it('refuses the input, and does not throw, when a refinement or a transform throws', () => {
    const refined = z.string().refine(() => {
      throw new Error('no connection');
    });
    const transformed = z.string().transform(() => {
      throw 'a text';
    });
    expect(errorsOf(refined, 'x')).toEqual([
      { path: '', message: 'The input schema failed on this input: no connection' },
    ]);
    expect(errorsOf(transformed, 'x')).toEqual([
      { path: '', message: 'The input schema failed on this input: a text' },
    ]);
  });

  it('is refused when a check is asynchronous', () => {
    const shallow = z.string().refine(async () => true);
    const deep = z.object({ id: z.string().transform(async (id: string) => id) });
    expect(() => toInputSchema(shallow)).toThrow(/asynchronous refinement or transform/);
    expect(() => toInputSchema(deep)).toThrow(/asynchronous refinement or transform/);
  });

  it('refuses the input when a check turns out to be asynchronous only then', () => {
    const late = z.string().refine((text: string) => (text === 'late' ? Promise.resolve(true) : true));
    expect(errorsOf(late, 'late')[0]?.message).toMatch(/asynchronous/);
  });

  it('parses input that is nested as deep as is let through', () => {
    type Nested = { next?: Nested | undefined };
    const Nested: z.ZodType<Nested> = z.lazy(() => z.object({ next: Nested.optional() })) as never;
    let value: Nested = {};
    for (let depth = 0; depth < 64; depth++) value = { next: value };
    expect(toInputSchema(Nested).parse(value)).toEqual({ ok: true, value });
  });

  describe('as JSON Schema', () => {
    it('is draft 2020-12 and shows what callers send, with descriptions, limits and the default', () => {
      const schema = z
        .object({ name: z.string().min(1).describe('Whom to greet'), age: z.number().gt(5).optional() })
        .describe('A person')
        .default({ name: 'MATT' });
      const { jsonSchema } = toInputSchema(schema);
      expect(jsonSchema).toMatchObject({
        $schema: 'https://json-schema.org/draft/2020-12/schema',
        type: 'object',
        default: { name: 'MATT' },
        required: ['name'],
        properties: {
          name: { type: 'string', minLength: 1, description: 'Whom to greet' },
          age: { type: 'number', exclusiveMinimum: 5 },
        },
      });
      // Unknown keys are dropped, and not refused.
      expect(jsonSchema.additionalProperties).toBeUndefined();
    });

    it('shows dates, transforms, bigints and what else JSON does not have', () => {
      const schema = z.object({
        since: z.coerce.date(),
        until: z.date().default(new Date('2026-01-31T00:00:00Z')),
        length: z.string().transform((text: string) => text.length),
        big: z.coerce.bigint().default(5n),
        custom: z.custom<string>(() => true),
        before: z.preprocess((value: unknown) => value, z.number()),
        map: z.map(z.string(), z.number()).optional(),
        nothing: z.undefined(),
      });
      const { properties } = toInputSchema(schema).jsonSchema;
      expect(properties).toMatchObject({
        since: { type: 'string', format: 'date-time' },
        until: { type: 'string', format: 'date-time', default: '2026-01-31T00:00:00.000Z' },
        length: { type: 'string' },
        big: { type: 'integer' },
        custom: {},
        before: { type: 'number' },
      });
    });

    it('has prefixItems for a tuple', () => {
      const { jsonSchema } = toInputSchema(z.tuple([z.string(), z.number()]).rest(z.boolean()));
      expect(jsonSchema.prefixItems).toEqual([{ type: 'string' }, { type: 'number' }]);
      expect(jsonSchema.items).toEqual({ type: 'boolean' });
    });

    it('refers only to its own $defs, also when it is recursive or uses one schema twice', () => {
      type Tree = { label: string; kids: Tree[] };
      const Tree: z.ZodType<Tree> = z.lazy(() =>
        z.object({ label: z.string(), kids: z.array(Tree) }),
      ) as never;
      const part = z.object({ id: z.string() });
      for (const schema of [
        Tree,
        z.object({ tree: Tree }),
        z.object({ a: part, b: part, list: z.array(part) }),
      ]) {
        const { jsonSchema } = toInputSchema(schema);
        for (const ref of refs(jsonSchema)) {
          const [, name] = /^#\/\$defs\/([^/]+)$/.exec(ref) ?? [];
          expect(jsonSchema.$defs?.[name ?? ref]).toMatchObject({ type: 'object' });
        }
      }
      expect(refs(toInputSchema(Tree).jsonSchema).length).toBeGreaterThan(1);
    });

    it('does not take properties that are named like keywords for keywords', () => {
      const schema = z.object({
        default: z.string(),
        properties: z.object({ items: z.array(z.string()) }),
        $ref: z.string(),
      });
      const { jsonSchema, example } = toInputSchema(schema);
      expect(jsonSchema.properties).toMatchObject({
        default: { type: 'string' },
        properties: { properties: { items: { type: 'array' } } },
        $ref: { type: 'string' },
      });
      expect(example).toEqual({ default: 'text', properties: { items: ['text'] }, $ref: 'text' });
    });
  });

  describe('has as its example', () => {
    it('the default', () => {
      expect(toInputSchema(person.default({ name: 'MATT', age: 25 })).example).toEqual({
        name: 'MATT',
        age: 25,
      });
    });

    it('else a value made of what the schema says, optional fields and inner defaults included', () => {
      const schema = z.object({
        email: z.string().email(),
        id: z.string().uuid(),
        url: z.string().url(),
        at: z.string().datetime(),
        long: z.string().min(9),
        count: z.number().int().min(3).max(5),
        step: z.number().gt(4).multipleOf(3),
        mode: z.enum(['fast', 'slow']),
        kind: z.literal('a'),
        flag: z.boolean(),
        label: z.string().nullable(),
        tags: z.array(z.string()).min(2),
        retries: z.number().default(7),
        note: z.string().optional(),
      });
      const input = toInputSchema(schema);
      expect(input.parse(input.example).ok).toBe(true);
      expect(input.example).toMatchObject({
        count: 3,
        step: 6,
        mode: 'fast',
        kind: 'a',
        retries: 7,
        note: 'text',
      });
    });

    it('one without the optional fields when only that is accepted', () => {
      const schema = z.object({
        name: z.string(),
        code: z
          .string()
          .regex(/^[A-Z]{3}$/)
          .optional(),
      });
      expect(toInputSchema(schema).example).toEqual({ name: 'text' });
    });

    it('an end of its recursion', () => {
      type List = { value: number; next?: List | undefined };
      const List: z.ZodType<List> = z.lazy(() =>
        z.object({ value: z.number(), next: List.optional() }),
      ) as never;
      const input = toInputSchema(List);
      expect(input.parse(input.example).ok).toBe(true);
    });

    it('nothing when nothing that can be thought of is accepted', () => {
      expect(toInputSchema(z.object({ code: z.string().regex(/^[A-Z]{3}$/) })).example).toBeUndefined();
    });
  });
});

describe('an input schema of zod 4', () => {
  it('has as its example the first of the schema’s examples when it has no default', () => {
    const schema = z.object({ name: z.string().meta({ examples: ['Ada'] }), age: z.int() });
    expect(toInputSchema(schema).example).toEqual({ name: 'Ada', age: 1 });
    expect(toInputSchema(schema.meta({ examples: [{ name: 'Matt', age: 25 }] })).example).toEqual({
      name: 'Matt',
      age: 25,
    });
  });

  it('does not offer as an example what itself is refused', () => {
    const schema = z
      .string()
      .min(5)
      .default('x')
      .meta({ examples: ['y', 'long enough'] });
    expect(toInputSchema(schema).example).toBe('long enough');
  });

  it('may come from zod/mini', () => {
    const input = toInputSchema(mini.object({ name: mini.string() }));
    expect(input.parse({ name: 'Matt' })).toEqual({ ok: true, value: { name: 'Matt' } });
    expect(input.parse({}).ok).toBe(false);
  });

  it('may be of a copy whose metadata this copy of zod cannot see', () => {
    const schema = z.object({ name: z.string().describe('Whom to greet') });
    const name = schema.shape.name;
    z.globalRegistry.remove(name);
    Object.defineProperty(name, 'meta', { value: () => ({ description: 'Whom to greet' }) });
    expect(toInputSchema(schema).jsonSchema.properties).toMatchObject({
      name: { description: 'Whom to greet' },
    });
  });
});

describe('what is no schema', () => {
  it.each([
    ['nothing', undefined, /The input is undefined/],
    ['a number', 5, /The input is 5/],
    ['a class or function', class {}, /The input is a function/],
    ['an object of schemas', { name: z.string() }, /needs z\.object\(\.\.\.\) around it/],
    ['a schema of another library', { '~standard': { vendor: 'valibot' } }, /a schema of valibot/],
    ['any other object', { a: 1 }, /an object that is not a schema/],
  ])('is refused: %s', (_, schema, message) => {
    expect(() => toInputSchema(schema)).toThrow(message);
    expect(() => toInputSchema(schema)).toThrow(/Give it a zod schema/);
  });

  it('is refused when it cannot be described: two schemas with one id', () => {
    const schema = z.object({ a: z.string().meta({ id: 'same' }), b: z.number().meta({ id: 'same' }) });
    expect(() => toInputSchema(schema)).toThrow(/cannot be described as JSON Schema: .*"same"/);
  });
});
