import { expect, test } from 'vitest';
import { Turns } from '../../../src/engines/sqlite/turns.ts';

/** Clients with so many waiting runs each, served by their turns; of the same turn, in the order given. */
function serve(turns: Turns, waiting: Map<string, number>, count: number): string[] {
  const served: string[] = [];
  while (served.length < count) {
    const next = [...waiting.keys()].sort((a, b) => turns.of(a) - turns.of(b))[0];
    if (next === undefined) break;
    served.push(next);
    turns.left(next);
    turns.took(next);
    const left = (waiting.get(next) as number) - 1;
    if (left === 0) waiting.delete(next);
    else waiting.set(next, left);
  }
  return served;
}

function coming(turns: Turns, waiting: Map<string, number>, client: string, count = 1): void {
  for (let run = 0; run < count; run++) turns.came(client);
  waiting.set(client, (waiting.get(client) ?? 0) + count);
}

test('goes round, however many runs each client has', () => {
  const turns = new Turns();
  const waiting = new Map<string, number>();
  coming(turns, waiting, 'a', 100);
  coming(turns, waiting, 'b', 3);
  coming(turns, waiting, 'c', 50);
  expect(serve(turns, waiting, 12).join('')).toBe('abcabcabcaca');
});

test('does not put who comes anew behind the runs of those that were there', () => {
  const turns = new Turns();
  const waiting = new Map<string, number>();
  for (let client = 0; client < 100; client++) coming(turns, waiting, `old ${client}`, 10);
  serve(turns, waiting, 250);
  coming(turns, waiting, 'new');
  expect(serve(turns, waiting, 3)).toContain('new');
});

test('gives who was away, and had a turn lately, no second one before the others', () => {
  const turns = new Turns();
  const waiting = new Map<string, number>();
  coming(turns, waiting, 'stays', 20);
  const served: string[] = [];
  for (let round = 0; round < 20; round++) {
    if (!waiting.has('comes')) coming(turns, waiting, 'comes');
    served.push(...serve(turns, waiting, 1));
  }
  expect(served.filter((client) => client === 'stays')).toHaveLength(10);
});

test('lets who stays have a turn for each two that come once, without end', () => {
  const turns = new Turns();
  const waiting = new Map<string, number>();
  coming(turns, waiting, 'stays', 100);
  const served: string[] = [];
  for (let round = 0; round < 90; round++) {
    // There is always one of them.
    if (waiting.size === 1) coming(turns, waiting, `once ${round}`);
    served.push(...serve(turns, waiting, 1));
  }
  expect(served.filter((client) => client === 'stays').length).toBeGreaterThanOrEqual(29);
});

test('has who stays wait for no more than those that wait too, however many come', () => {
  const turns = new Turns();
  const waiting = new Map<string, number>();
  coming(turns, waiting, 'stays', 100);
  for (let round = 0; round < 20; round++) {
    for (let client = 0; client < 10; client++) coming(turns, waiting, `once ${round} ${client}`);
    const others = waiting.size - 1;
    const served: string[] = [];
    while (served.at(-1) !== 'stays') served.push(...serve(turns, waiting, 1));
    expect(served.length).toBeLessThanOrEqual(others + 1);
  }
});

test('keeps the place of who waits without room, and moves it by nothing that comes', () => {
  const turns = new Turns();
  turns.came('blocked');
  const turn = turns.of('blocked');
  for (let client = 0; client < 50; client++) {
    turns.came(`c${client}`);
    turns.left(`c${client}`);
    turns.took(`c${client}`);
    turns.came('blocked');
  }
  expect(turns.of('blocked')).toBe(turn);
});

test('is not led on by runs that a client adds to those that wait', () => {
  const turns = new Turns();
  turns.came('busy');
  for (let run = 0; run < 10_000; run++) turns.came('busy');
  turns.came('new');
  expect(turns.of('new') - turns.of('busy')).toBeLessThanOrEqual(1);
});
