/** What the store keeps for rate limits, from one life to the next. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { NewRun } from '../../../src/engines/sqlite/protocol.ts';
import { Store } from '../../../src/engines/sqlite/store.ts';
import { noLimits } from '../../../src/engines/sqlite/taskLimits.ts';

const hourMs = 3_600_000;

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'spyglass-rates-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** With these tasks that have a rate. */
function open(path: string, rated: readonly string[]): Store {
  const rateLimit = { max: 5, perMs: 1000 };
  const limits = rated.map((task) => ({ state: 's', task, ...noLimits, rateLimit }));
  const times = { openedAt: 0, keepMs: hourMs };
  const store = Store.open({ folder: path, ...times, keepRuns: 1000, limits, served: [], threads: 1 });
  onTestFinished(() => store.close());
  return store;
}

function newRun(n: number, task: string, at: number): NewRun {
  return { n, id: `run ${n}`, state: 's', task, client: null, input: null, leased: false, limited: true, at };
}

/** When attempts began, as it is on disk. */
function begun(store: Store): unknown[] {
  return store.database.prepare('SELECT task, at FROM begun ORDER BY task, at').all();
}

describe('when attempts began', () => {
  test('is set back with the clock, also where the commit that found out came to nothing', () => {
    const store = open(folder(), ['a']);
    store.commit([{ op: 'accept', runs: [newRun(1, 'a', hourMs)] }]);
    store.commit([{ op: 'lease', max: 1, at: hourMs }]);
    const twice: NewRun[] = [newRun(2, 'a', 0), newRun(2, 'a', 0)];
    expect(() =>
      store.commit([
        { op: 'lease', max: 1, at: 0 },
        { op: 'accept', runs: twice },
      ]),
    ).toThrow('UNIQUE');
    expect(begun(store)).toEqual([{ task: 'a', at: hourMs }]);
    store.commit([{ op: 'lease', max: 1, at: 0 }]);
    expect(begun(store)).toEqual([{ task: 'a', at: 0 }]);
  });

  test('is forgotten of a task that has no rate any more', () => {
    const path = folder();
    const before = open(path, ['a', 'b']);
    before.commit([{ op: 'accept', runs: [newRun(1, 'a', 0), newRun(2, 'b', 0)] }]);
    before.commit([{ op: 'lease', max: 2, at: 0 }]);
    expect(begun(before)).toHaveLength(2);
    expect(begun(open(path, ['b']))).toEqual([{ task: 'b', at: 0 }]);
  });
});
