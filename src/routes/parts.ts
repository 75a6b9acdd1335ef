/**
 * What the routes are given.
 */
import type { onRequestAsyncHookHandler } from 'fastify';
import type { Auth } from '../auth.ts';
import type { Clock } from '../clock.ts';
import type { Config } from '../config.ts';
import type { Engine } from '../engine.ts';
import type { Guard } from '../guard.ts';
import type { Log } from '../logging.ts';
import type { Registry } from '../registry.ts';
import type { Subscribers } from '../subscribers.ts';
import type { Waiters } from '../waiters.ts';
import type { EventStreams } from './eventStreams.ts';

export interface RouteParts {
  readonly registry: Registry;
  readonly engine: Engine;
  readonly subscribers: Subscribers;
  readonly waiters: Waiters;
  readonly events: EventStreams;
  readonly auth: Auth;
  readonly guard: Guard;
  readonly limits: StartLimits;
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Log;
  /** Whether the server has been told to stop: it takes no more starts then. */
  isStopping(): boolean;
}

/** `onRequest` hooks of starts and upgrades; empty where there is no limit. */
export interface StartLimits {
  readonly byAddress: readonly onRequestAsyncHookHandler[];
  /** To come after the token was found good. */
  readonly byToken: readonly onRequestAsyncHookHandler[];
}
