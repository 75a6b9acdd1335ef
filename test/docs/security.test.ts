import { join } from 'node:path';
import { expect, test } from 'vitest';
import { defineTask } from '../../src/task.ts';
import { idAlphabet, makeToken, tokenPrefix } from '../../src/token.ts';
import { embed } from '../support/embedded.ts';
import { requireCommand } from '../support/requires.ts';
import { stepsOf } from './commands.ts';
import { checkout, Document } from './document.ts';
import { serve } from './served.ts';

const document = new Document('docs/security.md');
const prose = document.prose.replace(/\s+/g, ' ');

test('Every command of docs/security.md prints what the document says', {
  timeout: 120_000,
}, async (context) => {
  requireCommand(context, 'curl', ['--version']);
  const { shell } = await serve(join(checkout, 'tasks'));
  for (const step of stepsOf(document)) await shell.check(step);
});

test('A token is as hard to guess as the document says', () => {
  const { secret } = makeToken({}, Date.now());
  const random = secret.slice(tokenPrefix.length);
  expect(prose).toContain(`\`${tokenPrefix}\` and ${random.length} random letters and digits`);
  expect(prose).toContain(`: ${bits(random)} bits.`);
});

test('An id is as hard to guess as the document says', async () => {
  const { start } = await embed({ quick: defineTask({}, () => 1) });
  const { task_id } = await start('quick');
  expect(prose).toContain(`An id has ${task_id.length} random letters and digits, ${bits(task_id)} bits`);
});

/** Whole random bits, but for a hundredth, of a text whose characters are drawn from the alphabet of ids. */
function bits(text: string): number {
  return Math.floor(text.length * Math.log2(idAlphabet.length) + 0.01);
}
