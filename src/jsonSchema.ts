/**
 * JSON Schema (draft 2020-12) as this server shows it: made self-contained, and turned into an example.
 */

/** One JSON Schema. Open: which keywords there are is up to the author's zod schema. */
export interface JsonSchema {
  $schema?: string;
  $ref?: string;
  $defs?: Record<string, JsonSchema>;
  [keyword: string]: unknown;
}

const draft = 'https://json-schema.org/draft/2020-12/schema';

/** Keywords whose value is a table of schemas under names of the author's, which are not keywords. */
const tables = new Set(['properties', 'patternProperties', 'dependentSchemas', '$defs']);
/** Keywords whose value is data, whatever it looks like. */
const data = new Set(['default', 'examples', 'const', 'enum', 'required']);

/**
 * The same schema as plain JSON, with every `$ref` of the form `#/$defs/<name>`: a document such as an OpenAPI one can move
 * the definitions elsewhere by renaming alone. Converters also give `#` for recursion, `#/properties/a` for what is used
 * twice, and the tuples of draft-07.
 */
export function selfContained(schema: object): JsonSchema {
  const { $schema: _, $defs = {}, ...root } = plain(schema);
  const names = new Map<JsonSchema, string>();

  const nameTargets = (node: JsonSchema): JsonSchema => {
    const target = foreignTarget(node.$ref);
    for (let n = 1; target && !names.has(target); n++) {
      const name = `schema${names.size + n}`;
      if (!(name in $defs)) names.set(target, name);
    }
    return mapSubschemas(node, nameTargets);
  };
  const foreignTarget = (ref: string | undefined) =>
    ref === undefined || /^#\/\$defs\/[^/]+$/.test(ref) ? undefined : resolvePointer(root, ref);

  const referred = (node: JsonSchema): JsonSchema =>
    names.has(node) ? { $ref: `#/$defs/${names.get(node)}` } : rewritten(node);
  const rewritten = (node: JsonSchema): JsonSchema => {
    const copy = modernTuple(mapSubschemas(node, referred));
    const target = foreignTarget(node.$ref);
    if (target) copy.$ref = `#/$defs/${names.get(target)}`;
    return copy;
  };

  nameTargets({ ...root, $defs });
  const result: JsonSchema = { $schema: draft, ...referred(root) };
  const definitions = Object.entries($defs).map(([name, node]) => [name, rewritten(node)] as const);
  const hoisted = [...names].map(([node, name]) => [name, rewritten(node)] as const);
  if (definitions.length + hoisted.length > 0)
    result.$defs = Object.fromEntries([...definitions, ...hoisted]);
  return result;
}

/** A plausible value for a schema that `selfContained` gave; undefined when there is none to be thought of. */
export function makeExample(schema: JsonSchema, options: { optionalProperties: boolean }): unknown {
  const make = (node: JsonSchema, depth: number): unknown => {
    if (depth > 8) return undefined;
    if (node.default !== undefined) return node.default;
    if (Array.isArray(node.examples) && node.examples.length > 0) return node.examples[0];
    if (node.const !== undefined) return node.const;
    if (Array.isArray(node.enum)) return node.enum[0];
    if (node.$ref !== undefined) {
      const target = resolvePointer(schema, node.$ref);
      return target && make(target, depth + 1);
    }
    const choices = (node.anyOf ?? node.oneOf) as JsonSchema[] | undefined;
    if (choices) return choices.map((choice) => make(choice, depth + 1)).find((value) => value !== undefined);
    if (Array.isArray(node.allOf)) return merged(node.allOf.map((part) => make(part, depth + 1)));
    switch (Array.isArray(node.type) ? node.type[0] : node.type) {
      case 'object':
        return makeObject(node, depth);
      case 'array':
        return makeArray(node, depth);
      case 'string':
        return makeString(node);
      case 'number':
      case 'integer':
        return makeNumber(node);
      case 'boolean':
        return true;
      case 'null':
        return null;
      default:
        return node.not ? undefined : {};
    }
  };

  const makeObject = (node: JsonSchema, depth: number) => {
    const properties = node.properties as Record<string, JsonSchema> | undefined;
    const required = new Set(node.required as string[] | undefined);
    const others = isSchema(node.additionalProperties) ? node.additionalProperties : undefined;
    const keys = new Set([...Object.keys(properties ?? {}), ...required]);
    if (keys.size === 0 && others && options.optionalProperties) keys.add('key');
    const entries: [string, unknown][] = [];
    for (const key of keys) {
      if (!required.has(key) && properties && !options.optionalProperties) continue;
      const value = make(properties?.[key] ?? others ?? {}, depth + 1);
      if (value !== undefined) entries.push([key, value]);
      else if (required.has(key)) return undefined;
    }
    return Object.fromEntries(entries);
  };

  const makeArray = (node: JsonSchema, depth: number) => {
    const first = (node.prefixItems as JsonSchema[] | undefined) ?? [];
    const rest = isSchema(node.items) ? node.items : undefined;
    const wanted = Math.min(
      (node.minItems as number | undefined) ?? (options.optionalProperties ? 1 : 0),
      20,
    );
    const schemas = [...first, ...Array(rest ? Math.max(0, wanted - first.length) : 0).fill(rest)];
    return schemas.map((item) => make(item, depth + 1)).filter((value) => value !== undefined);
  };

  return make(schema, 0);
}

const stringExamples: Record<string, string> = {
  email: 'ada@example.com',
  uri: 'https://example.com/',
  uuid: '3f2504e0-4f89-41d3-9a0c-0305e82c3301',
  'date-time': '2026-01-31T12:00:00.000Z',
  date: '2026-01-31',
  time: '12:00:00',
  duration: 'PT1H',
  ipv4: '192.0.2.1',
  ipv6: '2001:db8::1',
  hostname: 'example.com',
};

function makeString(node: JsonSchema): string {
  const text = stringExamples[node.format as string] ?? 'text';
  const { minLength = 0, maxLength = Number.POSITIVE_INFINITY } = node as {
    minLength?: number;
    maxLength?: number;
  };
  return text.padEnd(Math.min(minLength, 1000), 'x').slice(0, maxLength);
}

function makeNumber(node: JsonSchema): number {
  const bounds = node as Partial<
    Record<'minimum' | 'maximum' | 'exclusiveMinimum' | 'exclusiveMaximum' | 'multipleOf', number>
  >;
  const least = Math.max(bounds.minimum ?? -Infinity, (bounds.exclusiveMinimum ?? -Infinity) + 1);
  const most = Math.min(bounds.maximum ?? Infinity, (bounds.exclusiveMaximum ?? Infinity) - 1);
  const wanted = Math.min(Math.max(1, least), most);
  return bounds.multipleOf ? Math.ceil(wanted / bounds.multipleOf) * bounds.multipleOf : wanted;
}

function merged(parts: unknown[]): unknown {
  return parts.every((part) => typeof part === 'object' && part !== null)
    ? Object.assign({}, ...parts)
    : parts[0];
}

/** As JSON would carry it; a bigint, which zod 3 leaves in bounds and defaults, becomes a number. */
function plain(schema: object): JsonSchema {
  return JSON.parse(
    JSON.stringify(schema, (_, value) => (typeof value === 'bigint' ? Number(value) : value)),
  );
}

function isSchema(value: unknown): value is JsonSchema {
  return typeof value === 'object' && value !== null;
}

/** A copy of `node` in which `change` has been applied to each schema directly below it. */
function mapSubschemas(node: JsonSchema, change: (sub: JsonSchema) => JsonSchema): JsonSchema {
  const each = (value: unknown) => (isSchema(value) ? change(value) : value);
  const changed = Object.entries(node).map(([keyword, value]) => {
    if (data.has(keyword) || !isSchema(value)) return [keyword, value];
    if (Array.isArray(value)) return [keyword, value.map(each)];
    if (tables.has(keyword))
      return [keyword, Object.fromEntries(Object.entries(value).map(([name, sub]) => [name, each(sub)]))];
    return [keyword, change(value)];
  });
  return Object.fromEntries(changed);
}

/** What a JSON pointer (RFC 6901) in a `$ref` points to. */
function resolvePointer(root: JsonSchema, ref: string): JsonSchema | undefined {
  let found: unknown = root;
  for (const step of ref.split('/').slice(1)) {
    found = isSchema(found)
      ? found[decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~')]
      : undefined;
  }
  return isSchema(found) ? found : undefined;
}

/** Draft-07 wrote a tuple as `items: [...]` with `additionalItems`; 2020-12 has `prefixItems` with `items`. */
function modernTuple(node: JsonSchema): JsonSchema {
  if (!Array.isArray(node.items)) return node;
  const { items, additionalItems, ...rest } = node;
  return {
    ...rest,
    prefixItems: items,
    ...(additionalItems === undefined ? {} : { items: additionalItems }),
  };
}
