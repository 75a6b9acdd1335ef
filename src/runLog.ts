/**
 * What the server's log says of attempts: what callers never see, or what nobody else would.
 */
import type { ExecuteOptions } from './executor.ts';
import type { IsolationOptions } from './isolation.ts';
import type { Log } from './logging.ts';

export function logFailure(log: Log): ExecuteOptions['onFailure'] {
  return ({ id, state, task, attempt }, { name, message }, stack) => {
    const error = Object.assign(new Error(message), { name, stack: stack ?? `${name}: ${message}` });
    log('warn', 'A run failed', { task_id: id, state, task, attempt, error });
  };
}

export function logGivenUp(log: Log): ExecuteOptions['onGivenUp'] {
  return ({ id, state, task, attempt }, { message }) => {
    log(
      'warn',
      `An attempt was given up: ${message}, and its method has not ended since. Its code may still run, and nobody hears it: ` +
        'let the method heed task.signal, or declare the task with isolate: true, whose thread is killed',
      { task_id: id, state, task, attempt },
    );
  };
}

const strays = {
  rejected: 'A promise was rejected and nobody handled it',
  thrown: 'An error was thrown and nobody caught it',
} as const;

export function logStray(log: Log): IsolationOptions['onStray'] {
  return ({ what, run, error }) => {
    const whose = run && { task_id: run.id, state: run.state, task: run.task };
    log('error', `${strays[what]}, in ${run ? 'a task' : 'a thread'}`, { ...whose, error });
  };
}

/** Nobody can look at the heaps of threads. */
export function logBlind(log: Log): IsolationOptions['onBlind'] {
  return (reason) => {
    log(
      'warn',
      'The heaps of threads cannot be looked at: one allocation far beyond memoryMb ends the whole process',
      {
        reason,
        advice:
          'allow the inspector to this process (with --permission: --allow-inspector, where Node has it)',
      },
    );
  };
}
