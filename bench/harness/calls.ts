/**
 * Calls from the harness to a process that it started, over the channel that Node opens between the two. The server under
 * test answers them through `probe.js`, which speaks the same two messages.
 */
import type { ChildProcess } from 'node:child_process';

export interface Call {
  ticket: number;
  name: string;
  argument: unknown;
}

export type Answer = { ticket: number; value: unknown } | { ticket: number; error: string };

/** In the child: answers each call with what the function of its name gives. */
export function answerCalls(functions: Record<string, (argument: never) => unknown>): void {
  process.on('message', async ({ ticket, name, argument }: Call) => {
    let answer: Answer;
    try {
      answer = { ticket, value: await functions[name]?.(argument as never) };
    } catch (error) {
      answer = { ticket, error: (error as Error).message };
    }
    process.send?.(answer);
  });
  // The harness has gone, however it went.
  process.on('disconnect', () => process.exit());
}

/** Microseconds of CPU that this process has used, user and system, in all its threads. */
export function cpuMicros(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

let lastTicket = 0;

/** In the harness: resolves with the answer of `child`, rejects when it ends without one. */
export function call<T>(child: ChildProcess, name: string, argument?: unknown): Promise<T> {
  const ticket = ++lastTicket;
  return new Promise((resolve, reject) => {
    const settle = (settled: () => void) => {
      child.off('message', hear);
      child.off('exit', ended);
      settled();
    };
    const ended = () => settle(() => reject(new Error(`${name}: the process ended without an answer`)));
    const hear = (answer: Answer) => {
      if (answer.ticket !== ticket) return;
      settle(() => ('error' in answer ? reject(new Error(answer.error)) : resolve(answer.value as T)));
    };
    child.on('message', hear);
    child.on('exit', ended);
    child.send({ ticket, name, argument } satisfies Call);
  });
}
