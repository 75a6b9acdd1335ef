/**
 * A round of messages to many watchers, as a peer sends it and as the task `chatter` does.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { eventMessage, TaskStatus } from '../../src/run.ts';

export interface Talk {
  ticks: number;
  periodMs: number;
  messagesPerTick: number;
}

/** Calls `tick` at a steady pace. */
export async function keepPace({ ticks, periodMs }: Talk, tick: () => void): Promise<void> {
  const begin = performance.now();
  for (let count = 1; count <= ticks; count++) {
    tick();
    await pause(Math.max(0, begin + count * periodMs - performance.now()));
  }
}

/** A message like those of `chatter`, to the byte. */
export const sampleMessage = eventMessage({
  kind: 'log',
  snapshot: {
    task_id: '8fKq2LwX0vYbT5sRzN3mJd',
    state: 'bench',
    task: 'chatter',
    status: TaskStatus.PROCESSING,
    progress: 0,
    message: null,
    result: null,
    error: null,
    attempt: 1,
    seq: 1000,
    timestamp: new Date().toISOString(),
  },
  client: null,
  text: 'GET /index.html answered 200 in 12 ms',
});
