/**
 * What both ways of access do with runs that there are: read and cancel. The routes say whose runs they are.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { RequestError } from '../errors.ts';
import type { Run } from '../run.ts';
import { asJson } from './answer.ts';
import { checkBodyType } from './body.ts';
import { requireStillGood } from './caller.ts';
import { checkQuery, requireRun, unknownRun } from './checks.ts';
import type { RouteParts } from './parts.ts';
import { waitOfRead } from './prefer.ts';
import { answerInTime } from './wait.ts';

/** Params of the routes to one run. */
export interface RunParams {
  state: string;
  id: string;
}

/** Answers with where a run of the caller's stands, at its end where the caller wants to wait for that. */
export async function readRun(
  parts: RouteParts,
  request: FastifyRequest,
  reply: FastifyReply,
  client: string | null,
): Promise<string | FastifyReply> {
  checkQuery(request, ['wait']);
  const { state, id } = request.params as RunParams;
  const read = () => requireRun(parts, state, id, client);
  const seconds = waitOfRead(request, reply);
  if (seconds !== null) return answerInTime(parts, request, reply, id, seconds, read);
  return asJson(reply, JSON.stringify((await read()).snapshot));
}

/** Whatever can be known of a cancel before its body, which should be none, is read. */
export function checkCancel(request: FastifyRequest): void {
  checkQuery(request);
  checkBodyType(request, bodyOfCancel);
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
  if (request.body !== undefined) throw bodyOfCancel();
  requireStillGood(parts, request);
  const cancellation = await parts.engine.cancel(id);
  if (!cancellation) throw unknownRun(state, id);
  if (cancellation.kind === 'already-ended') throw alreadyEnded(cancellation.run);
  return asJson(reply, JSON.stringify(cancellation.run.snapshot));
}

function bodyOfCancel(): RequestError {
  return new RequestError('bad-request', 'A cancel takes no body. Send none.');
}

function alreadyEnded({ snapshot }: Run): RequestError {
  const { task_id, status, timestamp } = snapshot;
  return new RequestError('already-ended', `The run ${task_id} ended with status ${status} at ${timestamp}.`);
}
