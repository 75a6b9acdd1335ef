/**
 * Who is calling, on the routes with a client token in their address.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { invalidToken } from '../auth.ts';
import type { ClientToken } from '../token.ts';
import type { RouteParts } from './parts.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Who is calling, on the state-event routes; null on all others. */
    clientToken: ClientToken | null;
  }
}

type Authenticate = (request: FastifyRequest, reply: FastifyReply, done: () => void) => void;

/** The `onRequest` hook that finds out. A bad token is a 401, and one for other states a 403. */
export function authenticateWith({ auth }: Pick<RouteParts, 'auth'>): Authenticate {
  return (request, _reply, done) => {
    const { state, token } = request.params as { state: string; token: string };
    request.clientToken = auth.authenticate(token);
    auth.requireScope(request.clientToken, state);
    done();
  };
}

/** Asked again right before something is changed: a body can be long in coming, and the token be revoked meanwhile. */
export function requireStillGood({ auth }: Pick<RouteParts, 'auth'>, { clientToken }: FastifyRequest): void {
  if (clientToken && !auth.isGood(clientToken)) throw invalidToken();
}
