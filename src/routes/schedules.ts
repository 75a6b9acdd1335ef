/**
 * When the tasks of a state are run by themselves, when they last were, and when they will be.
 */
import type { FastifyInstance } from 'fastify';
import type { ScheduleState } from '../engine.ts';
import { asJson } from './answer.ts';
import { checkQuery, unknownState } from './checks.ts';
import type { RouteParts } from './parts.ts';

export function scheduleRoutes(app: FastifyInstance, parts: RouteParts): void {
  app.get('/api/:state/task/schedules', async (request, reply) => {
    checkQuery(request);
    const { state } = request.params as { state: string };
    if (!parts.registry.state(state)) throw unknownState(parts.registry, state);
    const all = await parts.engine.schedules();
    const schedules = all.filter((schedule) => schedule.state === state).map(asShown);
    return asJson(reply, JSON.stringify({ schedules }));
  });
}

/** A schedule on the wire. */
export interface ShownSchedule {
  task: string;
  cron: string;
  time_zone: string;
  args: unknown;
  catch_up: string;
  last_at: string | null;
  last_task_id: string | null;
  next_at: string | null;
}

function asShown({ task, schedule, last, nextAt }: ScheduleState): ShownSchedule {
  return {
    task,
    cron: schedule.cron,
    time_zone: schedule.timeZone,
    args: schedule.input === null ? null : JSON.parse(schedule.input),
    catch_up: schedule.catchUp,
    last_at: asTime(last?.at),
    last_task_id: last?.id ?? null,
    next_at: asTime(nextAt),
  };
}

function asTime(ms: number | null | undefined): string | null {
  return ms === null || ms === undefined ? null : new Date(ms).toISOString();
}
