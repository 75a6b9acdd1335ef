/**
 * What both ways of access do with runs: start, read, cancel. The routes say whose runs they are.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Acceptance } from '../engine.ts';
import { RequestError } from '../errors.ts';
import type { JsonBody } from '../json.ts';
import type { Run } from '../run.ts';
import type { InputSchema } from '../schema.ts';
import type { TaskDefinition } from '../task.ts';
import { asJson } from './answer.ts';
import { checkBodyType } from './body.ts';
import { requireStillGood } from './caller.ts';
import { checkQuery, requireRun, requireTask, unknownRun } from './checks.ts';
import type { RouteParts } from './parts.ts';
import { retryAfter } from './problems.ts';

/** Whatever can be known of a start before its body is read, so that a body nobody wants is never waited for. */
export function checkStart(parts: RouteParts, request: FastifyRequest): void {
  const { state, task } = request.params as StartParams;
  requireTask(parts.registry, state, task);
  checkQuery(request);
  if (parts.isStopping()) {
    throw new RequestError(
      'stopping',
      'The server is stopping and takes no more starts. Try again when it is back.',
      {
        headers: retryAfter(parts.config.graceMs),
      },
    );
  }
  checkBodyType(request.raw);
}

/** Params of the start routes. */
export interface StartParams {
  state: string;
  task: string;
}

/** Answers with the snapshot of the new run, once it is on disk. `resultsAt` is where the caller reads results. */
export async function startRun(
  parts: RouteParts,
  request: FastifyRequest,
  reply: FastifyReply,
  client: string | null,
  resultsAt: string,
): Promise<string> {
  const { state, task: name } = request.params as StartParams;
  const task = requireTask(parts.registry, state, name);
  const input = checkInput(task, request.body as JsonBody | undefined);
  requireStillGood(parts, request);
  const [acceptance] = await parts.engine.accept([{ state, task: name, client, input }]);
  // An engine answers each start of its batch, in order: there is one.
  const { snapshot } = (acceptance as Acceptance).run;
  reply.header('location', `${resultsAt}/${snapshot.task_id}`);
  return asJson(reply, JSON.stringify(snapshot));
}

/** The input as JSON text, null when there was no body. Throws a 400 when it does not fit the task. */
function checkInput(task: TaskDefinition, body: JsonBody | undefined): string | null {
  if (task.input === null) {
    if (body === undefined) return null;
    throw invalidInput('', `The task ${task.name} takes no input. Send no body, not even {}.`);
  }
  if (body === undefined) {
    if (!task.input.optional) throw missingInput(task.name, task.input);
    return null;
  }
  const parsed = task.input.parse(body.value);
  if (parsed.ok) return body.text;
  const [first] = parsed.errors;
  const where = first?.path ? `${first.path}: ` : '';
  const more = parsed.errors.length > 1 ? ` (and ${parsed.errors.length - 1} more, see "errors")` : '';
  throw new RequestError('invalid-input', `${where}${first?.message ?? 'The input is refused'}${more}`, {
    errors: parsed.errors,
  });
}

function missingInput(taskName: string, input: InputSchema): RequestError {
  const example =
    input.example === undefined ? '' : ` Send JSON such as ${JSON.stringify(input.example).slice(0, 500)}.`;
  return invalidInput('', `The task ${taskName} needs input, and there was no body.${example}`);
}

function invalidInput(path: string, message: string): RequestError {
  return new RequestError('invalid-input', message, { errors: [{ path, message }] });
}

/** Answers with where a run of the caller's stands. */
export async function readRun(
  parts: RouteParts,
  request: FastifyRequest,
  reply: FastifyReply,
  client: string | null,
): Promise<string> {
  checkQuery(request);
  const { state, id } = request.params as RunParams;
  const run = await requireRun(parts, state, id, client);
  return asJson(reply, JSON.stringify(run.snapshot));
}

/** Params of the routes to one run. */
export interface RunParams {
  state: string;
  id: string;
}

/** Whatever can be known of a cancel before its body, which should be none, is read. */
export function checkCancel(request: FastifyRequest): void {
  checkQuery(request);
  checkBodyType(request.raw);
}

/** Asks a run of the caller's to end, and answers with where it stands. One that has ended is a 409. */
export async function cancelRun(
  parts: RouteParts,
  request: FastifyRequest,
  reply: FastifyReply,
  client: string | null,
): Promise<string> {
  const { state, id } = request.params as RunParams;
  await requireRun(parts, state, id, client);
  if (request.body !== undefined) throw new RequestError('bad-request', 'A cancel takes no body. Send none.');
  requireStillGood(parts, request);
  const cancellation = await parts.engine.cancel(id);
  if (!cancellation) throw unknownRun(state, id);
  if (cancellation.kind === 'already-ended') throw alreadyEnded(cancellation.run);
  return asJson(reply, JSON.stringify(cancellation.run.snapshot));
}

function alreadyEnded({ snapshot }: Run): RequestError {
  const { task_id, status, timestamp } = snapshot;
  return new RequestError('already-ended', `The run ${task_id} ended with status ${status} at ${timestamp}.`);
}
