import { describe, expect, test } from 'vitest';
import { Home } from '../support/serverProcess.ts';
import { Watcher } from '../support/watcher.ts';

describe('a second server on the same data folder', () => {
  test('is refused with exit code 3 and the name of the folder, and disturbs nobody', async () => {
    const home = new Home();
    const first = await home.serve();
    const { task_id: id } = await first.api.started('work');
    const second = home.launch();
    expect(await second.exited).toEqual({ code: 3, signal: null });
    expect(second.errors).toContain(home.data);
    expect(second.errors).toMatch(/in use/);
    expect(second.errors).toContain('--data');
    expect(second.log).toEqual([]);
    expect(await first.api.end(id)).toMatchObject({ status: 'Completed', attempt: 1 });
    expect((await first.stop()).code).toBe(0);
  });

  test('starts at once when the first was killed', async () => {
    const home = new Home();
    const first = await home.serve();
    const { task_id: id } = await first.api.started('work');
    await first.kill();
    const second = await home.serve();
    expect(await second.api.end(id)).toMatchObject({ status: 'Completed', attempt: 2 });
  });

  test('is one of two, however close together they start', async () => {
    const home = new Home();
    const both = [home.launch(), home.launch()];
    const fates = await Promise.allSettled(both.map((server) => server.ready()));
    expect(fates.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    const winner = both[fates.findIndex(({ status }) => status === 'fulfilled')];
    const loser = both.find((server) => server !== winner);
    expect(await loser?.exited).toEqual({ code: 3, signal: null });
    expect((await winner?.api.start('quick'))?.status).toBe(200);
  });
});

describe('token commands', () => {
  test('work beside a busy server, which notices within a second what they did', async () => {
    const home = new Home();
    const server = await home.serve();
    const { api, ws } = server;
    let busy = true;
    const load = Promise.all(
      [1, 2, 3].map(async () => {
        while (busy) expect((await api.start('progress')).status).toBe(200);
      }),
    );

    const created = await home.command('token', 'create', '--label', 'Ann');
    const createdAt = performance.now();
    expect(created).toMatchObject({ code: 0, stdout: expect.stringMatching(/^st_[0-9A-Za-z]{32}\n$/) });
    const secret = created.stdout.trim();
    let answer = await api.start('endless', { token: secret });
    while (answer.status === 401) answer = await api.start('endless', { token: secret });
    expect(answer.status).toBe(200);
    expect(performance.now() - createdAt, 'ms until a new token works').toBeLessThan(1000);

    const id = answer.body.task_id as string;
    const one = await new Watcher(`${ws}/ws/lab/tasks/${secret}/${id}`).open();
    const all = await new Watcher(`${ws}/ws/lab/tasks/${secret}`).open();
    const direct = await api.started('endless');
    const other = await new Watcher(`${ws}/ws/lab/task/ws/${direct.task_id}`).open();
    const [listed] = (await home.command('token', 'list', '--json')).stdout.trim().split('\n');
    const { id: tokenId, status } = JSON.parse(listed ?? '') as { id: string; status: string };
    expect(status).toBe('active');

    expect(await home.command('token', 'revoke', tokenId)).toMatchObject({ code: 0, stdout: '' });
    const revokedAt = performance.now();
    while ((await api.start('quick', { token: secret })).status !== 401);
    for (const watcher of [one, all]) expect((await watcher.close()).code).toBe(1008);
    expect(performance.now() - revokedAt, 'ms until it works no more').toBeLessThan(1000);
    expect((await fetch(`${server.url}/api/lab/tasks/${secret}/${id}`)).status).toBe(401);
    expect((await fetch(`${server.url}/api/lab/tasks/${secret}`)).status).toBe(401);
    expect(other.closed).toBeUndefined();
    expect((await home.command('token', 'revoke', secret)).code).toBe(0);
    busy = false;
    await load;
  }, 60_000);
});
