/**
 * Where runs stand that wait, as a real server tells it. The engine says it.
 */
import { expect, test } from 'vitest';
import type { Snapshot } from '../../src/run.ts';
import { defineTask } from '../../src/task.ts';
import { embed } from '../support/embedded.ts';
import { EventReader } from '../support/eventReader.ts';
import { Watcher } from '../support/watcher.ts';
import { post } from './asking.ts';

const tasks = { hang: defineTask({}, (task) => task.sleep(600_000)) };

test('A run that waits is told where it stands, over both kinds of streams, until it begins', async () => {
  const server = await embed(tasks, { concurrency: 1 });
  const token = await server.token();
  const [first, second, third] = [
    await server.start('hang', token),
    await server.start('hang', token),
    await server.start('hang', token),
  ] as [Snapshot, Snapshot, Snapshot];
  expect([second.position, third.position]).toEqual([1, 2]);
  const api = `${server.url}/api/lab/tasks/${token}`;
  const watcher = new Watcher(`${server.ws}/ws/lab/tasks/${token}/${third.task_id}`);
  const reader = new EventReader(`${api}/events/${third.task_id}`);
  const all = new EventReader(`${api}/events`);
  await all.until(() => all.events.length === 3);
  expect(all.of(third.task_id)[0]).toMatchObject({ type: 'snapshot', status: 'Pending', position: 2 });
  await post(`${api}/cancel/${first.task_id}`);
  const told = (at: { messages: Watcher['messages'] }) =>
    at.messages.filter(({ type }) => type === 'position').map(({ position }) => position);
  await watcher.until(() => told(watcher).at(-1) === 1);
  await reader.until(() => told(reader).at(-1) === 1);
  await all.until(() => all.of(third.task_id).at(-1)?.position === 1);
  expect(told(watcher)).toEqual([2, 1]);
  const [position] = reader.events.filter(({ data }) => data.type === 'position');
  expect(position).toEqual({
    id: null,
    data: {
      ...{ type: 'position', task_id: third.task_id, position: 2 },
      ...{ starts_at: null, ends_at: null },
    },
  });
  await post(`${api}/cancel/${second.task_id}`);
  await watcher.until(() => watcher.messages.at(-1)?.status === 'Processing');
  const begun = watcher.messages.findIndex(({ status }) => status === 'Starting');
  expect(watcher.messages.slice(begun).map(({ type }) => type)).not.toContain('position');
  const read = (await (await fetch(`${api}/${third.task_id}`)).json()) as Snapshot;
  expect(read).not.toHaveProperty('position');
});
