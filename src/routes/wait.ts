/**
 * An answer that waits for the end of a run.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { invalidToken } from '../auth.ts';
import { isTerminal, type Run } from '../run.ts';
import { asJson } from './answer.ts';
import { requireStillGood } from './caller.ts';
import type { RouteParts } from './parts.ts';

/**
 * Answers with the snapshot of a run as soon as it has ended, and with where it stands when the time is over. `read` gives the
 * run, or throws when the caller may not see it.
 */
export async function answerInTime(
  parts: RouteParts,
  request: FastifyRequest,
  reply: FastifyReply,
  id: string,
  seconds: number,
  read: () => Promise<Run>,
): Promise<string | FastifyReply> {
  const wait = parts.waiters.add(id, request.clientToken?.id ?? null, seconds * 1000);
  const { raw } = reply;
  raw.once('close', wait.leave);
  try {
    const { snapshot } = await read();
    if (seconds === 0 || isTerminal(snapshot.status)) return asJson(reply, JSON.stringify(snapshot));
    // It may have ended while the run was looked up, before there was a wait to be ended with it.
    requireStillGood(parts, request);
    if (request.raw.socket.destroyed) wait.leave();
    const end = await wait.end;
    if (end.because === 'left') return reply.hijack();
    // A connection that is kept would keep the server from closing.
    if (parts.isStopping()) reply.header('connection', 'close');
    if (end.because === 'revoked') throw invalidToken();
    return asJson(reply, end.because === 'ended' ? end.json : JSON.stringify((await read()).snapshot));
  } finally {
    raw.off('close', wait.leave);
    wait.leave();
  }
}
