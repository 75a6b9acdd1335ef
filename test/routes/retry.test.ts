/**
 * Running again what has ended. The input comes from the engine.
 */
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import type { Snapshot } from '../../src/run.ts';
import { defineTask } from '../../src/task.ts';
import { embed } from '../support/embedded.ts';
import { EventReader } from '../support/eventReader.ts';
import { expectCommonHeaders, post, problem } from './asking.ts';

const wait = { prefer: 'wait=30' };

/** A task that fails the first time. */
function tasks() {
  let runs = 0;
  return {
    flaky: defineTask({ input: z.object({ n: z.number() }) }, (_task, { n }) => {
      if (runs++ === 0) throw new Error('not yet');
      return n;
    }),
    polite: defineTask(
      { input: z.object({ name: z.string() }).default({ name: 'MATT' }) },
      (_task, { name }) => name,
    ),
    ok: defineTask({}, () => 'fine'),
    hang: defineTask({}, (task) => task.sleep(600_000)),
  };
}

async function ended(address: string, body?: unknown): Promise<Snapshot> {
  return (await (await post(address, body, wait)).json()) as Snapshot;
}

describe('A retry', () => {
  test('is a new run with the input of the old one, directly and with a token', async () => {
    const server = await embed(tasks());
    for (const base of [`task`, `tasks/${await server.token()}`]) {
      const api = `${server.url}/api/lab/${base}`;
      const old = await ended(`${api}/start/flaky`, { n: 7 });
      const response = await post(`${api}/retry/${old.task_id}`, undefined, wait);
      expect(response.status).toBe(200);
      expectCommonHeaders(response.headers);
      expect(response.headers.get('preference-applied')).toBe('wait=30');
      const again = (await response.json()) as Snapshot;
      expect(again.task_id).not.toBe(old.task_id);
      expect(again).toMatchObject({ status: 'Completed', result: 7, retry_of: old.task_id });
      expect(response.headers.get('location')).toBe(`/api/lab/${base}/result/${again.task_id}`);
      const read = (await (await fetch(`${api}/result/${old.task_id}`)).json()) as Snapshot;
      expect(read).toEqual(old);
    }
  });

  test('of a run without a body has none', async () => {
    const { url } = await embed(tasks());
    for (const [task, result] of [
      ['polite', 'MATT'],
      ['ok', 'fine'],
    ]) {
      const { task_id: id } = await ended(`${url}/api/lab/task/start/${task}`);
      expect(await ended(`${url}/api/lab/task/retry/${id}`)).toMatchObject({ result, retry_of: id });
    }
  });

  test('can be followed, put off and repeated like a start', async () => {
    const { url } = await embed(tasks());
    const { task_id: id } = await ended(`${url}/api/lab/task/start/ok`);
    const address = `${url}/api/lab/task/retry/${id}`;
    const reader = new EventReader(address, { method: 'POST', headers: { accept: 'text/event-stream' } });
    await reader.end();
    expect(reader.messages.at(-1)).toMatchObject({ status: 'Completed', retry_of: id });
    const keyed = { 'idempotency-key': 'again' };
    const [first, second] = [await post(address, undefined, keyed), await post(address, undefined, keyed)];
    expect(second.headers.get('spyglass-deduplicated')).toBe('true');
    const [one, two] = [(await first.json()) as Snapshot, (await second.json()) as Snapshot];
    expect(two.task_id).toBe(one.task_id);
    const later = (await (await post(`${address}?delay_ms=600000`)).json()) as Snapshot;
    expect(later).toMatchObject({ status: 'Pending', retry_of: id });
  });

  test('is refused while the run is active, for a body, and for a run that is not there', async () => {
    const server = await embed(tasks());
    const { task_id: held } = await server.start('hang');
    const api = `${server.url}/api/lab/task/retry`;
    const { detail } = await problem(await post(`${api}/${held}`), 'not-ended');
    expect(detail).toContain(held);
    const { task_id: id } = await ended(`${server.url}/api/lab/task/start/ok`);
    await problem(await post(`${api}/${id}`, {}), 'bad-request');
    await problem(await post(`${api}/${id}?wait=3`), 'invalid-query');
    await problem(await post(`${api}/nobody`), 'unknown-run');
    const token = await server.token();
    await problem(await post(`${server.url}/api/lab/tasks/${token}/retry/${id}`), 'unknown-run');
    await problem(await post(`${server.url}/api/lab/tasks/x/retry/${id}`), 'unknown-token');
  });

  test('is refused when the task has gone, or takes that input no longer', async () => {
    const first = await embed({
      gone: defineTask({}, () => 'fine'),
      changed: defineTask({ input: z.object({ n: z.number() }) }, () => 'fine'),
    });
    const gone = await ended(`${first.url}/api/lab/task/start/gone`);
    const changed = await ended(`${first.url}/api/lab/task/start/changed`, { n: 7 });
    await first.server.stop(0);
    const second = await embed(
      { changed: defineTask({ input: z.object({ n: z.string() }) }, () => 'fine') },
      { data: first.data },
    );
    const retry = (id: string) => post(`${second.url}/api/lab/task/retry/${id}`);
    await problem(await retry(gone.task_id), 'unknown-task');
    const { errors } = await problem(await retry(changed.task_id), 'invalid-input');
    expect(errors?.[0]?.path).toBe('n');
  });
});
