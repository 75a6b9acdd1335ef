/** What an admin orders to be cancelled from outside of the server, beside it or before it starts. */
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { AdminStore, CancelProgress } from '../../../src/admin.ts';
import { SqliteAdminStore } from '../../../src/engines/sqlite/adminStore.ts';
import { availableDrivers, openDatabase } from '../../../src/engines/sqlite/driver.ts';
import { TaskStatus } from '../../../src/run.ts';
import { Bench, type EngineHome, Gate, sqliteFactory } from '../../engine/harness.ts';

const { PENDING, CANCELLED } = TaskStatus;

const factory = sqliteFactory(availableDrivers()[0] ?? 'libsql');

function adminOf(home: EngineHome): AdminStore {
  const admin = SqliteAdminStore.open(home.folder);
  onTestFinished(() => admin.close());
  return admin;
}

async function done(admin: AdminStore, order: number): Promise<CancelProgress> {
  await expect.poll(() => admin.cancelProgress(order).isDone, { interval: 10, timeout: 5000 }).toBe(true);
  return admin.cancelProgress(order);
}

test('ends those that wait and aborts those at work, as soon as the server notices', async () => {
  const home = factory.home();
  const gate = new Gate();
  const bench = await Bench.open(home, gate.execute, { concurrency: 1 });
  const { task_id: running } = (await bench.start('ok', { client: 'a' })).snapshot;
  const { task_id: waiting } = (await bench.start('ok', { client: 'a' })).snapshot;
  const { task_id: other } = (await bench.start('ok')).snapshot;
  await gate.leasedCount(1);
  const admin = adminOf(home);
  const order = admin.orderCancel({ state: 'lab', client: 'a' }, Date.now());
  expect(await bench.end(waiting)).toMatchObject({ status: CANCELLED });
  expect(await done(admin, order)).toEqual({ ended: 1, asked: 1, isDone: true });
  expect(gate.contexts.get(running)?.signal.aborted).toBe(true);
  expect(await bench.read(other)).toMatchObject({ status: PENDING });
  // Whom somebody has asked before is not counted again.
  const again = admin.orderCancel({ client: 'a' }, Date.now());
  expect(await done(admin, again)).toEqual({ ended: 0, asked: 0, isDone: true });
  gate.end(running, { kind: 'cancelled' });
  await gate.leasedCount(2);
  gate.end(other);
  await bench.end(other);
});

test('are carried out at the next open, before anything is leased', async () => {
  const home = factory.home();
  const before = await Bench.open(home, null);
  const runs = await before.startAll([before.request('ok'), before.request('echo'), before.request('ok')]);
  await before.close();
  const admin = adminOf(home);
  const order = admin.orderCancel({ task: 'ok' }, Date.now());
  expect(admin.cancelProgress(order)).toEqual({ ended: 0, asked: 0, isDone: false });
  const gate = new Gate();
  const after = await Bench.open(home, gate.execute);
  expect(admin.cancelProgress(order)).toEqual({ ended: 2, asked: 0, isDone: true });
  await gate.leasedCount(1);
  await after.settle();
  const [first, echo, last] = runs.map(({ snapshot }) => snapshot.task_id) as [string, string, string];
  expect(gate.leased.map(({ id }) => id)).toEqual([echo]);
  for (const id of [first, last]) expect(await after.read(id)).toMatchObject({ status: CANCELLED });
  gate.end(echo);
  await after.end(echo);
});

test('reach what was at work when the process died', async () => {
  const home = factory.home();
  const gate = new Gate();
  const bench = await Bench.open(home, gate.execute);
  const { task_id: id } = (await bench.start('ok')).snapshot;
  await gate.leasedCount(1);
  const next = home.crash();
  const admin = adminOf(next);
  const order = admin.orderCancel({}, Date.now());
  const after = await Bench.open(next);
  expect(admin.cancelProgress(order)).toMatchObject({ isDone: true });
  expect(await after.end(id)).toMatchObject({ status: CANCELLED, attempt: 1 });
  gate.end(id);
});

test('mean no run that is accepted after they were given', async () => {
  const home = factory.home();
  const bench = await Bench.open(home, null);
  const admin = adminOf(home);
  const runAt = Date.now() + 60_000;
  const requests = [bench.request('ok'), bench.request('ok', { runAt })];
  const before = await bench.startAll(requests);
  // Nothing in between lets the engine notice.
  const order = admin.orderCancel({ state: 'lab' }, Date.now());
  const after = await bench.startAll(requests);
  expect(await done(admin, order)).toMatchObject({ ended: 2, asked: 0 });
  for (const { snapshot } of before)
    expect(await bench.read(snapshot.task_id)).toMatchObject({ status: CANCELLED });
  for (const { snapshot } of after)
    expect(await bench.read(snapshot.task_id)).toMatchObject({ status: PENDING });
});

test('go on after a crash half-way, and count each run once', async () => {
  const home = factory.home();
  const bench = await Bench.open(home, null);
  await bench.startAll(Array.from({ length: 5000 }, () => bench.request('ok')));
  const admin = adminOf(home);
  const order = admin.orderCancel({ task: 'ok' }, Date.now());
  // Each batch needs a turn of this loop: in one that looks, none is added.
  let progress = admin.cancelProgress(order);
  while (progress.ended === 0) {
    await new Promise((resolve) => setImmediate(resolve));
    progress = admin.cancelProgress(order);
  }
  expect(progress).toMatchObject({ asked: 0, isDone: false });
  expect(progress.ended).toBeLessThan(5000);
  const next = home.crash();
  const after = await Bench.open(next);
  expect(adminOf(next).cancelProgress(order)).toEqual({ ended: 5000, asked: 0, isDone: true });
  expect(after.engine.counts()).toEqual({ pending: 0, running: 0 });
  await done(admin, order);
});

test('wait for a store that cannot take them', { timeout: 20_000 }, async () => {
  const home = factory.home();
  const bench = await Bench.open(home, null);
  const { task_id: id } = (await bench.start('ok')).snapshot;
  const admin = adminOf(home);
  const order = admin.orderCancel({}, Date.now());
  const other = openDatabase(join(home.folder, 'spyglass.db'));
  other.exec('BEGIN IMMEDIATE');
  await expect.poll(() => bench.engine.trouble(), { timeout: 10_000 }).toContain('locks the database');
  expect(await bench.read(id)).toMatchObject({ status: PENDING });
  other.exec('ROLLBACK');
  other.close();
  expect(await done(admin, order)).toMatchObject({ ended: 1 });
  expect(await bench.end(id)).toMatchObject({ status: CANCELLED });
});
