/**
 * Answers that are no errors: JSON, as it was made.
 */
import type { FastifyReply } from 'fastify';

/** The text is sent as it is. */
export function asJson(reply: FastifyReply, json: string): string {
  reply.header('content-type', 'application/json; charset=utf-8');
  return json;
}
