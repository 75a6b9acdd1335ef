import { expect, test } from 'vitest';
import { z } from 'zod';
import { defineTask } from '../../src/task.ts';
import { embed } from '../support/embedded.ts';
import { expectCommonHeaders, problem } from './asking.ts';

test('The catalogue describes every state and task, with its input', async () => {
  const input = z.object({ name: z.string() }).default({ name: 'MATT' });
  const { url } = await embed({
    plain: defineTask({}, () => 1),
    greet: defineTask({ description: 'Says hello.', input }, () => 1),
  });
  const response = await fetch(`${url}/api/tasks`);
  expect(response.status).toBe(200);
  expectCommonHeaders(response.headers);
  expect(await response.json()).toEqual({
    states: [
      {
        name: 'lab',
        description: null,
        tasks: [
          { name: 'plain', description: null, input: null, example: null },
          {
            name: 'greet',
            description: 'Says hello.',
            input: expect.objectContaining({ type: 'object', required: ['name'] }),
            example: { name: 'MATT' },
          },
        ],
      },
    ],
  });
  await problem(await fetch(`${url}/api/tasks?state=lab`), 'invalid-query');
});
