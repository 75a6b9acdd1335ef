import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadRegistry } from '../../src/registry.ts';
import { recordedContext } from '../fixtures/context.ts';
import { makeProject } from '../fixtures/project.ts';

const folder = resolve(import.meta.dirname, '../../tasks');
const registry = await loadRegistry(folder);

/** Runs a task as the executor does: parsed input, a context, the result. */
async function run(state: string, name: string, body?: unknown) {
  const task = registry.task(state, name);
  const parsed = task?.input?.parse(body) ?? { ok: true, value: undefined };
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.errors));
  const context = recordedContext();
  const result = await task?.run(context, parsed.value);
  return { result, context, progress: context.updates.map(({ progress }) => progress) };
}

describe('the example states', () => {
  it('are these, with these tasks', () => {
    const tasks = registry.states().map(({ name, tasks }) => [name, [...tasks.keys()]]);
    expect(tasks).toEqual([
      ['example_task', ['example_task']],
      ['example_task2', ['task1', 'task2_with_args']],
      ['log_report', ['report']],
    ]);
  });

  it('each have a sentence for every task, and an example that is accepted for each that takes input', () => {
    for (const { tasks } of registry.catalogue().states) {
      for (const { description, input, example } of tasks) {
        expect(description).toMatch(/^[A-Z].*\.$/);
        expect(example === null).toBe(input === null);
      }
    }
  });
});

describe('example_task', () => {
  it('takes ten steps of half a second, by ten', async () => {
    const { result, context, progress } = await run('example_task', 'example_task');
    expect(progress).toEqual([10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
    expect(context.sleeps).toEqual(Array(10).fill(500));
    expect(result).toBe('Completed 10 steps');
  });
});

describe('example_task2', () => {
  it('has task1, which takes three steps', async () => {
    const { result, context, progress } = await run('example_task2', 'task1');
    expect(progress).toEqual([33, 66, 99]);
    expect(context.sleeps).toEqual([500, 500, 500]);
    expect(result).toBe('<Task1 Result>');
  });

  it('has task2_with_args, which is about whoever it is given', async () => {
    const { result, progress } = await run('example_task2', 'task2_with_args', { name: 'Matt', age: 25 });
    expect(progress).toEqual([10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
    expect(result).toBe('Completed task for Matt, age 25');
  });

  it('has a default for its input', async () => {
    expect((await run('example_task2', 'task2_with_args')).result).toBe('Completed task for MATT, age 25');
  });
});

describe('the code in the documentation of the Tasks API', () => {
  const readme = readFileSync(resolve(folder, 'README.md'), 'utf8');
  const [decorated = '', plain = ''] = [...readme.matchAll(/```ts\n(.*?)```/gs)].map((match) => match[1]);

  it('is that of the example', () => {
    const example = readFileSync(resolve(folder, 'example_task2/index.ts'), 'utf8');
    expect(decorated.replaceAll(/^ *\/\/.*\n/gm, '')).toBe(example);
  });

  it('works without decorators as well', async () => {
    using project = makeProject({ 'counter.ts': plain }, { type: 'module' });
    const add = (await loadRegistry(project.tasks)).task('counter', 'add');
    const context = recordedContext();
    expect(await add?.run(context, { a: 1, b: 2 })).toBe(3);
    expect(context.logs).toEqual([{ text: 'adding', fields: { a: 1, b: 2 } }]);
  });
});
