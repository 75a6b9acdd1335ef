/**
 * What a task takes as input: an author's zod schema, asked for two things only. `parse` is zod's own `safeParse`, the one
 * authority on what is accepted; the JSON Schema is for documents and forms.
 */
import { toJSONSchema } from 'zod';
import { type $ZodType, safeParse as coreSafeParse } from 'zod/v4/core';
import { type JsonSchema7Type, zodToJsonSchema } from 'zod-to-json-schema';
import type { FieldError } from './errors.ts';
import { type JsonSchema, makeExample, selfContained } from './jsonSchema.ts';

/** Any zod schema, 4 or 3, told by its shape: an author's zod need not be the copy that is loaded here. */
export type ZodSchema =
  | { readonly _zod: { readonly output: unknown } }
  | { readonly _output: unknown; readonly _def: unknown };

/** What a zod schema gives when it accepts an input. */
export type SchemaOutput<Schema> = Schema extends { readonly _zod: { readonly output: infer Output } }
  ? Output
  : Schema extends { readonly _output: infer Output }
    ? Output
    : never;

/** What a zod schema takes: what callers send. */
export type SchemaInput<Schema> = Schema extends { readonly _zod: { readonly input: infer Input } }
  ? Input
  : Schema extends { readonly _input: infer Input }
    ? Input
    : never;

export type Parsed = { ok: true; value: unknown } | { ok: false; errors: FieldError[] };

/** The input of one task. */
export interface InputSchema {
  /** Never throws. `undefined` stands for no body at all. */
  parse(value: unknown): Parsed;
  /** Draft 2020-12, of what callers send; each `$ref` in it is `#/$defs/<name>`. */
  readonly jsonSchema: JsonSchema;
  /** Whether no body at all is accepted. */
  readonly optional: boolean;
  /** An input that is accepted: the default, else one of the schema's `examples`, else a made one; undefined when none is. */
  readonly example: unknown;
}

/** More than these are not reported: a body of 1 MiB has room for 300,000 things that are wrong. */
const maxErrors = 100;

/** Reads a zod 4 or zod 3 schema; throws a sentence that says what is wrong with anything else, and with an async one. */
export function toInputSchema(schema: unknown): InputSchema {
  const safeParse = safeParseOf(schema);
  const parse = (value: unknown): Parsed => {
    try {
      const result = safeParse(value);
      return result.success
        ? { ok: true, value: result.data }
        : { ok: false, errors: fieldErrors(result.error.issues) };
    } catch (error) {
      const message = isAsync(safeParse, value)
        ? asyncSchema
        : `The input schema failed on this input: ${messageOf(error)}`;
      return { ok: false, errors: [{ path: '', message }] };
    }
  };
  const jsonSchema = selfContained(describe(schema));
  const examples = candidates(jsonSchema);
  if ([undefined, ...examples].some((input) => isAsync(safeParse, input))) throw new TypeError(asyncSchema);
  return {
    parse,
    jsonSchema,
    optional: parse(undefined).ok,
    example: examples.find((candidate) => candidate !== undefined && parse(candidate).ok),
  };
}

/** The slice of zod that is used: the same in 3 and 4. */
type SafeParse = (
  value: unknown,
  options?: { jitless: boolean },
) => { success: true; data: unknown } | { success: false; error: { issues: Issue[] } };

interface Issue {
  path: PropertyKey[];
  message: string;
  /** zod 4: what each alternative of a union found wrong. */
  errors?: Issue[][];
  /** zod 3: the same. */
  unionErrors?: { issues: Issue[] }[];
  /** zod 4: what is wrong with a key or an element of a record, map or set. */
  issues?: Issue[];
}

function safeParseOf(schema: unknown): SafeParse {
  if (isZod4(schema)) {
    const own = (schema as { safeParse?: SafeParse }).safeParse;
    return typeof own === 'function'
      ? own.bind(schema)
      : (value, options) => coreSafeParse(schema, value, options) as ReturnType<SafeParse>;
  }
  if (isZod3(schema)) return schema.safeParse.bind(schema);
  throw new TypeError(
    `${notASchema(schema)} Give it a zod schema (zod 4 or 3), such as z.object({ name: z.string() })`,
  );
}

function isZod4(schema: unknown): schema is $ZodType {
  return typeof schema === 'object' && schema !== null && '_zod' in schema;
}

function isZod3(schema: unknown): schema is Parameters<typeof zodToJsonSchema>[0] & { safeParse: SafeParse } {
  const def = (schema as { _def?: { typeName?: unknown } } | null | undefined)?._def;
  return (
    typeof def?.typeName === 'string' && typeof (schema as { safeParse?: unknown }).safeParse === 'function'
  );
}

function notASchema(value: unknown): string {
  if (typeof value === 'function') return 'The input is a function.';
  if (typeof value !== 'object' || value === null) return `The input is ${String(value)}.`;
  const vendor = (value as { '~standard'?: { vendor?: unknown } })['~standard']?.vendor;
  if (typeof vendor === 'string') return `The input is a schema of ${vendor}.`;
  if (Object.values(value).some((field) => isZod4(field) || isZod3(field))) {
    return 'The input is an object of zod schemas: it needs z.object(...) around it.';
  }
  return 'The input is an object that is not a schema.';
}

function describe(schema: unknown): object {
  try {
    return isZod4(schema)
      ? describeZod4(schema)
      : describeZod3(schema as Parameters<typeof zodToJsonSchema>[0]);
  } catch (error) {
    throw new TypeError(`The input schema cannot be described as JSON Schema: ${messageOf(error)}`);
  }
}

function describeZod4(schema: $ZodType): object {
  return toJSONSchema(schema, {
    io: 'input',
    unrepresentable: 'any',
    override({ zodSchema, jsonSchema }) {
      const type = zodSchema._zod.def.type;
      if (type === 'date') Object.assign(jsonSchema, { type: 'string', format: 'date-time' });
      if (type === 'bigint') jsonSchema.type = 'integer';
      // The bounds of safe integers, which zod states for every integer, tell a reader nothing.
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
      // Before 4.2 each copy of zod kept these to itself, out of sight of the converter.
      const meta = (
        zodSchema as { meta?: () => { title?: string; description?: string } | undefined }
      ).meta?.();
      if (meta?.title !== undefined) jsonSchema.title ??= meta.title;
      if (meta?.description !== undefined) jsonSchema.description ??= meta.description;
    },
  });
}

/**
 * As draft-07, which that package writes best (its 2019-09 has the boolean `exclusiveMinimum` of draft-04). An object that
 * drops unknown keys accepts them, so it is not shown as closed.
 */
function describeZod3(schema: Parameters<typeof zodToJsonSchema>[0]): JsonSchema7Type {
  return zodToJsonSchema(schema, {
    target: 'jsonSchema7',
    pipeStrategy: 'input',
    removeAdditionalStrategy: 'strict',
    allowedAdditionalProperties: undefined,
  });
}

function candidates(schema: JsonSchema): unknown[] {
  return [
    schema.default,
    ...(Array.isArray(schema.examples) ? schema.examples : []),
    makeExample(schema, { optionalProperties: true }),
    makeExample(schema, { optionalProperties: false }),
  ];
}

const asyncSchema =
  'The input schema has an asynchronous refinement or transform: input is checked before a start is answered, so do what takes time in the task itself';

/**
 * A check that is asynchronous shows itself only when it is run. zod 4 has a class for that error, which may be another
 * copy's, and zod 3 has none, but both say which method to use instead. (The code that zod 4 compiles for objects trips over
 * a promise with another error, so it is told not to use it.)
 */
function isAsync(safeParse: SafeParse, input: unknown): boolean {
  try {
    safeParse(input, { jitless: true });
    return false;
  } catch (error) {
    return messageOf(error).includes('parseAsync');
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function fieldErrors(issues: Issue[]): FieldError[] {
  const errors = issues
    .slice(0, maxErrors)
    .map((issue) => ({ path: pathText(issue.path), message: sentence(issue) }));
  if (issues.length > maxErrors) {
    errors.push({ path: '', message: `There are ${issues.length - maxErrors} more errors` });
  }
  return errors;
}

/** Of a union, zod says only that nothing fits: what each alternative misses is more use. */
function sentence(issue: Issue): string {
  const depth = issue.path.length;
  const alternatives =
    issue.errors ??
    issue.unionErrors?.map((error) =>
      error.issues.map((inner) => ({ ...inner, path: inner.path.slice(depth) })),
    ) ??
    (issue.issues ? [issue.issues] : []);
  const reasons = alternatives.slice(0, 5).flatMap(([first]) => (first ? [reason(first)] : []));
  if (reasons.length === 0) return issue.message;
  return `${issue.message}: ${[...new Set(reasons)].join('; or: ')}`;
}

function reason(issue: Issue): string {
  const text = sentence(issue).replace(/^Invalid input: /, '');
  return issue.path.length > 0 ? `${pathText(issue.path)}: ${text}` : text;
}

/** `address.street`, `items[2].name`, `["a b"]`; empty for the input as a whole. */
function pathText(path: PropertyKey[]): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`;
    else if (/^[\p{L}\p{N}_$-]+$/u.test(String(step))) text += text ? `.${String(step)}` : String(step);
    else text += `[${JSON.stringify(String(step))}]`;
  }
  return text;
}
