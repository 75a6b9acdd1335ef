/**
 * The questions that the routes ask before they do anything.
 */
import type { FastifyRequest } from 'fastify';
import { listed, RequestError, shown } from '../errors.ts';
import type { Registry } from '../registry.ts';
import type { Run } from '../run.ts';
import type { TaskDefinition } from '../task.ts';
import type { RouteParts } from './parts.ts';

/** For a state that the registry does not have; a token's scope comes before. */
export function unknownState(registry: Registry, state: string): RequestError {
  const names = registry.states().map(({ name }) => name);
  return new RequestError(
    'unknown-state',
    `There is no state ${shown(state)}. The states are: ${listed(names)}. GET /api/tasks describes them.`,
  );
}

export function requireTask(registry: Registry, state: string, name: string): TaskDefinition {
  const task = registry.task(state, name);
  if (task) return task;
  const known = registry.state(state);
  if (!known) throw unknownState(registry, state);
  throw new RequestError(
    'unknown-task',
    `The state ${known.name} has no task ${shown(name)}. Its tasks are: ${listed([...known.tasks.keys()])}.`,
  );
}

/**
 * The run that a caller may see: started with the same token, or with none, in that state. Any other is answered as if there
 * were no such run. A run whose state has since left the registry can still be read.
 */
export async function requireRun(
  parts: Pick<RouteParts, 'engine' | 'registry'>,
  state: string,
  id: string,
  client: string | null,
): Promise<Run> {
  const run = await parts.engine.read(id);
  if (run && run.client === client && run.snapshot.state === state) return run;
  if (!parts.registry.state(state)) throw unknownState(parts.registry, state);
  throw unknownRun(state, id);
}

export function unknownRun(state: string, id: string): RequestError {
  return new RequestError(
    'unknown-run',
    `There is no run ${shown(id)} in the state ${state} that you may see. Runs are kept for a time, and one that was started ` +
      'with a client token is seen with that token only.',
  );
}

/** Throws a 400 for a query parameter that the route does not know, or that is given twice. */
export function checkQuery(request: FastifyRequest, known: readonly string[] = []): void {
  if (!request.raw.url?.includes('?')) return;
  for (const [name, value] of Object.entries(request.query as Record<string, string | string[]>)) {
    if (!known.includes(name)) {
      const choice = known.length > 0 ? `It knows: ${known.join(', ')}.` : 'It takes none.';
      throw invalidQuery(name, `This address does not know the query parameter ${shown(name)}. ${choice}`);
    }
    if (typeof value !== 'string')
      throw invalidQuery(name, `The query parameter ${name} is given more than once.`);
  }
}

export function invalidQuery(name: string, message: string): RequestError {
  return new RequestError('invalid-query', message, { errors: [{ path: name, message }] });
}
