/**
 * Reads what an author declared into definitions that can be served, and refuses what cannot: one sentence for each thing
 * that is wrong, all of them at once.
 */
import { relative } from 'node:path';
import { StartError } from './errors.ts';
import { OptionCheck } from './optionCheck.ts';
import { type InputSchema, toInputSchema } from './schema.ts';
import {
  type DefinedState,
  declaredTasks,
  isState,
  isTask,
  type MonitorState,
  type StateDefinition,
  type TaskContext,
  type TaskDefinition,
} from './task.ts';
import { readKeys } from './taskKey.ts';
import { type AnyTaskOptions, taskOptionNames } from './taskOptions.ts';
import { readPolicy } from './taskPolicy.ts';

/** What stands in a URL as it is: no `/`, nothing to be escaped, and neither `.` nor `..`. */
const namePattern = /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/;
const maxNameLength = 64;

/** `/api/tasks` is the catalogue, and what lies below it and below `/api/admin` is kept for the server. */
const reservedStateNames = new Set(['tasks', 'admin']);

/** A task as it was found: not checked yet. `run` is `unknown` because only the compiler, if any, has seen it. */
interface FoundTask {
  name: string;
  options: AnyTaskOptions;
  source: string | null;
  run: unknown;
}

/**
 * Reads a state class, or the value of `defineState`. `origin` says where it comes from: the name that its file gives it,
 * and the file. Throws a `StartError` with a line for each thing that is wrong.
 */
export function readState(state: unknown, origin: { name?: string; source?: string } = {}): StateDefinition {
  if (!isState(state)) {
    throw new StartError(
      'this is not a state: give a class that extends MonitorState, or what defineState returns',
    );
  }
  const problems: string[] = [];
  const isClass = typeof state === 'function';
  const name = isClass ? (state.stateName ?? origin.name) : state.name;
  const nameProblem = stateNameProblem(name);
  if (nameProblem) problems.push(nameProblem);
  if (state.description !== undefined && typeof state.description !== 'string') {
    problems.push(`the description of a state must be text, not ${typeof state.description}`);
  }

  const found = isClass ? tasksOfClass(state, problems) : tasksOfValue(state, problems);
  const tasks = new Map<string, TaskDefinition>();
  for (const task of found) {
    const check = new OptionCheck();
    const { options } = task;
    const label = `task ${task.name} of state ${String(name)}`;
    checkTask(task, check);
    const input = readInput(options, check);
    tasks.set(task.name, {
      name: task.name,
      description: check.text('the description', options.description) ?? null,
      input: input ?? null,
      policy: readPolicy(options, { input, file: origin.source }, check),
      ...readKeys(options, label, input !== null, check),
      source: task.source,
      run: callable(task.run, input !== null, isClass ? state : undefined),
    });
    problems.push(...check.problems.map((problem) => `${label}${at(task.source)}: ${problem}`));
  }
  if (found.length === 0) {
    problems.push(
      isClass
        ? 'the state has no tasks: decorate a static method with @monitoredBackgroundTask()'
        : 'the state has no tasks: give defineState at least one defineTask(...)',
    );
  }
  if (problems.length > 0) throw new StartError(problems.join('\n'));
  const source = origin.source ?? (isClass ? null : state.source);
  const file = origin.source ?? null;
  return { name: name as string, description: state.description ?? null, tasks, source, file };
}

/** A class has its own tasks and those it inherits; a name that one and the same class declares twice is a mistake. */
function tasksOfClass(state: typeof MonitorState, problems: string[]): FoundTask[] {
  const line: object[] = [];
  for (let next: object | null = state; next; next = Object.getPrototypeOf(next)) line.unshift(next);
  const found = new Map<string, FoundTask>();
  for (const link of line) {
    const own = new Map<string, string | null>();
    for (const { name, options, source } of declaredTasks(link)) {
      if (own.has(name)) {
        problems.push(
          `task ${name} is declared twice${at(own.get(name))}${at(source)}: rename one of the two`,
        );
      }
      own.set(name, source);
      found.set(name, { name, options, source, run: Reflect.get(state, name) });
    }
  }
  return [...found.values()];
}

function tasksOfValue(state: DefinedState, problems: string[]): FoundTask[] {
  return Object.entries(state.tasks ?? {}).flatMap(([name, task]) => {
    if (isTask(task)) return [{ name, options: task.options, source: task.source, run: task.run }];
    problems.push(
      `task ${name}: this is not a task: write ${name}: defineTask({ ... }, async (task, args) => { ... })`,
    );
    return [];
  });
}

function checkTask(task: FoundTask, check: OptionCheck): void {
  const nameProblem = segmentProblem('the name of a task', task.name);
  if (nameProblem) check.refuse(nameProblem);
  if (typeof task.run !== 'function') check.refuse(`the task is ${typeof task.run}, and not a function`);
  check.names('', task.options, taskOptionNames);
}

/** null: the task takes no input; undefined: its schema is wrong. */
function readInput(options: AnyTaskOptions, check: OptionCheck): InputSchema | null | undefined {
  if (!('input' in options)) return null;
  try {
    return toInputSchema(options.input);
  } catch (error) {
    return check.refuse(error instanceof Error ? error.message : String(error));
  }
}

function callable(run: unknown, hasInput: boolean, self: unknown): TaskDefinition['run'] {
  const method = run as (this: unknown, context: TaskContext, input?: unknown) => unknown;
  if (!hasInput) return (context) => method.call(self, context);
  return (context, input) => method.call(self, context, input);
}

function stateNameProblem(name: unknown): string | undefined {
  if (name === undefined) return 'the state has no name: give its class a static stateName';
  if (typeof name === 'string' && reservedStateNames.has(name)) {
    return `a state cannot be called ${JSON.stringify(name)}: /api/${name} belongs to the server. Rename it, or set static stateName`;
  }
  return segmentProblem('the name of a state', name);
}

function segmentProblem(what: string, name: unknown): string | undefined {
  if (typeof name === 'string' && name.length <= maxNameLength && namePattern.test(name)) return undefined;
  return `${what} stands in URLs, and ${JSON.stringify(name) ?? String(name)} cannot: use up to ${maxNameLength} letters (a-z), digits, "_", "-" and ".", beginning with a letter, a digit or "_"`;
}

function at(source: string | null | undefined): string {
  return source ? ` (${shortPath(source)})` : '';
}

/** A path as a person at the command line would write it. */
export function shortPath(path: string): string {
  const short = relative(process.cwd(), path);
  return short === '' ? '.' : short.startsWith('..') ? path : short;
}
