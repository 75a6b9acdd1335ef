/**
 * A server in a process of its own: what it prints, what it survives and how it ends.
 */
import { type Config, directIsOn, settings } from './config.ts';
import { currentRun } from './currentRun.ts';
import { exitCode } from './errors.ts';
import { asError, createLog, type Log } from './logging.ts';
import type { Registry } from './registry.ts';
import { createServer, type Server } from './server.ts';
import { packageVersion } from './version.ts';

/** Serves until a signal says otherwise. Resolves when it is ready. */
export async function serve(config: Config): Promise<void> {
  const log = createLog({
    level: config.logLevel,
    format: config.logFormat,
    write: (line) => process.stdout.write(line),
    colour: process.stdout.isTTY === true && !process.env.NO_COLOR,
  });
  const server = createServer({ ...config, log });
  outliveTasks(log);
  stopOnSignals(server, log);
  const { url, addresses } = await server.listen();
  if (config.logFormat === 'json') log('info', 'Ready', { url, addresses, docs: `${url}/docs` });
  else process.stdout.write(welcome(config, url, server.registry as Registry));
}

/** A rejection or a throw that nobody awaited is nearly always a task's, and must not take the other runs down. */
function outliveTasks(log: Log): void {
  const tell = (what: string) => (thrown: unknown) => {
    const run = currentRun();
    const whose = run && { task_id: run.id, state: run.state, task: run.task };
    log('error', run ? `${what}, in a task` : what, { ...whose, error: asError(thrown) });
  };
  process.on('unhandledRejection', tell('A promise was rejected and nobody handled it'));
  process.on('uncaughtException', tell('An error was thrown and nobody caught it'));
}

/** One Ctrl-C under `npm start` arrives twice: from the terminal, and from npm. So soon after the first it is no second one. */
const echoMs = 150;

function stopOnSignals(server: Server, log: Log): void {
  let first: { signal: NodeJS.Signals; at: number } | undefined;
  const stop = (signal: NodeJS.Signals) => {
    if (first?.signal === signal && performance.now() - first.at < echoMs) return;
    if (first) process.exit(exitCode.failed);
    first = { signal, at: performance.now() };
    const grace = `${server.config.graceMs / 1000} s`;
    log('info', `${signal}: stopping. Running attempts have ${grace} to end; a second signal exits at once`);
    server.stop().then(
      () => {
        if (server.isHeldByThread) {
          log(
            'warn',
            'Stopped, but for the thread of a task that cannot be interrupted. The process is killed',
          );
          process.kill(process.pid, 'SIGKILL');
        }
        log('info', 'Stopped');
        process.exit(exitCode.fine);
      },
      (error: unknown) => {
        log('error', 'Stopping failed', { error });
        process.exit(exitCode.failed);
      },
    );
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
}

/** What a person needs next: where it is, and a line to try. */
function welcome(config: Config, url: string, registry: Registry): string {
  const states = registry.states();
  const tasks = states.reduce((sum, state) => sum + state.tasks.size, 0);
  return `
  spyglass-tasks ${packageVersion()}: ${count(tasks, 'task')} in ${count(states.length, 'state')} from ${config.folder}

    address  ${url}
    docs     ${url}/docs
    data     ${config.data}
    try      ${tryLine(config, url, registry)}

`;
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

/** Starts a task that needs no input, or else the first one with its example. */
function tryLine(config: Config, url: string, registry: Registry): string {
  const all = registry
    .states()
    .flatMap((state) => [...state.tasks.values()].map((task) => ({ state, task })));
  const chosen = all.find(({ task }) => task.input?.optional ?? true) ?? all[0];
  if (!chosen) return `curl ${url}/api/tasks`;
  const { state, task } = chosen;
  const example = (task.input?.optional ?? true) ? undefined : JSON.stringify(task.input?.example ?? {});
  const body = example === undefined ? '' : ` -H 'Content-Type: application/json' -d ${quoted(example)}`;
  if (directIsOn(config)) return `curl -X POST ${url}/api/${state.name}/task/start/${task.name}${body}`;
  const data = config.data === settings.data.fallback ? '' : ` --data ${quoted(config.data)}`;
  return `curl -X POST ${url}/api/${state.name}/tasks/$(spyglass-tasks token create${data})/start/${task.name}${body}`;
}

/** As one word for a POSIX shell. */
function quoted(text: string): string {
  return /^[\w./:-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
