/**
 * The inputs of all tasks as named schemas. What a task's schema has in `$defs` is named beside it: Swagger UI and most
 * generators of clients lose their way in nested definitions.
 */
import type { JsonSchema } from '../jsonSchema.ts';
import type { StateDefinition, TaskDefinition } from '../task.ts';
import { identifier, uniqueNames } from './names.ts';
import { schemaRef } from './shapes.ts';

export interface NamedInputs {
  /** For `components/schemas`: `<state>.<task>.input`, and `<state>.<task>.input.<definition>`. */
  readonly schemas: Record<string, JsonSchema>;
  /** The name of each task that takes input. */
  readonly names: ReadonlyMap<TaskDefinition, string>;
}

export function nameInputs(states: readonly StateDefinition[]): NamedInputs {
  const unique = uniqueNames();
  const schemas: Record<string, JsonSchema> = {};
  const names = new Map<TaskDefinition, string>();
  for (const state of states) {
    for (const task of state.tasks.values()) {
      if (task.input === null) continue;
      const name = unique(`${state.name}.${task.name}.input`);
      names.set(task, name);
      const { $schema: _, $defs = {}, ...root } = task.input.jsonSchema;
      // A recursive input is nothing but a reference to its definition, which then bears the name of the input.
      const itself = Object.keys(root).length === 1 ? root.$ref : undefined;
      const moved = new Map<unknown, string>();
      for (const definition of Object.keys($defs)) {
        const ref = pointerTo(definition);
        moved.set(ref, ref === itself ? name : unique(`${name}.${identifier(definition)}`));
      }
      if (itself === undefined) schemas[name] = shown(root, moved);
      for (const [definition, schema] of Object.entries($defs)) {
        schemas[moved.get(pointerTo(definition)) as string] = shown(schema, moved);
      }
    }
  }
  return { schemas, names };
}

/** As a `$ref` has it (RFC 6901). */
function pointerTo(definition: string): string {
  return `#/$defs/${definition.replaceAll('~', '~0').replaceAll('/', '~1')}`;
}

/**
 * `schema` with its references renamed. What else is called `$ref` belongs to a default or an example, and goes: every tool
 * would take it for a reference.
 */
function shown(schema: JsonSchema, moved: ReadonlyMap<unknown, string>): JsonSchema {
  const change = (key: string, value: unknown) => {
    if (key !== '$ref' || typeof value !== 'string') return value;
    const name = moved.get(value);
    return name === undefined ? undefined : schemaRef(name).$ref;
  };
  return JSON.parse(JSON.stringify(schema, change));
}
