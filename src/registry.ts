/**
 * States and tasks by name, and how a folder of task files becomes that.
 */
import { readdir, stat } from 'node:fs/promises';
import { basename, extname, join, resolve } from 'node:path';
import { StartError } from './errors.ts';
import type { JsonSchema } from './jsonSchema.ts';
import { defaultPolicy, type Policies, type RunKeys } from './policy.ts';
import { readState, shortPath } from './state.ts';
import { declaredTasks, isState, type StateDefinition, type StateLike, type TaskDefinition } from './task.ts';
import { type ImportTaskFile, importFailure, taskFileImport } from './taskFile.ts';

/** What `GET /api/tasks` answers. */
export interface Catalogue {
  states: {
    name: string;
    description: string | null;
    tasks: {
      name: string;
      description: string | null;
      /** null when the task takes no input. */
      input: JsonSchema | null;
      /** An input that is accepted; null when the task takes none, or none could be made. */
      example: unknown;
    }[];
  }[];
}

/** The states that a server serves. There is no global one: it is filled, and then handed to the server. */
export class Registry {
  readonly #states = new Map<string, StateDefinition>();

  /**
   * Adds a state class, or what `defineState` gives. `origin.name` is the name of a class without a `stateName`,
   * `origin.source` the file it comes from. Throws a `StartError` that says all that is wrong with the state.
   */
  add(state: StateLike, origin: { name?: string; source?: string } = {}): StateDefinition {
    const definition = readState(state, origin);
    const other = this.#states.get(definition.name);
    if (other) {
      const places = [other, definition].map(({ source }) =>
        source ? shortPath(source) : 'one that was added by hand',
      );
      throw new StartError(
        `two states are called ${JSON.stringify(definition.name)}: ${places.join(' and ')}. Rename one, or set its static stateName`,
      );
    }
    this.#states.set(definition.name, definition);
    return definition;
  }

  /** In the order in which they were added: that of their file names, for a folder. */
  states(): StateDefinition[] {
    return [...this.#states.values()];
  }

  state(name: string): StateDefinition | undefined {
    return this.#states.get(name);
  }

  task(state: string, name: string): TaskDefinition | undefined {
    return this.#states.get(state)?.tasks.get(name);
  }

  /** How the runs of all tasks are to be run. */
  policies(): Policies {
    const all = this.states().flatMap((state) =>
      [...state.tasks.values()].map(({ name, policy }) => ({ state: state.name, task: name, policy })),
    );
    return {
      of: (state, task) => this.task(state, task)?.policy ?? defaultPolicy,
      all: () => all,
      keysOf: (state, task, input) => keysOf(this.task(state, task), input),
    };
  }

  catalogue(): Catalogue {
    const states = this.states().map(({ name, description, tasks }) => ({
      name,
      description,
      tasks: [...tasks.values()].map((task) => ({
        name: task.name,
        description: task.description,
        input: task.input?.jsonSchema ?? null,
        example: task.input?.example ?? null,
      })),
    }));
    return { states };
  }
}

function keysOf(task: TaskDefinition | undefined, input: string | null): RunKeys {
  const parsed = task?.input?.parse(input === null ? undefined : JSON.parse(input));
  if (!task || parsed?.ok === false) return {};
  const key = task.keyOf(parsed?.value);
  const unique = task.uniqueOf(parsed?.value);
  return { ...(key !== null && { key }), ...(unique && { unique }) };
}

/**
 * Loads the states of a folder: each `<name>.ts`, `<name>.js` and `<name>/index.ts|js` directly in it is one. What begins
 * with `_` or `.`, tests and `.d.ts` files are passed over, as is whatever is no such file.
 *
 * Throws one `StartError` that names every file that is wrong, and why.
 */
export async function loadRegistry(folder: string): Promise<Registry> {
  const root = resolve(folder);
  const { files, passedOver } = await findTaskFiles(root);
  if (files.length === 0) {
    const seen = passedOver.length > 0 ? ` Passed over: ${passedOver.join(', ')}.` : ' It is empty.';
    throw new StartError(
      `There are no task files in ${shortPath(root)}: put a <name>.ts, or a <name>/index.ts, there for each state.${seen}`,
    );
  }
  const registry = new Registry();
  const importFile = taskFileImport(root);
  const problems: string[] = [];
  for (const { name, file } of files) {
    try {
      registry.add(await stateIn(file, importFile), { name, source: file });
    } catch (error) {
      if (!(error instanceof StartError)) throw error;
      problems.push(...error.message.split('\n').map((line) => `${shortPath(file)}: ${line}`));
    }
  }
  if (problems.length > 0) {
    throw new StartError(
      `The task files in ${shortPath(root)} cannot be served:\n${problems.map((problem) => `  ${problem}`).join('\n')}`,
    );
  }
  return registry;
}

/** The state of one task file, as `loadRegistry` reads it: for a thread, which serves only what it is asked for. */
export async function loadState(
  file: string,
  name: string,
  importFile: ImportTaskFile,
): Promise<StateDefinition> {
  return readState(await stateIn(file, importFile), { name, source: file });
}

interface TaskFile {
  /** The state's name, as its file or folder gives it. */
  name: string;
  file: string;
}

async function findTaskFiles(root: string): Promise<{ files: TaskFile[]; passedOver: string[] }> {
  const entries = await readdir(root).catch((error: NodeJS.ErrnoException) => {
    const folder = shortPath(root);
    if (error.code === 'ENOENT')
      throw new StartError(`There is no folder ${folder}: give the folder of your task files`);
    if (error.code === 'ENOTDIR')
      throw new StartError(`${folder} is a file: give the folder that your task files are in`);
    throw new StartError(`The folder ${folder} cannot be read: ${error.message}`);
  });
  const files: TaskFile[] = [];
  const passedOver: string[] = [];
  for (const entry of entries.sort()) {
    const path = join(root, entry);
    const isFolder = (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
    const name = isFolder ? entry : basename(entry, extname(entry));
    const isHelper = /^[._]/.test(entry);
    const found = isHelper ? [] : isFolder ? await indexesOf(path) : isTaskFile(entry) ? [path] : [];
    files.push(...found.map((file) => ({ name, file })));
    if (found.length === 0) passedOver.push(isFolder && !isHelper ? `${entry}/ (has no index.ts)` : entry);
  }
  return { files, passedOver };
}

async function indexesOf(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  return names.filter((name) => /^index\.[jt]s$/.test(name)).map((name) => join(folder, name));
}

function isTaskFile(name: string): boolean {
  return /\.[jt]s$/.test(name) && !/\.(d|test|spec)\.[jt]s$/.test(name);
}

/** The one state that a task file exports, under whatever name. */
async function stateIn(file: string, importFile: ImportTaskFile): Promise<StateLike> {
  let module: object;
  try {
    module = await importFile(file);
  } catch (error) {
    const { reason, place } = importFailure(file, error);
    throw new StartError(place ? `${reason} (${shortPath(place)})` : reason);
  }
  const exported = new Set(
    Object.entries(module).flatMap(([name, value]) => [value, ...commonJsExports(name, value)]),
  );
  const states = [...exported].filter(isState);
  const [state, ...others] = states;
  if (state && others.length === 0) return state;
  if (others.length > 0) {
    const names = states.map((state) => state.name).join(', ');
    throw new StartError(
      `it exports ${states.length} states (${names}), and one is what a file has: give each its own file`,
    );
  }
  const stray = [...exported].find((value) => typeof value === 'function' && declaredTasks(value).length > 0);
  throw new StartError(
    stray
      ? `the class ${(stray as { name: string }).name} has tasks but is not a state: let it extend MonitorState`
      : 'it exports no state: export a class that extends MonitorState or a defineState(...), or let the name of a helper begin with "_"',
  );
}

/** `module.exports = { ... }` arrives as the default export. */
function commonJsExports(name: string, value: unknown): unknown[] {
  return name === 'default' && typeof value === 'object' && value !== null && !isState(value)
    ? Object.values(value)
    : [];
}
