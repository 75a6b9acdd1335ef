/** A process of its own, since the test runner has a console of its own. It needs `npm run build`. */
import { execFileSync } from 'node:child_process';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';

const script = `
  import { ThreadInspector } from '${resolve(import.meta.dirname, '../dist/threadInspector.js')}';
  await ThreadInspector.open();
  const told = Array.from({ length: 200 }, (_, i) => {
    const object = { i, large: new Array(1000).fill(i) };
    console.error(object);
    return new WeakRef(object);
  });
  const kept = () => (gc(), told.filter((ref) => ref.deref()).length);
  const until = performance.now() + 20_000;
  // Each look lets the loop turn, or V8 would keep what a WeakRef was asked for.
  while (performance.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    if (kept() === 0) break;
  }
  console.log(kept());
`;

test('What the process tells its console is not kept because threads can be looked into', () => {
  const options = ['--expose-gc', '--input-type=module', '--eval', script];
  const left = execFileSync(process.execPath, options, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  expect(left.trim()).toBe('0');
});
