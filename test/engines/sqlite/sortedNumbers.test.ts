import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SortedNumbers } from '../../../src/engines/sqlite/sortedNumbers.ts';

/** One thing done to it; the number is what is added, removed, counted or taken. */
const step = fc.tuple(
  fc.constantFrom('add', 'append', 'remove', 'shift', 'before', 'some'),
  fc.integer({ min: 0, max: 60 }),
);

test('is the sorted list that it stands for, whatever is done to it', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
      const numbers = new SortedNumbers();
      let model: number[] = [];
      let last = 100;
      for (const [what, number] of steps) {
        switch (what) {
          case 'add':
            if (!model.includes(number)) {
              numbers.add(number);
              model = [...model, number].sort((a, b) => a - b);
            }
            break;
          case 'append':
            numbers.add(++last);
            model.push(last);
            break;
          case 'remove':
            expect(numbers.remove(number)).toBe(model.includes(number));
            model = model.filter((each) => each !== number);
            break;
          case 'shift':
            expect(numbers.shift()).toBe(model.shift());
            break;
          case 'before':
            expect(numbers.before(number)).toBe(model.filter((each) => each < number).length);
            break;
          case 'some':
            expect(numbers.some(number)).toEqual(model.slice(0, number));
        }
        expect(numbers.length).toBe(model.length);
        expect(numbers.first).toBe(model[0]);
      }
    }),
    { numRuns: 300 },
  );
});

test('lets go of the memory of what has left', () => {
  const numbers = new SortedNumbers();
  for (let n = 0; n < 100_000; n++) numbers.add(n);
  for (let n = 0; n < 60_000; n++) expect(numbers.shift()).toBe(n);
  // One that left does not come back by being asked for, and one from before can come again.
  expect(numbers.remove(59_999)).toBe(false);
  expect(numbers.before(70_000)).toBe(10_000);
  numbers.add(5);
  expect(numbers.first).toBe(5);
  expect(numbers.length).toBe(40_001);
});
