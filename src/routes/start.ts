/**
 * Starting a run, directly or with a client token. The routes say whose run it is.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Acceptance, StartRequest } from '../engine.ts';
import { RequestError } from '../errors.ts';
import type { JsonBody } from '../json.ts';
import type { TaskDefinition } from '../task.ts';
import { prefers } from './accept.ts';
import { asJson } from './answer.ts';
import { type BodyRefusal, checkBodyType } from './body.ts';
import { requireStillGood } from './caller.ts';
import { requireTask } from './checks.ts';
import { eventStreamType, followRun } from './events.ts';
import { fingerprint, idempotencyKey } from './idempotency.ts';
import { addKeys, type CheckedInput, checkInput, inputOfNone } from './input.ts';
import type { RouteParts } from './parts.ts';
import { waitOfStart } from './prefer.ts';
import { retryAfter } from './problems.ts';
import { type StartOptions, startOptions } from './startOptions.ts';
import { answerInTime } from './wait.ts';

/** Params of the routes to a task. */
export interface StartParams {
  state: string;
  task: string;
}

/** Whatever can be known of a start before its body is read, so that a body nobody wants is never waited for. */
export function checkStart(parts: RouteParts, request: FastifyRequest): void {
  const { state, task } = request.params as StartParams;
  const definition = requireTask(parts.registry, state, task);
  // Many starts at once have a list, if of nulls.
  const takesBody = definition.input !== null || request.routeOptions.config.readsBytes;
  checkStartHead(
    parts,
    request,
    definition.policy.timeoutMs,
    takesBody ? null : () => inputOfNone(definition.name),
  );
}

/** The same for whatever starts a run. `refusal` is what a body is answered with; null where one is taken. */
export function checkStartHead(
  parts: RouteParts,
  request: FastifyRequest,
  timeoutLimitMs: number | null,
  refusal: BodyRefusal | null,
): void {
  startOptions(request, timeoutLimitMs, parts.clock.now());
  idempotencyKey(request);
  if (parts.isStopping()) {
    throw new RequestError(
      'stopping',
      'The server is stopping and takes no more starts. Try again when it is back.',
      {
        headers: retryAfter(parts.config.graceMs),
      },
    );
  }
  checkBodyType(request, refusal);
}

/** Answers with the snapshot of the new run, once it is on disk. `resultsAt` is where the caller reads results. */
export async function startRun(
  parts: RouteParts,
  request: FastifyRequest,
  reply: FastifyReply,
  resultsAt: string,
): Promise<string | FastifyReply> {
  const { state, task: name } = request.params as StartParams;
  const task = requireTask(parts.registry, state, name);
  const body = request.body as JsonBody | undefined;
  const options = startOptions(request, task.policy.timeoutMs, parts.clock.now());
  const start = startRequest(request, state, task, checkInput(task, body), options);
  const key = idempotencyKey(request);
  if (key !== undefined) {
    start.idempotency = {
      key,
      fingerprint: fingerprint(request, ['start', state, name], body?.text ?? null),
    };
  }
  return acceptStart(parts, request, reply, start, resultsAt);
}

/** What the engine is asked for, but for an idempotency key. */
export function startRequest(
  { clientToken }: FastifyRequest,
  state: string,
  task: TaskDefinition,
  input: CheckedInput,
  options: StartOptions | undefined,
): StartRequest {
  const start: StartRequest = { state, task: task.name, client: clientToken?.id ?? null, input: input.text };
  if (options) Object.assign(start, options);
  addKeys(start, task, input.value);
  return start;
}

/** Has it stored, and answers as the caller wants it: at once, at the run's end, or with its events. */
export async function acceptStart(
  parts: RouteParts,
  request: FastifyRequest,
  reply: FastifyReply,
  start: StartRequest,
  resultsAt: string,
): Promise<string | FastifyReply> {
  requireStillGood(parts, request);
  // An engine answers each start of its batch, in order: there is one.
  const [acceptance] = await parts.engine.accept([start]);
  const { run, deduplicated } = acceptance as Acceptance;
  const id = run.snapshot.task_id;
  reply.header('location', `${resultsAt}/${id}`);
  if (deduplicated) reply.header(deduplicatedHeader, 'true');
  if (prefers(request, eventStreamType)) return followRun(parts, request, reply, id);
  const seconds = waitOfStart(request, reply);
  if (seconds === null) return asJson(reply, JSON.stringify(run.snapshot));
  return answerInTime(parts, request, reply, id, seconds, async () => (await parts.engine.read(id)) ?? run);
}

/** Says that there is no new run: its key had made one before. */
export const deduplicatedHeader = 'spyglass-deduplicated';
