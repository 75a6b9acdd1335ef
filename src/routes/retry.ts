/**
 * Doing a run again that has ended: a new run, with the input of the old one.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { RequestError } from '../errors.ts';
import { parseJson } from '../json.ts';
import { isTerminal } from '../run.ts';
import { requireRun, requireTask, unknownRun } from './checks.ts';
import { fingerprint, idempotencyKey } from './idempotency.ts';
import { checkInput } from './input.ts';
import type { RouteParts } from './parts.ts';
import type { RunParams } from './runs.ts';
import { acceptStart, checkStartHead, startRequest } from './start.ts';
import { startOptions } from './startOptions.ts';

/** Whatever can be known of a retry before its body, which should be none, is read; of which task it is, only its run says. */
export function checkRetry(parts: RouteParts, request: FastifyRequest): void {
  checkStartHead(parts, request, null, bodyOfRetry);
}

function bodyOfRetry(): RequestError {
  return new RequestError('bad-request', 'A retry takes no body. Send none.');
}

/** Answers as a start does. The task must still be there, and take that input as it is now. */
export async function retryRun(
  parts: RouteParts,
  request: FastifyRequest,
  reply: FastifyReply,
  resultsAt: string,
): Promise<string | FastifyReply> {
  const { state, id } = request.params as RunParams;
  const { snapshot } = await requireRun(parts, state, id, request.clientToken?.id ?? null);
  if (request.body !== undefined) throw bodyOfRetry();
  if (!isTerminal(snapshot.status)) {
    const detail = `The run ${id} is ${snapshot.status}: only one that has ended can be run again.`;
    throw new RequestError('not-ended', detail);
  }
  const task = requireTask(parts.registry, state, snapshot.task);
  const stored = await parts.engine.input(id);
  if (!stored) throw unknownRun(state, id);
  const { input: text } = stored;
  const body = text === null ? undefined : { text, value: parseJson(text) };
  const options = startOptions(request, task.policy.timeoutMs, parts.clock.now());
  const start = startRequest(request, state, task, checkInput(task, body), options);
  start.retryOf = id;
  const key = idempotencyKey(request);
  if (key !== undefined) start.idempotency = { key, fingerprint: fingerprint(request, ['retry', id], null) };
  return acceptStart(parts, request, reply, start, resultsAt);
}
