import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Limits, noLimits } from '../../../src/engines/sqlite/taskLimits.ts';
import { type Ahead, type Place, WaitingRuns } from '../../../src/engines/sqlite/waitingRuns.ts';

const limits: Limits[] = [
  { state: 's', task: 'limited', ...noLimits, concurrency: 2, concurrencyPerClient: 1, concurrencyPerKey: 1 },
  { state: 's', task: 'rated', ...noLimits, rateLimit: { max: 2, perMs: 1000 } },
  { state: 's', task: 'isolated', ...noLimits, isolate: true },
];

const place = (given: Partial<Place> = {}): Place => ({
  state: 's',
  task: 'free',
  client: null,
  key: null,
  priority: 0,
  ...given,
});

/** All that may begin at a time, which then are at work. */
function takeAll(runs: WaitingRuns, at: number): number[] {
  const taken: number[] = [];
  for (let n = runs.take(at); n !== undefined; n = runs.take(at)) taken.push(n);
  return taken;
}

describe('a commit that comes to nothing', () => {
  test('leaves all that waits, and all that is at work, as it was', () => {
    const anyPlace = fc.record({
      state: fc.constant('s'),
      task: fc.constantFrom('free', 'limited', 'rated', 'isolated'),
      client: fc.constantFrom(null, 'a', 'b'),
      key: fc.constantFrom(null, 'k', 'l'),
      priority: fc.constantFrom(0, 5, 9),
    });
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.tuple(fc.constant('add' as const), anyPlace) },
      { weight: 3, arbitrary: fc.tuple(fc.constant('take' as const), fc.constant(null)) },
      { weight: 2, arbitrary: fc.tuple(fc.constant('end' as const), fc.nat(50)) },
      { weight: 1, arbitrary: fc.tuple(fc.constant('remove' as const), fc.nat(50)) },
      { weight: 1, arbitrary: fc.tuple(fc.constant('pause' as const), fc.boolean()) },
      { weight: 2, arbitrary: fc.tuple(fc.constant('commit' as const), fc.boolean()) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const runs = new WaitingRuns(limits, 2);
        interface Model {
          waiting: Map<number, Place>;
          atWork: Map<number, Place>;
          begun: number[];
          paused: boolean;
        }
        const copy = (model: Model): Model => ({
          waiting: new Map(model.waiting),
          atWork: new Map(model.atWork),
          begun: [...model.begun],
          paused: model.paused,
        });
        let kept: Model = { waiting: new Map(), atWork: new Map(), begun: [], paused: false };
        let now = copy(kept);
        let n = 0;
        let at = 0;
        for (const [what, given] of steps) {
          at += 100;
          if (what === 'add') {
            n++;
            runs.add(n, given, at);
            now.waiting.set(n, given);
          } else if (what === 'take') {
            const taken = runs.take(at);
            const mayBegin = [...now.waiting].filter(([, each]) => isFree(each, now, at)).map(([m]) => m);
            if (taken === undefined) expect(mayBegin).toEqual([]);
            else {
              expect(mayBegin).toContain(taken);
              const its = now.waiting.get(taken) as Place;
              // None that may begin is higher: nobody has been passed over for long here.
              const highest = Math.max(...mayBegin.map((m) => now.waiting.get(m)?.priority as number));
              expect(its.priority).toBe(highest);
              now.waiting.delete(taken);
              now.atWork.set(taken, its);
              if (its.task === 'rated') now.begun.push(at);
            }
          } else if (what === 'end') {
            const one = [...now.atWork.keys()][given % Math.max(now.atWork.size, 1)];
            if (one !== undefined) {
              runs.ended(one);
              now.atWork.delete(one);
            }
          } else if (what === 'remove') {
            const one = [...now.waiting.keys()][given % Math.max(now.waiting.size, 1)];
            if (one !== undefined) {
              runs.remove(one, now.waiting.get(one) as Place, at);
              now.waiting.delete(one);
            }
          } else if (what === 'pause') {
            runs.setMode({ state: 's', task: 'free' }, given ? 'pause' : 'run');
            now.paused = given;
          } else {
            if (given) {
              runs.committed();
              kept = copy(now);
            } else {
              runs.rolledBack();
              now = copy(kept);
            }
          }
          expect(runs.size).toBe(now.waiting.size);
        }
      }),
      { numRuns: 500 },
    );

    function isFree(
      { task, client, key }: Place,
      { atWork, begun, paused }: { atWork: Map<number, Place>; begun: number[]; paused: boolean },
      at: number,
    ): boolean {
      const others = [...atWork.values()].filter((each) => each.task === task);
      switch (task) {
        case 'limited':
          return (
            others.length < 2 &&
            others.every((each) => each.client !== client && (key === null || each.key !== key))
          );
        case 'rated':
          return begun.filter((moment) => moment > at - 1000).length < 2;
        case 'isolated':
          return others.length < 2;
        default:
          return !paused;
      }
    }
  });
});

describe('turns', () => {
  test('go by priority, then by client, then by age', () => {
    const runs = new WaitingRuns([], 1);
    runs.add(1, place({ client: 'a' }), 0);
    runs.add(2, place({ client: 'a' }), 0);
    runs.add(3, place({ client: 'b' }), 0);
    runs.add(4, place({ client: 'a', priority: 9 }), 0);
    expect(runs.take(0)).toBe(4);
    // b has not had a turn.
    expect(takeAll(runs, 0)).toEqual([3, 1, 2]);
  });

  test('take a run that comes late in its line by its age', () => {
    const runs = new WaitingRuns([], 1);
    runs.add(5, place(), 0);
    runs.add(6, place(), 0);
    // Accepted before them, delayed until now.
    runs.add(2, place(), 0);
    expect(takeAll(runs, 0)).toEqual([2, 5, 6]);
  });

  test('pass nobody over while nothing begins', () => {
    const runs = new WaitingRuns([], 1);
    runs.add(1, place(), 0);
    runs.add(2, place({ priority: 1 }), 3_600_000);
    expect(runs.take(3_600_000)).toBe(2);
  });

  test('let go what is passed over for ten seconds, after a clock was set back too', () => {
    for (const jump of [0, -3_600_000, 3_600_000]) {
      const runs = new WaitingRuns([], 1);
      runs.add(1, place({ client: 'low' }), 0);
      const order: (number | undefined)[] = [];
      let at = 0;
      for (let n = 2; n < 30; n++) {
        runs.add(n, place({ client: 'high', priority: 3 }), at);
        order.push(runs.take(at));
        at += 1000;
        if (n === 4) at += jump;
      }
      const turn = order.indexOf(1);
      expect(turn).toBeGreaterThan(jump > 0 ? 2 : 9);
      expect(turn).toBeLessThanOrEqual(jump < 0 ? 14 : 11);
    }
  });
});

describe('what goes before a run', () => {
  test('is counted as it then goes', () => {
    const runs = new WaitingRuns([], 1);
    const places = new Map<number, Place>();
    const add = (n: number, given: Partial<Place>) => {
      places.set(n, place(given));
      runs.add(n, place(given), 0);
    };
    for (let n = 1; n <= 5; n++) add(n, { client: 'a' });
    for (let n = 6; n <= 7; n++) add(n, { client: 'b' });
    add(8, { client: 'a', priority: 4 });
    add(9, { client: 'c', priority: 2 });
    const said = new Map([...places].map(([n, its]) => [n, runs.ahead(n, its, 0)]));
    const order = takeAll(runs, 0);
    for (const [n, ahead] of said) {
      // Clients of the same level may go one before the other or not: by one turn.
      expect(Math.abs(ahead.all - order.indexOf(n))).toBeLessThanOrEqual(1);
      expect(ahead.all).toBe(ahead.task);
    }
    expect(said.get(3)?.client).toBe(3);
    expect(said.get(8)?.client).toBe(0);
  });

  test('of a task that has none of its priority counts only those of a higher one', () => {
    const runs = new WaitingRuns([], 1);
    for (let n = 1; n <= 5; n++) runs.add(n, place(), 0);
    runs.add(6, place({ task: 'other', priority: 5 }), 0);
    expect(runs.ahead(5, place(), 0)).toMatchObject({ client: 4, task: 4, all: 5 });
  });

  test('is what the sizes of the lines say, whatever has come and gone since it was last asked for', () => {
    const names = ['free', 'other', 'third'];
    const anyPlace = fc.record({
      state: fc.constant('s'),
      task: fc.constantFrom(...names),
      client: fc.constantFrom(null, 'a', 'b', 'c'),
      key: fc.constant(null),
      priority: fc.constantFrom(0, 5, 9),
    });
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.tuple(fc.constant('add' as const), anyPlace) },
      { weight: 2, arbitrary: fc.tuple(fc.constant('remove' as const), fc.nat(50)) },
      { weight: 1, arbitrary: fc.tuple(fc.constant('pause' as const), fc.constantFrom(...names)) },
      { weight: 1, arbitrary: fc.tuple(fc.constant('run' as const), fc.constantFrom(...names)) },
      { weight: 1, arbitrary: fc.tuple(fc.constant('fail' as const), fc.constant(null)) },
      { weight: 3, arbitrary: fc.tuple(fc.constant('ask' as const), fc.constant(null)) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const runs = new WaitingRuns([], 1);
        const waiting = new Map<number, Place>();
        const paused = new Set<string>();
        /** In the order of their turns: nobody has one here. */
        const clients: (string | null)[] = [];
        let n = 0;
        for (const [what, given] of steps) {
          if (what === 'add') {
            runs.add(++n, given, 0);
            waiting.set(n, given);
            if (!clients.includes(given.client)) clients.push(given.client);
          } else if (what === 'remove') {
            const one = [...waiting.keys()][given % Math.max(waiting.size, 1)];
            if (one === undefined) continue;
            runs.remove(one, waiting.get(one) as Place, 0);
            waiting.delete(one);
          } else if (what === 'pause' || what === 'run') {
            runs.setMode({ state: 's', task: given }, what);
            if (what === 'pause') paused.add(given);
            else paused.delete(given);
          } else if (what === 'fail') {
            runs.committed();
            for (const [one, its] of waiting) runs.remove(one, its, 0);
            for (const one of waiting.keys()) runs.ahead(one, waiting.get(one) as Place, 0);
            runs.rolledBack();
          } else
            for (const [one, its] of waiting) expect(runs.ahead(one, its, 0)).toMatchObject(ahead(one, its));
        }

        function ahead(
          one: number,
          { task, client, priority }: Place,
        ): Pick<Ahead, 'client' | 'task' | 'all'> {
          const sizes = new Map<string, { line: Place; size: number }>();
          const higher = new Map(names.map((name) => [name, 0]));
          let own = 0;
          let higherOfClient = 0;
          for (const [m, its] of waiting) {
            const isOwn = its.task === task && its.client === client;
            if (its.priority > priority) {
              higher.set(its.task, (higher.get(its.task) as number) + 1);
              if (isOwn) higherOfClient++;
            } else if (its.priority === priority) {
              if (isOwn && m < one) own++;
              const name = `${its.task} ${its.client}`;
              sizes.set(name, { line: its, size: (sizes.get(name)?.size ?? 0) + 1 });
            }
          }
          const of = (name: string) => {
            let before = higher.get(name) as number;
            for (const { line, size } of sizes.values()) {
              const comesFirst = clients.indexOf(line.client) < clients.indexOf(client);
              if (line.task === name) before += Math.min(size, comesFirst ? own + 1 : own);
            }
            return before;
          };
          const moving = names.filter((name) => name === task || !paused.has(name));
          const all = moving.reduce((sum, name) => sum + of(name), 0);
          return { client: higherOfClient + own, task: of(task), all };
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('a run that has not waited', () => {
  test('begins at once where its task has room, and not before another that waits for the same', () => {
    const runs = new WaitingRuns(limits, 2);
    const one = place({ task: 'limited', client: 'a', key: 'k' });
    expect(runs.begin(1, one, 0)).toBe(true);
    runs.add(2, one, 0);
    expect(runs.take(0)).toBeUndefined();
    runs.ended(1);
    expect(runs.begin(3, one, 0)).toBe(false);
    expect(runs.begin(4, place({ task: 'limited', client: 'b', key: 'l', priority: 9 }), 0)).toBe(false);
    expect(runs.take(0)).toBe(2);
  });

  test('takes no thread that a run of another isolated task waits for', () => {
    const two: Limits[] = ['x', 'y'].map((task) => ({ state: 's', task, ...noLimits, isolate: true }));
    const runs = new WaitingRuns(two, 1);
    expect(runs.begin(1, place({ task: 'x' }), 0)).toBe(true);
    runs.add(2, place({ task: 'y' }), 0);
    runs.ended(1);
    expect(runs.begin(3, place({ task: 'x' }), 0)).toBe(false);
    expect(runs.take(0)).toBe(2);
  });
});

test('runs that come and leave while their task is paused leave nothing behind', () => {
  const runs = new WaitingRuns(limits, 2);
  runs.setMode({ state: 's' }, 'pause');
  const before = process.memoryUsage().heapUsed;
  for (let n = 1; n <= 500_000; n++) {
    runs.add(n, place({ client: 'a' }), 0);
    runs.remove(n, place({ client: 'a' }), 0);
    runs.committed();
  }
  expect(runs.size).toBe(0);
  // With an entry left of each it was 200 MB; what is not collected yet is less than this.
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(100e6);
});
