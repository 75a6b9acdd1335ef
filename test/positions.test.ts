import { describe, expect, test } from 'vitest';
import { bufferLimitBytes, type Sink } from '../src/channel.ts';
import type { Engine } from '../src/engine.ts';
import type { Framing } from '../src/message.ts';
import { type Run, type RunEvent, type Snapshot, type Standing, TaskStatus } from '../src/run.ts';
import { Subscribers } from '../src/subscribers.ts';
import { HandClock } from './support/handClock.ts';

const framing: Framing = { name: 'websocket', frame: (json) => Buffer.from(`${json}\n`) };

class Kept implements Sink {
  readonly framing = framing;
  bufferedBytes = 0;
  text = '';
  hasEnded = false;
  send(block: Buffer): void {
    this.text += block;
  }
  onDrain(callback: () => void): void {
    setImmediate(callback);
  }
  end(): void {
    this.hasEnded = true;
  }
  close(): void {
    this.hasEnded = true;
  }
  /** `seq` of an event, `@position` of a position. */
  get told(): string[] {
    return this.text
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line))
      .map(({ type, seq, position }) => (type === 'position' ? `@${position}` : `${type} ${seq}`));
  }
}

/** Runs whose standings a test writes down; the rest of an engine that a fan-out asks for. */
class Room {
  readonly clock = new HandClock();
  readonly runs = new Map<string, Run>();
  readonly standings = new Map<string, number | null>();
  /** The ids of each time it was asked where runs stand. */
  readonly asked: string[][] = [];
  readonly subscribers: Subscribers;

  constructor() {
    const engine: Pick<Engine, 'history' | 'list' | 'standings' | 'counts'> = {
      history: async (id, since) => {
        const run = this.runs.get(id) as Run;
        const event: RunEvent = { kind: 'update', ...run };
        return { run, events: run.snapshot.seq > since ? [event] : [], more: false };
      },
      list: async ({ before, endedSince }) => {
        if (before !== undefined || endedSince !== undefined) return [];
        return [...this.runs.values()].map(({ snapshot, client }) => ({
          client,
          snapshot: { ...snapshot, ...(this.#standing(snapshot.task_id) ?? {}) },
        }));
      },
      standings: async (ids) => {
        this.asked.push([...ids]);
        const found = ids.flatMap((id) => {
          const standing = this.#standing(id);
          return standing ? [[id, standing] as const] : [];
        });
        return new Map(found);
      },
      counts: () => ({ pending: this.standings.size, running: 0 }),
    };
    this.subscribers = new Subscribers(engine as Engine, this.clock);
  }

  #standing(id: string): Standing | undefined {
    const position = this.standings.get(id);
    return position === undefined ? undefined : { position, starts_at: null, ends_at: null };
  }

  event(id: string, status: TaskStatus, seq: number): void {
    const snapshot: Snapshot = {
      ...{ task_id: id, state: 's', task: 't', status, progress: 0, message: null, result: null },
      ...{ error: null, attempt: 0, seq, timestamp: new Date(0).toISOString() },
    };
    const run: Run = { snapshot, client: 'ann' };
    this.runs.set(id, run);
    this.subscribers.receive({ kind: 'update', ...run });
  }

  /** Has a run wait at that place. */
  wait(id: string, position: number | null, seq = 1): void {
    this.standings.set(id, position);
    this.event(id, TaskStatus.PENDING, seq);
  }

  begin(id: string, seq = 2): void {
    this.standings.delete(id);
    this.event(id, TaskStatus.STARTING, seq);
  }

  async watch(id: string): Promise<Kept> {
    const sink = new Kept();
    this.subscribers.watchRun(id, null, 0, sink);
    await turns();
    return sink;
  }

  async watchAll(): Promise<Kept> {
    const sink = new Kept();
    this.subscribers.watchClient('ann', 's', sink);
    await turns();
    return sink;
  }

  async second(): Promise<void> {
    this.clock.advance(1000);
    await turns();
  }
}

async function turns(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}

describe('Who watches a run that waits', () => {
  test('is told at once where it stands, and then when that has changed', async () => {
    const room = new Room();
    room.wait('a', 3);
    const sink = await room.watch('a');
    expect(sink.told).toEqual(['update 1', '@3']);
    expect(JSON.parse(sink.text.split('\n')[1] as string)).toEqual({
      ...{ type: 'position', task_id: 'a', position: 3, starts_at: null, ends_at: null },
    });
    await room.second();
    await room.second();
    room.standings.set('a', 2);
    expect(sink.told).toEqual(['update 1', '@3']);
    await room.second();
    await room.second();
    expect(sink.told).toEqual(['update 1', '@3', '@2']);
  });

  test('is told once a second at the most, and not twice as they join', async () => {
    const room = new Room();
    room.wait('a', 9);
    const early = await room.watch('a');
    room.clock.advance(900);
    const late = await room.watch('a');
    room.standings.set('a', 8);
    room.clock.advance(100);
    await turns();
    // The ticker is a tenth of a second behind their joining.
    expect(late.told).toEqual(['update 1', '@9']);
    await room.second();
    expect(late.told).toEqual(['update 1', '@9', '@8']);
    expect(early.told).toEqual(['update 1', '@9', '@8']);
  });

  test('is never told after an event that says that it waits no longer', async () => {
    const room = new Room();
    room.wait('a', 1);
    const crowd: Kept[] = [];
    for (let i = 0; i < 500; i++) crowd.push(await room.watch('a'));
    await room.second();
    room.standings.set('a', 2);
    room.clock.advance(1000);
    // The first of them have been told by now; the rest will not be.
    await Promise.resolve();
    room.begin('a');
    await room.second();
    await room.second();
    for (const sink of crowd) expect(sink.told.at(-1)).toBe('update 2');
    for (const sink of crowd) expect(sink.told.lastIndexOf('update 2')).toBe(sink.told.length - 1);
  });

  test('is told again when the run waits again', async () => {
    const room = new Room();
    room.wait('a', 1);
    const sink = await room.watch('a');
    room.begin('a');
    await room.second();
    room.wait('a', null, 3);
    await turns();
    await room.second();
    await room.second();
    expect(sink.told).toEqual(['update 1', '@1', 'update 2', 'update 3', '@null']);
  });

  test('costs nothing once nobody watches, or nothing waits', async () => {
    const room = new Room();
    room.wait('a', 1);
    const leave = room.subscribers.watchRun('a', null, 0, new Kept());
    await turns();
    room.begin('a');
    room.asked.length = 0;
    await room.second();
    expect(room.asked).toEqual([]);
    leave();
    await room.second();
    expect(room.clock.timers).toBe(0);
    room.wait('b', 1);
    expect(await room.watch('b').then(({ told }) => told)).toEqual(['update 1', '@1']);
    expect(room.clock.timers).toBe(1);
  });

  test('does without it when they are too slow', async () => {
    const room = new Room();
    room.wait('a', 2);
    const sink = await room.watch('a');
    await room.second();
    sink.bufferedBytes = bufferLimitBytes + 1;
    room.standings.set('a', 1);
    await room.second();
    expect(sink.told).toEqual(['update 1', '@2']);
    sink.bufferedBytes = 0;
    await room.second();
    expect(sink.told).toEqual(['update 1', '@2', '@1']);
  });
});

describe('Who watches all runs of a token', () => {
  test('is shown where they stand as they join, and told when that has changed', async () => {
    const room = new Room();
    room.wait('a', 1);
    room.wait('b', 2);
    const sink = await room.watchAll();
    expect(sink.told).toEqual(['snapshot 1', 'snapshot 1']);
    expect(JSON.parse(sink.text.split('\n')[1] as string)).toMatchObject({ task_id: 'b', position: 2 });
    await room.second();
    expect(sink.told).toEqual(['snapshot 1', 'snapshot 1']);
    room.begin('a');
    room.standings.set('b', 1);
    await turns();
    await room.second();
    expect(sink.told).toEqual(['snapshot 1', 'snapshot 1', 'update 2', '@1']);
  });

  test('is told of runs that come, in one question for all', async () => {
    const room = new Room();
    const sink = await room.watchAll();
    room.wait('a', 1);
    const one = await room.watch('a');
    room.wait('b', 2);
    await turns();
    room.asked.length = 0;
    await room.second();
    expect(room.asked).toEqual([['a', 'b']]);
    expect(sink.told).toEqual(['update 1', 'update 1', '@1', '@2']);
    expect(one.told).toEqual(['update 1', '@1']);
  });

  test('is told of some hundreds at a time, so that neither commits nor others wait behind it', async () => {
    const room = new Room();
    const sink = await room.watchAll();
    for (let i = 0; i < 500; i++) room.wait(`run ${i}`, i + 1);
    await turns();
    room.asked.length = 0;
    await room.second();
    expect(room.asked.map((ids) => ids.length)).toEqual([200, 200, 100]);
    expect(sink.told.filter((each) => each.startsWith('@'))).toHaveLength(500);
  });

  test('is told of a thousand that wait, and of no more', async () => {
    const room = new Room();
    const sink = await room.watchAll();
    for (let i = 0; i < 1500; i++) room.wait(`run ${i}`, i + 1);
    await turns();
    await room.second();
    expect(sink.told.filter((each) => each.startsWith('@'))).toHaveLength(1000);
  });

  test('is never told of a run after the event that it has begun', async () => {
    const room = new Room();
    const sinks = [await room.watchAll(), await room.watchAll()];
    room.wait('a', 1);
    room.clock.advance(1000);
    room.begin('a');
    await room.second();
    for (const sink of sinks) expect(sink.told).toEqual(['update 1', 'update 2']);
  });
});
