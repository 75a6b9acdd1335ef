/**
 * What every engine promises, by noun. An engine is done when it passes.
 */
import { describe } from 'vitest';
import { accepting } from './conformance/accepting.ts';
import { adminModes } from './conformance/adminModes.ts';
import { cancelling } from './conformance/cancelling.ts';
import { clientTokens } from './conformance/clientTokens.ts';
import { clockJumps } from './conformance/clockJumps.ts';
import { dying } from './conformance/dying.ts';
import { executing } from './conformance/executing.ts';
import { keys } from './conformance/keys.ts';
import { limits } from './conformance/limits.ts';
import { remembering } from './conformance/remembering.ts';
import { retrying } from './conformance/retrying.ts';
import { schedules } from './conformance/schedules.ts';
import { standings } from './conformance/standings.ts';
import { stopping } from './conformance/stopping.ts';
import { times } from './conformance/times.ts';
import { waiting } from './conformance/waiting.ts';
import type { EngineFactory } from './harness.ts';

const promises = [
  accepting,
  executing,
  cancelling,
  dying,
  stopping,
  remembering,
  clientTokens,
  retrying,
  times,
  clockJumps,
  waiting,
  limits,
  keys,
  schedules,
  adminModes,
  standings,
];

export function engineConformance(factory: EngineFactory): void {
  describe(`the engine ${factory.name}`, () => {
    for (const promise of promises) promise(factory);
  });
}
