import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { z as z3 } from 'zod3';
import { defaultPolicy } from '../src/policy.ts';
import { loadRegistry, Registry } from '../src/registry.ts';
import {
  defineState,
  defineTask,
  MonitorState,
  monitoredBackgroundTask,
  type TaskContext,
} from '../src/task.ts';
import { retryWish } from '../src/taskError.ts';
import { loadApart, makeProject } from './fixtures/project.ts';

const context = {} as TaskContext;

/** A task file with one state that has one task, which gives `result`. */
const stateFile = (name: string, result: string) => `
  import { MonitorState, monitoredBackgroundTask } from 'spyglass-tasks';
  export class ${name} extends MonitorState {
    @monitoredBackgroundTask()
    static async task1() { return ${result}; }
  }`;

/** The same for those who have no decorators. */
const plainFile = (name: string, result: string) => `
  import { defineState, defineTask } from 'spyglass-tasks';
  export const state = defineState('${name}', { task1: defineTask({}, () => ${result}) });`;

/** Why a project's folder is refused, with paths as its author would see them. */
async function refusal(
  files: Record<string, string>,
  options: Parameters<typeof makeProject>[1] = { type: 'module' },
) {
  using project = makeProject(files, options);
  const error = await loadRegistry(project.tasks).then(
    () => new Error('it was accepted'),
    (thrown) => thrown,
  );
  expect(error).toMatchObject({ name: 'StartError', exitCode: 2 });
  return (error.message as string).replaceAll(`${project.root}/`, '');
}

describe('a folder of task files', () => {
  it('gives a state for each file and each folder with an index', async () => {
    using project = makeProject(
      {
        'one.ts': stateFile('One', '1'),
        'two.js': plainFile('two', '2'),
        'three/index.ts': stateFile('Three', '3'),
        'four/index.js': plainFile('four', '4'),
        'with.dots-and_more.ts': stateFile('Dots', '5'),
      },
      { type: 'module' },
    );
    const registry = await loadRegistry(project.tasks);
    const results = registry
      .states()
      .map(async ({ name }) => [name, await registry.task(name, 'task1')?.run(context, undefined)]);
    expect(await Promise.all(results)).toEqual([
      ['four', 4],
      ['one', 1],
      ['three', 3],
      ['two', 2],
      ['with.dots-and_more', 5],
    ]);
  });

  it('is loaded whether its project is of ES modules or, as npm init makes it, CommonJS', async () => {
    const files = {
      'decorated.ts': stateFile('Decorated', '1'),
      'plain.ts': plainFile('plain', '2'),
      'required.js': `
        const { defineState, defineTask } = require('spyglass-tasks');
        module.exports = { state: defineState('required', { task1: defineTask({}, () => 3) }) };`,
    };
    using project = makeProject(files);
    const answer = await loadApart(project);
    expect(answer.refusal).toBeUndefined();
    const registry = await loadRegistry(project.tasks);
    const results = registry
      .states()
      .map(({ name }) => registry.task(name, 'task1')?.run(context, undefined));
    expect(await Promise.all(results)).toEqual([1, 2, 3]);
  });

  it('passes over helpers, tests, declarations, hidden files and whatever else lies there', async () => {
    using project = makeProject(
      {
        'one.ts': stateFile('One', '1'),
        '_helper.ts': 'throw new Error("loaded");',
        '_folder/index.ts': 'throw new Error("loaded");',
        '.hidden/index.ts': 'throw new Error("loaded");',
        'one.test.ts': 'throw new Error("loaded");',
        'one.spec.js': 'throw new Error("loaded");',
        'one.d.ts': 'throw new Error("loaded");',
        'README.md': '# Read me',
        'data.json': '{}',
        'assets/logo.txt': 'no index here',
      },
      { type: 'module' },
    );
    expect((await loadRegistry(project.tasks)).states().map(({ name }) => name)).toEqual(['one']);
  });

  it('may name a state otherwise than its file', async () => {
    using project = makeProject(
      {
        'file.ts': stateFile('A', '1').replace('State {', "State { static override stateName = 'by_class';"),
        'other.ts': plainFile('by_call', '2'),
      },
      { type: 'module' },
    );
    expect((await loadRegistry(project.tasks)).states().map(({ name }) => name)).toEqual([
      'by_class',
      'by_call',
    ]);
  });

  it('may export its state as the default, under two names, and beside other things', async () => {
    using project = makeProject(
      {
        'one.ts': `${stateFile('One', '1')}\nexport default One;\nexport { One as Alias };\nexport const limit = 5;\nexport { MonitorState } from 'spyglass-tasks';`,
      },
      { type: 'module' },
    );
    expect((await loadRegistry(project.tasks)).states().map(({ name }) => name)).toEqual(['one']);
  });

  it.each([{ type: 'module' as const }, {}])('shares its helpers between its files: %j', async (options) => {
    const counting = (name: string) => `import { next } from './_shared.ts';${stateFile(name, 'next()')}`;
    using project = makeProject(
      {
        '_shared.ts': 'let count: number = 0; export const next = () => ++count;',
        'a.ts': counting('A'),
        'b.ts': counting('B'),
      },
      options,
    );
    const registry = await loadRegistry(project.tasks);
    expect(await registry.task('a', 'task1')?.run(context, undefined)).toBe(1);
    expect(await registry.task('b', 'task1')?.run(context, undefined)).toBe(2);
  });

  it('shares packages with the server, whatever kind of file imports them', async () => {
    const importing = (name: string) => `
      import { loads } from 'counted';
      import { defineState, defineTask } from 'spyglass-tasks';
      export const state = defineState('${name}', { task1: defineTask({}, () => loads()) });`;
    using project = makeProject(
      {
        'a.js': importing('a'),
        'b.ts': importing('b'),
        'c.ts': importing('c'),
        '/node_modules/counted/package.json': '{ "type": "module", "exports": "./index.js" }',
        '/node_modules/counted/index.js': 'let count = 0; export const loads = () => ++count;',
      },
      { type: 'module' },
    );
    const registry = await loadRegistry(project.tasks);
    const counts = ['a', 'b', 'c'].map((name) => registry.task(name, 'task1')?.run(context, undefined));
    expect(counts).toEqual([1, 2, 3]);
  });

  it('may import packages that are TypeScript themselves, and by the paths of its tsconfig.json', async () => {
    using project = makeProject(
      {
        'a.ts': `
          import { one } from 'workspace';
          import { two } from '@lib/two';
          ${stateFile('A', 'one + two')}`,
        '/packages/workspace/package.json':
          '{ "name": "workspace", "type": "module", "exports": "./index.ts" }',
        '/packages/workspace/index.ts': 'export const one: number = 1;',
        '/lib/two.ts': 'export const two: number = 2;',
      },
      { type: 'module', tsconfig: { compilerOptions: { paths: { '@lib/*': ['./lib/*'] } } } },
    );
    symlinkSync(join(project.root, 'packages/workspace'), join(project.root, 'node_modules/workspace'));
    const registry = await loadRegistry(project.tasks);
    expect(await registry.task('a', 'task1')?.run(context, undefined)).toBe(3);
  });

  it('may hold links to task files that lie elsewhere', async () => {
    using project = makeProject({ '/elsewhere/linked.ts': stateFile('Linked', '1') }, { type: 'module' });
    symlinkSync(join(project.root, 'elsewhere/linked.ts'), join(project.tasks, 'here.ts'));
    expect((await loadRegistry(project.tasks)).states().map(({ name }) => name)).toEqual(['here']);
  });

  it.each([{ type: 'module' as const }, {}])(
    'tells by what a task throws whether it is tried again, whichever copy of the package it has: %j',
    async (options) => {
      const file = `
        import { defineState, defineTask, FatalError, RetryError } from 'spyglass-tasks';
        export const state = defineState('a', {
          never: defineTask({}, () => { throw new FatalError('no'); }),
          later: defineTask({ retries: { attempts: 2 } }, () => { throw new RetryError(5000); }),
        });`;
      using project = makeProject({ 'a.ts': file }, options);
      const registry = await loadRegistry(project.tasks);
      const wish = (task: string) => {
        try {
          return registry.task('a', task)?.run(context, undefined);
        } catch (thrown) {
          return retryWish(thrown);
        }
      };
      expect(wish('never')).toBe('never');
      expect(wish('later')).toEqual({ afterMs: 5000 });
    },
  );

  it('may have isolated tasks, which need the file that the folder gives', async () => {
    const isolated = stateFile('A', '1').replace('Task()', 'Task({ isolate: true, memoryMb: 64 })');
    using project = makeProject({ 'a.ts': isolated }, { type: 'module' });
    const registry = await loadRegistry(project.tasks);
    expect(registry.task('a', 'task1')?.policy).toMatchObject({ isolate: true, memoryMb: 64 });
    expect(registry.state('a')?.source).toBe(join(project.tasks, 'a.ts'));
  });

  it('takes schemas of zod 3 and of zod 4, of whatever copy the project has', async () => {
    const file = (zod: string) => `
      import { z } from '${zod}';
      import { defineState, defineTask } from 'spyglass-tasks';
      export const state = defineState('of_${zod}', { task1: defineTask({ input: z.object({ age: z.number() }) }, () => {}) });`;
    using project = makeProject(
      { 'a.ts': file('zod'), 'b.ts': file('zod3') },
      { type: 'module', packages: ['spyglass-tasks', 'zod', 'zod3'] },
    );
    const registry = await loadRegistry(project.tasks);
    for (const state of ['of_zod', 'of_zod3']) {
      const input = registry.task(state, 'task1')?.input;
      expect(input?.parse({ age: 25 })).toEqual({ ok: true, value: { age: 25 } });
      expect(input?.parse({ age: '25' })).toMatchObject({ ok: false, errors: [{ path: 'age' }] });
      expect(input?.jsonSchema.properties).toEqual({ age: { type: 'number' } });
    }
  });
});

describe('a folder of task files is refused, naming file and reason, when', () => {
  it('a .ts file has a syntax error', async () => {
    const files = { 'broken.ts': 'export const a = 1;\nexport const b = ;\n' };
    expect(await refusal(files)).toContain(
      'tasks/broken.ts: syntax error: Unexpected ";" (tasks/broken.ts:2)',
    );
    expect(await refusal(files, {})).toContain(
      'tasks/broken.ts: syntax error: Unexpected ";" (tasks/broken.ts:2)',
    );
  });

  it('a .js file has a syntax error, or a decorator', async () => {
    const broken = { 'broken.js': 'export const a = 1;\nexport const b = ;\n' };
    const decorated = { 'decorated.js': stateFile('A', '1') };
    using project = makeProject({ ...broken, ...decorated }, { type: 'module' });
    const { refusal } = await loadApart(project);
    expect(refusal).toContain("tasks/broken.js: syntax error: Unexpected token ';' (tasks/broken.js:2)");
    expect(refusal).toMatch(
      /tasks\/decorated\.js: syntax error: .*decorators need a \.ts file; without them there is defineState.*decorated\.js:4/,
    );
  });

  it('a file throws while it is loaded', async () => {
    using project = makeProject(
      {
        'a.ts': '\n\nnull.length;',
        'b.ts': 'throw new Error("no key is set\\nmore");',
        'c.ts': 'throw "a text";',
      },
      { type: 'module' },
    );
    const { refusal } = await loadApart(project);
    expect(refusal?.split('\n')).toEqual([
      'The task files in tasks cannot be served:',
      "  tasks/a.ts: it failed while it was loaded: TypeError: Cannot read properties of null (reading 'length') (tasks/a.ts:3)",
      '  tasks/b.ts: it failed while it was loaded: no key is set (tasks/b.ts:1)',
      '  tasks/c.ts: it threw a text while it was loaded',
    ]);
  });

  it.each([{ type: 'module' as const }, {}])('a package is not installed: %j', async (options) => {
    const files = { 'a.ts': stateFile('A', '1'), 'b.ts': "import '@scope/missing/deep';" };
    const message = await refusal(files, { ...options, packages: [] });
    expect(message).toContain(
      'tasks/a.ts: there is no package "spyglass-tasks" here: run npm install spyglass-tasks',
    );
    expect(message).toContain(
      'tasks/b.ts: there is no package "@scope/missing" here: run npm install @scope/missing',
    );
  });

  it('a file imports another that is not there', async () => {
    expect(await refusal({ 'a.ts': "import './_gone.ts';" })).toMatch(
      /tasks\/a\.ts: .*Cannot find module .*_gone\.ts/,
    );
  });

  it('a file calls the decorator without its parentheses', async () => {
    using project = makeProject(
      { 'a.ts': stateFile('A', '1').replace('Task()', 'Task') },
      { type: 'module' },
    );
    expect((await loadApart(project)).refusal).toMatch(
      /tasks\/a\.ts: .*@monitoredBackgroundTask needs parentheses \(in task1\): write @monitoredBackgroundTask\(\).* \(tasks\/a\.ts:5\)/,
    );
  });

  it('a file exports two states', async () => {
    const message = await refusal({
      'a.ts': `${stateFile('A', '1')}${stateFile('B', '2').replace(/import.*;/, '')}`,
    });
    expect(message).toContain(
      'tasks/a.ts: it exports 2 states (A, B), and one is what a file has: give each its own file',
    );
  });

  it('a file exports none', async () => {
    const message = await refusal({ 'a.ts': 'export const limit = 5;' });
    expect(message).toContain(
      'tasks/a.ts: it exports no state: export a class that extends MonitorState or a defineState(...)',
    );
    const stray = await refusal({ 'a.ts': stateFile('A', '1').replace('extends MonitorState', '') });
    expect(stray).toContain(
      'tasks/a.ts: the class A has tasks but is not a state: let it extend MonitorState',
    );
  });

  it('two files have the same state', async () => {
    const files = {
      'a.ts': stateFile('A', '1'),
      'a/index.ts': stateFile('A', '2'),
      'b.ts': plainFile('a', '3'),
    };
    const message = await refusal(files);
    expect(message).toContain('two states are called "a": tasks/a/index.ts and tasks/a.ts. Rename one');
    expect(message).toContain('two states are called "a": tasks/a/index.ts and tasks/b.ts. Rename one');
  });

  it('the name of a file cannot stand in a URL, or is one of the server’s own', async () => {
    const message = await refusal({ 'my tasks.ts': stateFile('A', '1'), 'tasks.ts': stateFile('A', '1') });
    expect(message).toContain('tasks/my tasks.ts: the name of a state stands in URLs, and "my tasks" cannot');
    expect(message).toContain('tasks/tasks.ts: a state cannot be called "tasks"');
  });

  it('a schema is none', async () => {
    const file = stateFile('A', '1').replace('Task()', "Task({ input: { type: 'object' } })");
    expect(await refusal({ 'a.ts': file })).toMatch(
      /tasks\/a\.ts: task task1 of state a \(.*a\.ts:\d+\): The input is an object that is not a schema\. Give it a zod schema/,
    );
  });

  it('an option of a task is wrong', async () => {
    const file = stateFile('A', '1').replace(
      'Task()',
      "Task({ timeoutMs: '5s', schedule: [{ cron: '0 25 * * *' }] })",
    );
    const message = await refusal({ 'a.ts': file });
    expect(message).toMatch(
      /tasks\/a\.ts: task task1 of state a \(.*a\.ts:\d+\): timeoutMs is a whole number of milliseconds/,
    );
    expect(message).toMatch(/tasks\/a\.ts: task task1 of state a \(.*a\.ts:\d+\): schedule\[0\]\.cron: /);
  });

  it('its tsconfig.json cannot be read', async () => {
    using project = makeProject({
      'a.ts': stateFile('A', '1'),
      '/tsconfig.json': '{ "extends": "./gone.json" }',
    });
    await expect(loadRegistry(project.tasks)).rejects.toThrow(/tasks\/a\.ts: .*gone\.json/);
  });

  it('several files are wrong: all of them are named', async () => {
    const message = await refusal({
      'a.ts': 'export const b = ;',
      'b.ts': 'export const limit = 5;',
      'c.ts': stateFile('C', '1'),
      'd.ts': stateFile('D', '1').replace('Task()', 'Task({ input: 5, onCrash: "no" })'),
    });
    const lines = message.split('\n');
    expect(lines[0]).toBe('The task files in tasks cannot be served:');
    expect(lines.slice(1).map((line) => line.split(':')[0])).toEqual([
      '  tasks/a.ts',
      '  tasks/b.ts',
      '  tasks/d.ts',
      '  tasks/d.ts',
    ]);
  });

  it('it is not there, or is a file', async () => {
    using project = makeProject({ 'a.ts': stateFile('A', '1') });
    await expect(loadRegistry(join(project.root, 'gone'))).rejects.toThrow(
      /There is no folder .*gone: give the folder/,
    );
    await expect(loadRegistry(join(project.tasks, 'a.ts'))).rejects.toThrow(
      /a\.ts is a file: give the folder/,
    );
  });

  it('it has no task files', async () => {
    expect(await refusal({})).toBe(
      'There are no task files in tasks: put a <name>.ts, or a <name>/index.ts, there for each state. It is empty.',
    );
    const message = await refusal({ 'README.md': '', '_shared.ts': '', 'lib/main.ts': '' });
    expect(message).toMatch(/Passed over: README\.md, _shared\.ts, lib\/ \(has no index\.ts\)\.$/);
  });
});

describe('a registry', () => {
  class Person extends MonitorState {
    static override stateName = 'person';
    static override description = 'About people.';
    @monitoredBackgroundTask({
      description: 'Greets.',
      input: z.object({ name: z.string() }).default({ name: 'Matt' }),
    })
    static greet() {}
    @monitoredBackgroundTask()
    static forget() {}
  }

  it('gives the catalogue of what there is', () => {
    const registry = new Registry();
    registry.add(Person);
    registry.add(
      defineState('code', { check: defineTask({ input: z3.string().regex(/^[A-Z]{3}$/) }, () => {}) }),
    );
    expect(registry.catalogue()).toEqual({
      states: [
        {
          name: 'person',
          description: 'About people.',
          tasks: [
            {
              name: 'greet',
              description: 'Greets.',
              input: {
                $schema: 'https://json-schema.org/draft/2020-12/schema',
                type: 'object',
                properties: { name: { type: 'string' } },
                required: ['name'],
                default: { name: 'Matt' },
              },
              example: { name: 'Matt' },
            },
            { name: 'forget', description: null, input: null, example: null },
          ],
        },
        {
          name: 'code',
          description: null,
          tasks: [
            {
              name: 'check',
              description: null,
              input: {
                $schema: 'https://json-schema.org/draft/2020-12/schema',
                type: 'string',
                pattern: '^[A-Z]{3}$',
              },
              example: null,
            },
          ],
        },
      ],
    });
  });

  it('finds states and tasks by name, and nothing by the names of what all objects have', () => {
    const registry = new Registry();
    registry.add(Person);
    expect(registry.state('person')?.tasks.size).toBe(2);
    expect(registry.task('person', 'greet')).toMatchObject({ name: 'greet' });
    expect(registry.task('person', 'gone')).toBeUndefined();
    for (const name of ['constructor', '__proto__', 'toString', 'gone']) {
      expect(registry.state(name)).toBeUndefined();
      expect(registry.task('person', name)).toBeUndefined();
      expect(registry.task(name, 'greet')).toBeUndefined();
    }
  });

  it('gives the policies of all tasks, and the default for one that is served no more', () => {
    const registry = new Registry();
    registry.add(
      defineState('mail', {
        send: defineTask({ concurrency: 2 }, () => {}),
        sort: defineTask({ onCrash: 'fail' }, () => {}),
      }),
    );
    const policies = registry.policies();
    const send = { ...defaultPolicy, concurrency: 2 };
    expect(policies.of('mail', 'send')).toEqual(send);
    expect(policies.of('mail', 'gone')).toEqual(defaultPolicy);
    expect(policies.all()).toEqual([
      { state: 'mail', task: 'send', policy: send },
      { state: 'mail', task: 'sort', policy: { ...defaultPolicy, onCrash: 'fail' } },
    ]);
  });

  it('refuses a second state of the same name, wherever it comes from', () => {
    const registry = new Registry();
    registry.add(Person);
    const other = defineState('person', { task: defineTask({}, () => {}) });
    expect(() => registry.add(other)).toThrow(
      /two states are called "person": one that was added by hand and test\/registry\.test\.ts:\d+\. Rename one/,
    );
    expect(registry.states()).toHaveLength(1);
  });
});
