import { expect, test } from 'vitest';
import { type RunEvent, type Snapshot, TaskStatus } from '../src/run.ts';
import { type WaitEnd, Waiters } from '../src/waiters.ts';
import { HandClock } from './support/handClock.ts';

function event(id: string, status: TaskStatus): RunEvent {
  const snapshot: Snapshot = {
    ...{ task_id: id, state: 's', task: 't', status, progress: 0, message: null, result: null, error: null },
    ...{ attempt: 1, seq: 3, timestamp: new Date(0).toISOString() },
  };
  return { kind: 'update', snapshot, client: null };
}

function setUp(): { clock: HandClock; waiters: Waiters } {
  const clock = new HandClock();
  return { clock, waiters: new Waiters(clock) };
}

/** Whether nothing is left of who waited. */
function expectEmpty({ clock, waiters }: { clock: HandClock; waiters: Waiters }): void {
  expect({ waiting: waiters.size, timers: clock.timers }).toEqual({ waiting: 0, timers: 0 });
}

test('everybody who waits for a run is woken by its end, with one and the same text', async () => {
  const room = setUp();
  const waits = Array.from({ length: 1000 }, () => room.waiters.add('a', null, 30_000));
  const other = room.waiters.add('b', null, 30_000);
  room.waiters.receive(event('a', TaskStatus.PROCESSING));
  room.waiters.receive(event('a', TaskStatus.COMPLETED));
  const ends = await Promise.all(waits.map(({ end }) => end));
  const json = JSON.stringify(event('a', TaskStatus.COMPLETED).snapshot);
  expect(new Set(ends.map((end) => JSON.stringify(end)))).toEqual(
    new Set([JSON.stringify({ because: 'ended', json } satisfies WaitEnd)]),
  );
  expect(room.waiters.size).toBe(1);
  other.leave();
  expectEmpty(room);
});

test('an end wakes a few in each turn of the event loop, so that it holds up nobody', async () => {
  const room = setUp();
  let woken = 0;
  for (let i = 0; i < 1000; i++) void room.waiters.add('a', null, 30_000).end.then(() => woken++);
  room.waiters.receive(event('a', TaskStatus.ERROR));
  await Promise.resolve();
  expect(woken).toBe(200);
  await expect.poll(() => woken).toBe(1000);
  expectEmpty(room);
});

test('each has a time of its own', async () => {
  const room = setUp();
  const [short, long] = [room.waiters.add('a', null, 1000), room.waiters.add('a', null, 60_000)];
  room.clock.advance(999);
  expect(room.waiters.size).toBe(2);
  room.clock.advance(1);
  expect(await short.end).toEqual({ because: 'over' });
  expect(room.waiters.size).toBe(1);
  room.clock.advance(59_000);
  expect(await long.end).toEqual({ because: 'over' });
  expectEmpty(room);
});

test('who leaves is forgotten at once, however often it says so', async () => {
  const room = setUp();
  const wait = room.waiters.add('a', null, 1000);
  wait.leave();
  wait.leave();
  expect(await wait.end).toEqual({ because: 'left' });
  expectEmpty(room);
});

test('a token that is revoked ends the waits that it began, and no others', async () => {
  const room = setUp();
  const [hers, his] = [room.waiters.add('a', 'ann', 1000), room.waiters.add('a', 'ben', 1000)];
  room.waiters.endClient('ann');
  expect(await hers.end).toEqual({ because: 'revoked' });
  expect(room.waiters.size).toBe(1);
  his.leave();
  expectEmpty(room);
});

test('once closed, nobody waits any more', async () => {
  const room = setUp();
  const waits = Array.from({ length: 500 }, (_, i) => room.waiters.add(`run ${i % 2}`, null, 1000));
  room.waiters.close();
  waits.push(room.waiters.add('late', null, 1000));
  for (const { end } of waits) expect(await end).toEqual({ because: 'over' });
  expectEmpty(room);
});
