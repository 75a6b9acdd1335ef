import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { loadRegistry } from '../src/registry.ts';
import { readState } from '../src/state.ts';
import {
  defineState,
  defineTask,
  MonitorState,
  monitoredBackgroundTask,
  type TaskContext,
} from '../src/task.ts';
import { loadApart, makeProject } from './fixtures/project.ts';

/** No task here asks its context for anything but what is in it. */
const context = { id: 'a run' } as TaskContext;

const greeter = `
import { z } from 'zod';
import { MonitorState, monitoredBackgroundTask, type TaskContext } from 'spyglass-tasks';

export class Greeter extends MonitorState {
  static override description = 'Greets.';
  static greeting = 'Hello';

  @monitoredBackgroundTask({
    description: 'Greets somebody.',
    input: z.object({ name: z.string() }).default({ name: 'Matt' }),
    onCrash: 'fail',
  })
  static async greet(task: TaskContext, args: { name: string }) {
    return this.greeting + ', ' + args.name + ', from ' + task.id;
  }

  @monitoredBackgroundTask()
  static count() {
    return 42;
  }

  static helper() {}
}
`;

const twice = `
import { MonitorState, monitoredBackgroundTask } from 'spyglass-tasks';
export class Twice extends MonitorState {
  @monitoredBackgroundTask()
  static async once() {}

  @monitoredBackgroundTask()
  static async again() {}

  @monitoredBackgroundTask()
  static async again() {}
}
`;

function transpiled(source: string, experimentalDecorators: boolean): string {
  const compilerOptions = {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ESNext,
    experimentalDecorators,
  };
  return ts.transpileModule(source, { compilerOptions }).outputText;
}

const legacy = { compilerOptions: { experimentalDecorators: true, emitDecoratorMetadata: true } };

describe.each([
  ['stage-3 decorators, by tsx', 'ts', (source: string) => source, { type: 'module' }],
  ['stage-3 decorators, by tsx in a CommonJS project', 'ts', (source: string) => source, {}],
  ['experimentalDecorators, by tsx', 'ts', (source: string) => source, { type: 'module', tsconfig: legacy }],
  [
    'experimentalDecorators, by tsx in a CommonJS project',
    'ts',
    (source: string) => source,
    { tsconfig: legacy },
  ],
  [
    'stage-3 decorators, compiled by tsc',
    'js',
    (source: string) => transpiled(source, false),
    { type: 'module' },
  ],
  [
    'experimentalDecorators, compiled by tsc',
    'js',
    (source: string) => transpiled(source, true),
    { type: 'module' },
  ],
] as const)('a class with %s', (_, extension, compile, options) => {
  const load = async (name: string, source: string) => {
    using project = makeProject({ [`${name}.${extension}`]: compile(source) }, options);
    return (await loadRegistry(project.tasks)).state(name);
  };

  it('has its decorated methods as tasks, in their order and with their options', async () => {
    const state = await load('greeter', greeter);
    expect(state).toMatchObject({ name: 'greeter', description: 'Greets.' });
    expect([...(state?.tasks.values() ?? [])]).toMatchObject([
      { name: 'greet', description: 'Greets somebody.', policy: { onCrash: 'fail' } },
      { name: 'count', description: null, policy: { onCrash: 'retry' }, input: null },
    ]);
  });

  it('is called with itself as this, the context and the parsed input', async () => {
    const greet = (await load('greeter', greeter))?.tasks.get('greet');
    const parsed = greet?.input?.parse(undefined);
    expect(parsed).toEqual({ ok: true, value: { name: 'Matt' } });
    expect(await greet?.run(context, { name: 'Ada' })).toBe('Hello, Ada, from a run');
  });

  it('may have tasks that are not async', async () => {
    expect((await load('greeter', greeter))?.tasks.get('count')?.run(context, undefined)).toBe(42);
  });

  it('is refused with both places when it declares a name twice', async () => {
    const place = `twice\\.${extension}:\\d+`;
    await expect(load('twice', twice)).rejects.toThrow(
      new RegExp(`task again is declared twice \\(.*${place}\\) \\(.*${place}\\)`),
    );
  });

  if (extension === 'ts') {
    it('knows the lines of its declarations', async () => {
      using fine = makeProject({ 'greeter.ts': greeter }, options);
      using wrong = makeProject({ 'twice.ts': twice }, options);
      const file = `${fine.tasks}/greeter.ts`;
      expect((await loadApart(fine)).sources).toEqual({ greet: `${file}:9`, count: `${file}:18` });
      const places = '(tasks/twice.ts:7) (tasks/twice.ts:10)';
      expect((await loadApart(wrong)).refusal).toContain(
        `task again is declared twice ${places}: rename one of the two`,
      );
    });
  }
});

describe('a state class', () => {
  it('has the tasks that it inherits, and runs its own method where it overrides one', () => {
    class Base extends MonitorState {
      static who = 'base';
      @monitoredBackgroundTask({ description: 'Says who.' })
      static who_am_i() {
        // biome-ignore lint/complexity/noThisInStatic: what `this` is, is what is tested.
        return this.who;
      }
      @monitoredBackgroundTask()
      static overridden() {
        return 'base';
      }
    }
    class Derived extends Base {
      static override who = 'derived';
      @monitoredBackgroundTask({ description: 'The newer one.' })
      static override overridden() {
        return 'derived';
      }
    }
    const { tasks } = readState(Derived, { name: 'derived' });
    expect([...tasks.keys()]).toEqual(['who_am_i', 'overridden']);
    expect(tasks.get('who_am_i')?.run(context, undefined)).toBe('derived');
    expect(tasks.get('overridden')).toMatchObject({ description: 'The newer one.' });
    expect(tasks.get('overridden')?.run(context, undefined)).toBe('derived');
    expect(readState(Base, { name: 'base' }).tasks.get('overridden')?.run(context, undefined)).toBe('base');
  });

  it('runs what other decorators make of a method', () => {
    const shouting = (method: () => string, _: ClassMethodDecoratorContext) => () => method().toUpperCase();
    class Loud extends MonitorState {
      @shouting
      @monitoredBackgroundTask()
      static speak() {
        return 'quiet';
      }
    }
    expect(readState(Loud, { name: 'loud' }).tasks.get('speak')?.run(context, undefined)).toBe('QUIET');
  });

  it('may use any name that has no meaning elsewhere for its tasks', () => {
    class Odd extends MonitorState {
      @monitoredBackgroundTask()
      static start() {}
      @monitoredBackgroundTask()
      static result() {}
      @monitoredBackgroundTask()
      static cancel() {}
      @monitoredBackgroundTask()
      static 'a.b-c_1'() {}
    }
    expect([...readState(Odd, { name: 'odd' }).tasks.keys()]).toEqual([
      'start',
      'result',
      'cancel',
      'a.b-c_1',
    ]);
  });

  it('takes the name of its file, or its own', () => {
    class Named extends MonitorState {
      static override stateName = 'own_name';
      @monitoredBackgroundTask()
      static task1() {}
    }
    expect(readState(Named, { name: 'file_name' }).name).toBe('own_name');
  });
});

describe('the decorator', () => {
  const bare = monitoredBackgroundTask as unknown as (...args: unknown[]) => void;

  it('says that it needs its parentheses, whatever it stands before', () => {
    const method = () => {};
    class Target {}
    for (const args of [
      [method, { kind: 'method' }],
      [Target, 'task1', {}],
      [Target.prototype, 'task1', {}],
    ]) {
      expect(() => bare(...args)).toThrow(/write @monitoredBackgroundTask\(\)/);
    }
  });

  it('refuses what is not a public static method', () => {
    const decorate = (kind: string, at: object) =>
      (monitoredBackgroundTask() as (target: unknown, place: unknown) => void)(() => {}, {
        kind,
        name: 'task1',
        addInitializer: () => {},
        ...at,
      });
    const message = /is for public static methods, and task1 is not one: write static async task1\(task\)/;
    expect(() => decorate('method', { static: false, private: false })).toThrow(message);
    expect(() => decorate('method', { static: true, private: true })).toThrow(message);
    expect(() => decorate('field', { static: true, private: false })).toThrow(message);
    expect(() => decorate('method', { static: true, private: false })).not.toThrow();
    const legacyDecorator = monitoredBackgroundTask() as (target: unknown, place: unknown) => void;
    expect(() => legacyDecorator(class {}.prototype, 'task1')).toThrow(message);
  });

  it('refuses options that are no object', () => {
    expect(() => bare('a description')).toThrow(/takes an object of options, not a description/);
    expect(() => bare(null)).toThrow(/takes an object of options, not null/);
  });
});

describe('defineState', () => {
  it('gives a state whose tasks are plain functions', async () => {
    const counter = defineState(
      'counter',
      {
        add: defineTask(
          { description: 'Adds.', input: z.object({ a: z.number(), b: z.number() }) },
          async (_, { a, b }) => a + b,
        ),
      },
      { description: 'Counts.' },
    );
    const state = readState(counter);
    expect(state).toMatchObject({ name: 'counter', description: 'Counts.' });
    expect(state.source).toMatch(/task\.test\.ts:\d+$/);
    const add = state.tasks.get('add');
    expect(add).toMatchObject({ name: 'add', description: 'Adds.', policy: { onCrash: 'retry' } });
    expect(add?.source).toMatch(/task\.test\.ts:\d+$/);
    expect(await add?.run(context, { a: 1, b: 2 })).toBe(3);
  });

  it('passes no second argument to a task without input', () => {
    const seen: unknown[][] = [];
    const state = readState(
      defineState('plain', { note: defineTask({}, (...args: unknown[]) => seen.push(args)) }),
    );
    state.tasks.get('note')?.run(context, 'stray');
    expect(seen).toEqual([[context]]);
  });
});

describe('a state is refused, with all that is wrong with it, when', () => {
  const task = defineTask({}, () => {});
  const refusal = (state: unknown, name?: string) => {
    try {
      readState(state, name === undefined ? {} : { name });
    } catch (error) {
      expect(error).toMatchObject({ name: 'StartError' });
      return (error as Error).message;
    }
    throw new Error('it was accepted');
  };

  it('it is none', () => {
    for (const value of [undefined, {}, class {}, MonitorState, 'tasks']) {
      expect(refusal(value, 'a')).toMatch(/this is not a state: give a class that extends MonitorState/);
    }
  });

  it('it has no tasks', () => {
    class Empty extends MonitorState {
      static async forgotten() {}
    }
    expect(refusal(Empty, 'empty')).toMatch(
      /no tasks: decorate a static method with @monitoredBackgroundTask\(\)/,
    );
    expect(refusal(defineState('empty', {}))).toMatch(/no tasks: give defineState at least one/);
  });

  it.each(['', 'a b', 'a/b', '.', '..', '-a', 'ä', 'a'.repeat(65), 'a%20b', 'a?b'])(
    'its name, or a task’s, cannot stand in a URL: %j',
    (name) => {
      expect(refusal(defineState(name, { task }))).toContain(
        `the name of a state stands in URLs, and ${JSON.stringify(name)} cannot`,
      );
      expect(refusal(defineState('fine', { [name]: task }))).toMatch(/the name of a task stands in URLs/);
    },
  );

  it.each(['tasks', 'admin'])('its name is one of the server’s own: %s', (name) => {
    expect(refusal(defineState(name, { task }))).toContain(`/api/${name} belongs to the server`);
  });

  it('it has no name, or one that is not text', () => {
    class Nameless extends MonitorState {
      @monitoredBackgroundTask()
      static task1() {}
    }
    class Odd extends Nameless {
      static override stateName = 5 as never;
    }
    expect(refusal(Nameless)).toMatch(/no name: give its class a static stateName/);
    expect(refusal(Odd, 'odd')).toMatch(/the name of a state stands in URLs, and 5 cannot/);
  });

  it('an option is misspelt or makes no sense, or the schema is none', () => {
    const state = defineState('wrong', {
      misspelt: defineTask({ desciption: 'text' } as object, () => {}),
      choice: defineTask({ onCrash: 'restart' as never }, () => {}),
      text: defineTask({ description: 5 as never }, () => {}),
      schema: defineTask({ input: { name: z.string() } as never }, () => {}),
      undefinedSchema: defineTask({ input: undefined }, () => {}),
      async: defineTask({ input: z.string().refine(async () => true) }, () => {}),
      function: (() => {}) as never,
      'bad name': task,
      fine: task,
    });
    const place = String.raw`\(test/task\.test\.ts:\d+\)`;
    expect(refusal(state).split('\n')).toEqual([
      expect.stringMatching(/^task function: this is not a task: write function: defineTask\(/),
      expect.stringMatching(
        new RegExp(
          `^task misspelt of state wrong ${place}: there is no option "desciption"; there are: description, input`,
        ),
      ),
      expect.stringMatching(
        new RegExp(`^task choice of state wrong ${place}: onCrash is 'retry' or 'fail', not "restart"`),
      ),
      expect.stringMatching(
        new RegExp(`^task text of state wrong ${place}: the description must be text, not 5`),
      ),
      expect.stringMatching(
        new RegExp(`^task schema of state wrong ${place}: The input is an object of zod schemas`),
      ),
      expect.stringMatching(
        new RegExp(`^task undefinedSchema of state wrong ${place}: The input is undefined`),
      ),
      expect.stringMatching(
        new RegExp(`^task async of state wrong ${place}: The input schema has an asynchronous`),
      ),
      expect.stringMatching(
        new RegExp(`^task bad name of state wrong ${place}: the name of a task stands in URLs`),
      ),
    ]);
  });

  it('defineTask is not given options and a function', () => {
    expect(() => defineTask((() => {}) as never, undefined as never)).toThrow(/takes an object of options/);
    expect(() => defineTask({}, undefined as never)).toThrow(/takes the options and then the function/);
  });
});
