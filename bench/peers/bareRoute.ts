/**
 * What a start is compared with: a route that checks the same body with the same schema and answers with an id. Nothing is
 * stored, nothing is executed.
 */
import Fastify from 'fastify';
import { nanoid } from 'nanoid';
import { z } from 'zod';

const Person = z.object({ name: z.string(), age: z.number().int() });

const app = Fastify();
app.post('/start', (request, reply) => {
  const parsed = Person.safeParse(request.body);
  return parsed.success ? nanoid() : reply.code(400).send(parsed.error.issues);
});
const address = await app.listen({ host: '127.0.0.1', port: 0 });
process.stdout.write(`${new URL(address).port}\n`);
process.on('disconnect', () => process.exit());
