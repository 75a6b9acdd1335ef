import { describe, expect, test } from 'vitest';
import { defineTask } from '../../src/task.ts';
import { embed } from '../support/embedded.ts';
import { problem } from './asking.ts';

interface Page {
  lines: { seq: number; timestamp: string; text: string; fields: Record<string, unknown> }[];
  next: number | null;
}

const chatty = defineTask({}, async (task) => {
  for (let n = 1; n <= 5; n++) {
    await task.update({ progress: n });
    await task.log(`line ${n}`, n % 2 === 0 ? { n } : undefined);
    await task.sleep(2);
  }
});
const rude = defineTask({}, async (task) => {
  await task.log('one\n2026-01-01T00:00:00.000Z forged\r\x1b[31mred\u2028', { 'a\x7fb': 'c\nd' });
});
const quiet = defineTask({}, () => 'nothing to say');
const open = defineTask({}, async (task) => {
  await task.log('begun');
  await task.sleep(600_000);
});
const tasks = { chatty, rude, quiet, open };

async function ended(url: string, task: string): Promise<string> {
  const response = await fetch(`${url}/api/lab/task/start/${task}`, {
    method: 'POST',
    headers: { prefer: 'wait=30' },
  });
  return ((await response.json()) as { task_id: string }).task_id;
}

describe('The log of a run', () => {
  test('is read a page at a time, until there is no next one', async () => {
    const { url } = await embed(tasks);
    const address = `${url}/api/lab/task/logs/${await ended(url, 'chatty')}`;
    const whole = (await (await fetch(address)).json()) as Page;
    expect(whole.next).toBeNull();
    expect(whole.lines).toEqual(
      [1, 2, 3, 4, 5].map((n) => ({
        seq: expect.any(Number),
        timestamp: expect.stringMatching(/^\d{4}-.*Z$/),
        text: `line ${n}`,
        fields: n % 2 === 0 ? { n } : {},
      })),
    );
    const pages: Page['lines'] = [];
    let next: string | undefined = '?limit=2';
    while (next !== undefined) {
      const response: Response = await fetch(address + next);
      const page = (await response.json()) as Page;
      expect(page.lines.length).toBeLessThanOrEqual(2);
      pages.push(...page.lines);
      next = /^<(.*)>; rel="next"$/.exec(response.headers.get('link') ?? '')?.[1];
      expect(page.next === null).toBe(next === undefined);
      if (page.next !== null) expect(next).toBe(`?since=${page.next}&limit=2`);
    }
    expect(pages).toEqual(whole.lines);
    const behind = (await (await fetch(`${address}?since=${whole.lines[3]?.seq}`)).json()) as Page;
    expect(behind.lines).toEqual(whole.lines.slice(4));
  });

  test('has a next page as long as the run is active', async () => {
    const { url, start } = await embed(tasks);
    const { task_id: id } = await start('open');
    const address = `${url}/api/lab/task/logs/${id}`;
    const read = async (query = '') => (await (await fetch(address + query)).json()) as Page;
    await expect.poll(async () => (await read()).lines.length).toBe(1);
    const { next } = await read();
    expect(await read(`?since=${next}`)).toEqual({ lines: [], next });
    await fetch(`${url}/api/lab/task/cancel/${id}`, { method: 'POST' });
    await expect.poll(() => read(`?since=${next}`)).toEqual({ lines: [], next: null });
  });

  test('is text for who asks for that, a line for each, whatever the task says', async () => {
    const { url } = await embed(tasks);
    const text = async (task: string) => {
      const response = await fetch(`${url}/api/lab/task/logs/${await ended(url, task)}`, {
        headers: { accept: 'text/plain' },
      });
      expect(response.headers.get('content-type')).toBe('text/plain; charset=utf-8');
      return response.text();
    };
    const time = /\d{4}-\d\d-\d\dT[\d:.]+Z/g;
    expect((await text('chatty')).replace(time, '<time>')).toBe(
      '<time> line 1\n<time> line 2 {"n":2}\n<time> line 3\n<time> line 4 {"n":4}\n<time> line 5\n',
    );
    expect((await text('rude')).replace(time, '<time>')).toBe(
      '<time> one <time> forged [31mred  {"a b":"c\\nd"}\n',
    );
    expect(await text('quiet')).toBe('');
    const json = await fetch(`${url}/api/lab/task/logs/${await ended(url, 'quiet')}`, {
      headers: { accept: 'text/html,*/*;q=0.8' },
    });
    expect(await json.json()).toEqual({ lines: [], next: null });
  });

  test('is seen by whoever may see the run', async () => {
    const server = await embed(tasks);
    const [ann, ben] = [await server.token(), await server.token()];
    const { task_id: id } = await server.start('open', ann);
    const logs = (token: string) => fetch(`${server.url}/api/lab/tasks/${token}/logs/${id}`);
    await expect.poll(async () => ((await (await logs(ann)).json()) as Page).lines.length).toBe(1);
    await problem(await logs(ben), 'unknown-run');
    await problem(await logs('x'), 'unknown-token');
    await problem(await fetch(`${server.url}/api/lab/task/logs/${id}`), 'unknown-run');
  });

  test('is asked for with since and limit, and nothing else', async () => {
    const { url, start } = await embed(tasks);
    const { task_id: id } = await start('open');
    for (const query of ['since=x', 'since=99999', 'limit=0', 'limit=1001', 'limit=x', 'before=1']) {
      await problem(await fetch(`${url}/api/lab/task/logs/${id}?${query}`), 'invalid-query');
    }
  });
});
