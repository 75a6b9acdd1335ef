/**
 * What can happen to an engine, as fast-check makes it up. `which` picks one of the runs there are at that moment, so that a sequence
 * that has been shortened still means something.
 */
import fc from 'fast-check';
import type { Mode } from '../../src/engine.ts';
import { type TaskName, taskNames } from './lab.ts';
import type { Client, Ending, Wish } from './model.ts';

export type Action =
  | { do: 'start'; wishes: Wish[] }
  /** One that has ended, as a new run. */
  | { do: 'again'; which: number }
  | { do: 'cancel'; which: number }
  | { do: 'cancelAll'; match: { task?: TaskName; client?: Client; active?: 'pending' | 'running' } }
  | { do: 'setMode'; task: TaskName | ''; mode: Mode }
  | { do: 'say'; which: number; lines: number }
  | { do: 'end'; which: number; ending: Ending };

export type Step =
  /** In one turn of the event loop. */
  | { step: 'turn'; actions: Action[] }
  | { step: 'pass'; ms: number }
  /** The clock is set by so much, without that any time has passed. */
  | { step: 'setClock'; byMs: number }
  /** The server is stopped and started; `isDeaf`: attempts do not heed their signal. */
  | { step: 'stop'; actions: Action[]; isDeaf: boolean }
  /** The process is killed, after or just before the commit of what it was asked for in that turn, and started. */
  | { step: 'crash'; actions: Action[]; committed: boolean };

const hourMs = 3_600_000;

const task = fc.constantFrom(...taskNames);
const client = fc.constantFrom<Client>('a', 'a', 'b', null);
const which = fc.nat(99);

/** Mostly without. */
function rarely<T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> {
  return fc.option(arbitrary, { nil: undefined, freq: 3 });
}

const wish: fc.Arbitrary<Wish> = fc
  .record({
    task,
    client,
    delayMs: rarely(fc.constantFrom(1, 500, 1000, 4000)),
    priority: rarely(fc.constantFrom(0, 2, 9)),
    key: fc.constantFrom(undefined, 'k', 'l'),
    unique: rarely(fc.record({ key: fc.constantFrom('u', 'v'), forMs: fc.constantFrom(null, null, 3000) })),
    idempotency: rarely(
      fc.record({ key: fc.constantFrom('i', 'j'), fingerprint: fc.constantFrom('x', 'x', 'y') }),
    ),
  })
  .map(present);

const ending: fc.Arbitrary<Ending> = fc.oneof(
  { weight: 4, arbitrary: fc.constant<Ending>({ kind: 'completed' }) },
  { weight: 3, arbitrary: fc.constant<Ending>({ kind: 'failed' }) },
  { weight: 1, arbitrary: fc.constant<Ending>({ kind: 'failed', retry: 'never' }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(0, 2000).map((afterMs): Ending => ({ kind: 'failed', retry: { afterMs } })),
  },
  { weight: 2, arbitrary: fc.constant<Ending>({ kind: 'died' }) },
  { weight: 2, arbitrary: fc.constant<Ending>({ kind: 'cancelled' }) },
);

const start = fc.record({
  do: fc.constant('start' as const),
  wishes: fc.array(wish, { minLength: 1, maxLength: 3 }),
});

const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 6, arbitrary: start },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('end' as const), which, ending }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('cancel' as const), which }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('again' as const), which }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('say' as const), which, lines: fc.integer({ min: 0, max: 30 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('setMode' as const),
      task: fc.oneof(fc.constant('' as const), task),
      mode: fc.constantFrom<Mode>('run', 'run', 'pause', 'drain'),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('cancelAll' as const),
      match: fc
        .record({
          task: rarely(task),
          client: rarely(client),
          active: rarely(fc.constantFrom('pending' as const, 'running' as const)),
        })
        .map(present),
    }),
  },
);

const actions = fc.array(action, { minLength: 1, maxLength: 3 });
const fewActions = fc.array(action, { maxLength: 2 });

export const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 16, arbitrary: fc.record({ step: fc.constant('turn' as const), actions }) },
    {
      weight: 5,
      arbitrary: fc.record({
        step: fc.constant('pass' as const),
        ms: fc.constantFrom(1, 99, 499, 1000, 2000, 5000, 11_000),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        step: fc.constant('setClock' as const),
        byMs: fc.constantFrom(-hourMs, hourMs, -2000, 25 * hourMs),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ step: fc.constant('stop' as const), actions: fewActions, isDeaf: fc.boolean() }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        step: fc.constant('crash' as const),
        actions: fewActions,
        committed: fc.boolean(),
      }),
    },
  ),
  { minLength: 1, maxLength: 25, size: 'max' },
);

/** Without the fields that are undefined: left out and undefined are two things to an exact type. */
function present<T extends object>(record: T): { [Name in keyof T]: Exclude<T[Name], undefined> } {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as never;
}
