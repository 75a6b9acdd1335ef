/**
 * The thread side of isolation: what piscina calls in a worker thread, once for each attempt. The attempt itself is run by the
 * same code as on the main loop.
 */
import { parentPort } from 'node:worker_threads';
import { failed, runAttempt } from './attempt.ts';
import { currentRun } from './currentRun.ts';
import { StartError } from './errors.ts';
import { asError } from './logging.ts';
import { loadState } from './registry.ts';
import type { Outcome } from './run.ts';
import type { StateDefinition } from './task.ts';
import { type ImportTaskFile, taskFileImport } from './taskFile.ts';
import { ThreadAttempt } from './threadAttempt.ts';
import { Gauge, type Stray, type ThreadTask } from './threadLine.ts';

outliveStrays();

const importers = new Map<string, ImportTaskFile>();
/** By file. A thread loads a file once, and keeps what the file keeps between attempts. */
const states = new Map<string, Promise<StateDefinition>>();

export async function runIsolated({ run, client, port, gauge, ...task }: ThreadTask): Promise<Outcome> {
  const attempt = new ThreadAttempt(port, new Gauge(gauge));
  attempt.take();
  try {
    const definition = (await stateOf(task)).tasks.get(run.task);
    if (!definition) {
      return failed('UnknownTaskError', `${task.file} has no task ${run.task} any more: restart the server.`);
    }
    const before = callbacksToCome();
    attempt.begin();
    const outcome = await runAttempt(definition, run, attempt, client);
    attempt.end();
    if (callbacksToCome() <= before) return outcome;
    // The next attempt here would have to live with it: with a timer that computes, or that exits.
    attempt.leave(outcome);
    return new Promise(() => {});
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    return failed(
      'TaskFileError',
      `In the thread of the attempt, ${task.file} cannot be loaded: ${error.message}`,
    );
  } finally {
    attempt.end();
  }
}

/** Timers and immediates that somebody has set. Connections are not counted: a pool of them is there to be used again. */
function callbacksToCome(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout' || kind === 'Immediate').length;
}

function stateOf({
  file,
  state,
  folder,
}: Pick<ThreadTask, 'file' | 'state' | 'folder'>): Promise<StateDefinition> {
  const importFile = importers.get(folder) ?? taskFileImport(folder);
  importers.set(folder, importFile);
  const definition = states.get(file) ?? loadState(file, state, importFile);
  states.set(file, definition);
  return definition;
}

/** As `serve.ts` does for the process: what a task left behind and nobody caught is told, and ends nothing. */
function outliveStrays(): void {
  const tell = (what: Stray['what']) => (thrown: unknown) => {
    const run = currentRun();
    const { name, message, stack } = asError(thrown);
    parentPort?.postMessage({
      kind: 'spyglass-tasks.stray',
      what,
      run: run && { id: run.id, state: run.state, task: run.task },
      error: Object.assign(new Error(message), { name, stack }),
    } satisfies Stray);
  };
  process.on('unhandledRejection', tell('rejected'));
  process.on('uncaughtException', tell('thrown'));
}
