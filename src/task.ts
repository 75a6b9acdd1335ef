/**
 * What an author writes: a State with its tasks, as a class with decorated static methods or as plain functions.
 *
 * Importing a task file registers nothing. There can be a second copy of this module (tsx makes one for the task files of
 * a CommonJS project), so a declaration is kept on the declared thing itself, under `Symbol.for` keys that every copy knows;
 * `state.ts` reads it from there.
 */
import type { TaskPolicy } from './policy.ts';
import type { TaskStatus } from './run.ts';
import type { InputSchema, ZodSchema } from './schema.ts';
import { callSite } from './stack.ts';
import type { AnyTaskOptions, TaskArgs, TaskOptions } from './taskOptions.ts';

const stateBrand: unique symbol = Symbol.for('spyglass-tasks.state');
const taskBrand: unique symbol = Symbol.for('spyglass-tasks.task');
const declarations: unique symbol = Symbol.for('spyglass-tasks.declarations');

/** What a running task may change about its run. Fields that are left out stay as they are. */
export interface TaskUpdate {
  /** 0 to 100; clamped to that, and refused when it is not a number. */
  progress?: number | undefined;
  /** A task says only that it is at work: how a run ends is decided by what its function returns or throws. */
  status?: typeof TaskStatus.PROCESSING | undefined;
  /** A sentence for whoever watches; null takes it away. */
  message?: string | null | undefined;
  /** What there is of the result so far: JSON. */
  result?: unknown;
}

/** What a task knows and can do while it runs: the first argument of every task. */
export interface TaskContext {
  /** The run's id: the `task_id` of the wire. */
  readonly id: string;
  readonly state: string;
  readonly task: string;
  /** 1 for the first try; one more each time that the run is begun, whether the last attempt failed or was interrupted. */
  readonly attempt: number;
  /** The label of the client token that the run was started with; null without a label, and for direct access. */
  readonly client: string | null;
  /** Aborted on cancel, on shutdown and when time is over. A task that heeds it throws `signal.reason`, as `sleep` does. */
  readonly signal: AbortSignal;
  /** Tells watchers how far the run is. Resolves at once: it never waits for a disk or a slow watcher. */
  update(update: TaskUpdate): Promise<void>;
  /** Adds a line, with any fields, to the run's history. Resolves at once; a `TypeError` for fields that are no object. */
  log(text: string, fields?: Record<string, unknown>): Promise<void>;
  /** Resolves after `ms` milliseconds; rejects with `signal.reason` as soon as the signal is aborted. */
  sleep(ms: number): Promise<void>;
}

/** A task, ready to be executed. */
export interface TaskDefinition {
  readonly name: string;
  readonly description: string | null;
  /** null when the task takes no input. */
  readonly input: InputSchema | null;
  /** How its runs are run. */
  readonly policy: TaskPolicy;
  /** What the author's `key` makes of an input that was accepted; null without one. Throws what the author's function throws. */
  keyOf(input: unknown): string | null;
  /** The same of `unique`, and for how long the key holds; null: as long as the run is active. */
  uniqueOf(input: unknown): { key: string; forMs: number | null } | null;
  /** `file:line` of the declaration, where it is known. */
  readonly source: string | null;
  /** Calls the author's function. `input` is what `input.parse` gave; it is not passed on when there is no schema. */
  run(context: TaskContext, input: unknown): unknown;
}

/** A state, ready to be served. Tasks are in the order in which they were declared. */
export interface StateDefinition {
  readonly name: string;
  readonly description: string | null;
  readonly tasks: ReadonlyMap<string, TaskDefinition>;
  /** The file, or the `file:line`, of the declaration, where it is known. */
  readonly source: string | null;
  /** The file that it was loaded from, and can be loaded from again by a thread; null when it was added by hand. */
  readonly file: string | null;
}

/** A named group of tasks: extend it and decorate static methods with `@monitoredBackgroundTask`. */
export abstract class MonitorState {
  static readonly [stateBrand]: true = true;
  /** The state's name in URLs. Default: the name of its file or folder. */
  static stateName?: string;
  /** A sentence for the catalogue and `/docs`. */
  static description?: string;
}

/** A state class, or the value that `defineState` gives. */
export type StateLike = typeof MonitorState | DefinedState;

/** The value of `defineState`. */
export interface DefinedState {
  readonly [stateBrand]: true;
  readonly name: string;
  readonly description: string | undefined;
  readonly tasks: Readonly<Record<string, DefinedTask>>;
  readonly source: string | null;
}

/** The value of `defineTask`: to be given to `defineState`. */
export interface DefinedTask {
  readonly [taskBrand]: true;
  readonly options: AnyTaskOptions;
  readonly run: (...args: never[]) => unknown;
  readonly source: string | null;
}

/** A decorated method, as it is kept on its class. */
export interface TaskDeclaration {
  readonly name: string;
  readonly options: AnyTaskOptions;
  readonly source: string | null;
}

/**
 * Makes a static method of a `MonitorState` a task. Works as a stage-3 decorator and under `experimentalDecorators`; the
 * method is called with its class as `this`, and may be `async` or not.
 */
export function monitoredBackgroundTask<Schema extends ZodSchema | undefined = undefined>(
  options: TaskOptions<Schema> = {},
): TaskDecorator<TaskArgs<Schema>> {
  const target = decoratorTarget(options);
  if (target !== undefined) {
    throw new TypeError(
      `@monitoredBackgroundTask needs parentheses (in ${target}): write @monitoredBackgroundTask() or @monitoredBackgroundTask({ ... })`,
    );
  }
  requireOptions('@monitoredBackgroundTask', options);
  const source = callSite(monitoredBackgroundTask);
  return (target: unknown, place: unknown) => {
    if (isStageThreeContext(place)) {
      const name = methodName(place.kind === 'method' && place.static === true && !place.private, place.name);
      place.addInitializer(function (this: unknown) {
        declare(this as object, { name, options, source });
      });
    } else {
      const name = methodName(typeof target === 'function', place);
      declare(target as object, { name, options, source });
    }
  };
}

/** A task that is a plain function: the same as a decorated method, for those whose runtime has no decorators. */
export function defineTask<Schema extends ZodSchema | undefined = undefined>(
  options: TaskOptions<Schema>,
  run: (task: TaskContext, ...args: TaskArgs<Schema>) => unknown,
): DefinedTask {
  requireOptions('defineTask', options);
  if (typeof run !== 'function') {
    throw new TypeError(
      'defineTask takes the options and then the function: defineTask({ input }, async (task, args) => { ... })',
    );
  }
  return { [taskBrand]: true, options, run, source: callSite(defineTask) };
}

/** A state without a class: `defineState('counter', { add: defineTask({ input }, fn) })`. */
export function defineState(
  name: string,
  tasks: Record<string, DefinedTask>,
  options: { description?: string } = {},
): DefinedState {
  return { [stateBrand]: true, name, description: options.description, tasks, source: callSite(defineState) };
}

/** Whether `value` is a state, of whatever copy of this package. `MonitorState` itself is not one. */
export function isState(value: unknown): value is StateLike {
  if (typeof value === 'function') return stateBrand in value && !Object.hasOwn(value, stateBrand);
  return typeof value === 'object' && value !== null && stateBrand in value;
}

/** Whether `value` is what `defineTask` gives. */
export function isTask(value: unknown): value is DefinedTask {
  return typeof value === 'object' && value !== null && taskBrand in value;
}

/** The tasks that `target` itself declares, without those it inherits, in the order of its source. */
export function declaredTasks(target: object): readonly TaskDeclaration[] {
  return Object.hasOwn(target, declarations)
    ? (target as { [declarations]: TaskDeclaration[] })[declarations]
    : [];
}

function declare(target: object, declaration: TaskDeclaration): void {
  if (!Object.hasOwn(target, declarations)) Object.defineProperty(target, declarations, { value: [] });
  (target as { [declarations]: TaskDeclaration[] })[declarations].push(declaration);
}

function methodName(fits: boolean, name: unknown): string {
  if (fits && typeof name === 'string') return name;
  throw new TypeError(
    `@monitoredBackgroundTask is for public static methods, and ${String(name)} is not one: write static async ${String(name)}(task) { ... }`,
  );
}

/** The name of what a decorator without parentheses is given instead of options: a method, a class or a prototype. */
function decoratorTarget(value: unknown): string | undefined {
  if (typeof value === 'function') return value.name;
  const isPrototype = typeof value === 'object' && value !== null && Object.hasOwn(value, 'constructor');
  return isPrototype ? value.constructor.name : undefined;
}

function requireOptions(who: string, options: unknown): void {
  if (typeof options === 'object' && options !== null) return;
  throw new TypeError(
    `${who} takes an object of options, not ${String(options)}: ${who}({ description: '...' })`,
  );
}

/** The slice of the stage-3 decorator context that is used here. */
interface StageThreeContext {
  kind: string;
  name: string | symbol;
  static?: boolean;
  private?: boolean;
  addInitializer(initializer: (this: unknown) => void): void;
}

function isStageThreeContext(place: unknown): place is StageThreeContext {
  return typeof place === 'object' && place !== null && 'addInitializer' in place;
}

/** What the compiler shows when something that is not a task is decorated: the reason stands in the type. */
export interface NotATask<Reason extends string, Expected = unknown> {
  readonly reason: Reason;
  readonly expected: Expected;
}

/**
 * The decorator's type for both kinds of decorators. Stage 3 calls it with the method and a context,
 * `experimentalDecorators` with the class, the name and a descriptor. One signature with an optional third parameter,
 * and not two overloads, because the compiler's report on overloads buries the reason.
 */
export type TaskDecorator<Args extends unknown[]> = <Target, Place, Descriptor = undefined>(
  target: Checked<MethodOf<Target, Place, Descriptor>, Args, Target>,
  place: Place,
  descriptor?: Descriptor,
) => void;

/** The method that is decorated; never, when it is not static. */
type MethodOf<Target, Place, Descriptor> = [Descriptor] extends [TypedPropertyDescriptor<infer Method>]
  ? Target extends abstract new (
      ...args: never[]
    ) => unknown
    ? Method
    : never
  : Place extends { kind: 'method'; static: true }
    ? Target
    : never;

/** `Target` when `Method` can be called as a task, else why not. */
type Checked<Method, Args extends unknown[], Target> = [Method] extends [never]
  ? NotATask<'A task must be a static method'>
  : Method extends (task: TaskContext, ...args: Args) => unknown
    ? Target
    : Method extends (first: infer First, ...rest: never[]) => unknown
      ? TaskContext extends First
        ? Args extends [infer Input]
          ? NotATask<'The second parameter of the task does not take what its input schema gives', Input>
          : NotATask<'A task with a second parameter needs an input schema: @monitoredBackgroundTask({ input: ... })'>
        : NotATask<'The first parameter of a task must be its context: task: TaskContext', TaskContext>
      : NotATask<'A task must be a static method'>;
