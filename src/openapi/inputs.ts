/**
 * The inputs of all tasks as named schemas. What a task's schema has in `$defs` is named beside it: Swagger UI and most
 * generators of clients lose their way in nested definitions.
 */
import type { JsonSchema } from '../jsonSchema.ts';
import type { Registry } from '../registry.ts';
import type { TaskDefinition } from '../task.ts';
import { identifier, uniqueNames } from './names.ts';
import { schemaRef } from './schemas.ts';

export interface NamedInputs {
  /** For `components/schemas`: `<state>.<task>.input`, and `<state>.<task>.input.<definition>`. */
  readonly schemas: Record<string, JsonSchema>;
  /** The name of each task that takes input. */
  readonly names: ReadonlyMap<TaskDefinition, string>;
}

export function nameInputs(registry: Registry): NamedInputs {
  const unique = uniqueNames();
  const schemas: Record<string, JsonSchema> = {};
  const names = new Map<TaskDefinition, string>();
  for (const state of registry.states()) {
    for (const task of state.tasks.values()) {
      if (task.input === null) continue;
      const name = unique(`${state.name}.${task.name}.input`);
      names.set(task, name);
      const { $schema: _, $defs = {}, ...root } = task.input.jsonSchema;
      const moved = new Map<unknown, string>();
      for (const definition of Object.keys($defs)) {
        moved.set(`#/$defs/${definition}`, unique(`${name}.${identifier(definition)}`));
      }
      schemas[name] = withReferences(root, moved);
      for (const [definition, schema] of Object.entries($defs)) {
        schemas[moved.get(`#/$defs/${definition}`) as string] = withReferences(schema, moved);
      }
    }
  }
  return { schemas, names };
}

/** Any `$ref` that names a definition is one, in examples too: tools that read the document take it for that as well. */
function withReferences(schema: JsonSchema, moved: ReadonlyMap<unknown, string>): JsonSchema {
  return JSON.parse(
    JSON.stringify(schema, (key, value) => {
      const name = key === '$ref' ? moved.get(value) : undefined;
      return name === undefined ? value : schemaRef(name).$ref;
    }),
  );
}
