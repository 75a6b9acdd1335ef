/**
 * How many starts and watches a second one address, and one client token, may ask for.
 */
import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { RequestError } from '../errors.ts';
import type { StartLimits } from './parts.ts';
import { retryAfter } from './problems.ts';

/** With `perSecond` 0 there are no hooks at all, so that no limit costs nothing. */
export async function startLimits(app: FastifyInstance, perSecond: number): Promise<StartLimits> {
  if (perSecond === 0) return { byAddress: [], byToken: [] };
  await app.register(rateLimit, { global: false });
  const counted = { max: perSecond, timeWindow: 1000 };
  // Of an IPv6 address the /64 counts: whoever has one address of it has them all.
  const countAddress = app.createRateLimit(counted);
  const countToken = app.createRateLimit({
    ...counted,
    keyGenerator: (request) => request.clientToken?.id ?? '',
  });
  const limit = (count: typeof countAddress, whose: string) => async (request: FastifyRequest) => {
    const answer = await count(request);
    if (answer.isAllowed || !answer.isExceeded) return;
    throw new RequestError(
      'rate-limited',
      `More than ${perSecond} starts and watches a second from ${whose}. Try again a little later.`,
      {
        headers: retryAfter(answer.ttl),
      },
    );
  };
  return {
    byAddress: [limit(countAddress, 'this address')],
    byToken: [limit(countToken, 'this client token')],
  };
}
