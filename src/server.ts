/**
 * The composition: a config becomes an engine, an app and a server that can be started and stopped.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';
import { Auth, endedToken } from './auth.ts';
import { type Clock, systemClock } from './clock.ts';
import { type Config, completeConfig } from './config.ts';
import type { Engine } from './engine.ts';
import { openEngine } from './engines/open.ts';
import { createExecute } from './executor.ts';
import { Guard } from './guard.ts';
import { createApp, type HttpTimeouts } from './http.ts';
import { Isolation } from './isolation.ts';
import { type Listening, listen } from './listen.ts';
import { createLog, type Log } from './logging.ts';
import { LoopWatch } from './loopWatch.ts';
import { loadRegistry, type Registry } from './registry.ts';
import { logBlind, logFailure, logGivenUp, logStray } from './runLog.ts';
import { Subscribers } from './subscribers.ts';
import { Waiters } from './waiters.ts';

/** Whatever is left out of the `Config` is at the default that `spyglass-tasks serve --help` shows. */
export interface ServerOptions extends Partial<Config> {
  /** Serves these states instead of those in `folder`. */
  registry?: Registry;
  /** Where log lines go. Default: standard output, as `logLevel` and `logFormat` say. */
  log?: Log;
  /** Default: the system's. */
  clock?: Clock;
  /** How long HTTP clients may take. Default, one by one: 10 s for the headers, 30 s for a request, 72 s between two. */
  timeouts?: Partial<HttpTimeouts>;
}

/**
 * A server that has done nothing yet: `listen` opens the data folder and serves. Throws a `StartError` for options that
 * cannot stand.
 *
 * What `spyglass-tasks serve` does for its process is left to the program that embeds a server: it calls `stop` on signals,
 * sets a umask where others can read the data folder, and handles `unhandledRejection` and `uncaughtException`. Tasks run in
 * its process, so what one throws in a timer, or rejects and leaves, ends the process when nobody listens for these events.
 */
export function createServer(options: ServerOptions = {}): Server {
  return new Server(options);
}

interface Running {
  engine: Engine;
  isolation: Isolation;
  loopWatch: LoopWatch;
  auth: Auth;
  subscribers: Subscribers;
  waiters: Waiters;
  app: FastifyInstance;
  listening: Listening;
}

export class Server {
  /** The options with every default filled in. */
  readonly config: Config;
  /** The log of the options, or else the one that was made for standard output. */
  readonly log: Log;
  readonly #options: ServerOptions;
  #registry: Registry | undefined;
  #starting: Promise<Running> | undefined;
  #isStopping = false;
  #isHeldByThread = false;
  #stopped: Promise<void> | undefined;

  constructor(options: ServerOptions) {
    const { registry: _registry, log, clock: _clock, timeouts: _timeouts, ...given } = options;
    this.config = completeConfig(given);
    this.#options = options;
    this.log =
      log ??
      createLog({
        level: this.config.logLevel,
        format: this.config.logFormat,
        write: (line) => process.stdout.write(line),
      });
  }

  /** What is served; undefined before `listen`. */
  get registry(): Registry | undefined {
    return this.#registry;
  }

  /**
   * Loads the tasks, opens the data folder, takes back the runs that a dead process left, and serves. Resolves when
   * requests are answered. Throws a `StartError` that says what is in the way.
   */
  async listen(): Promise<Pick<Listening, 'url' | 'addresses'>> {
    if (this.#starting) throw new Error('This server has been started before. Create another one.');
    this.#starting = this.#start();
    const { url, addresses } = (await this.#starting).listening;
    return { url, addresses };
  }

  /**
   * Refuses new starts, gives running attempts `graceMs` to end, hands the rest back to be run again, tells the watchers to
   * come back later, and closes. Reads and watches are answered until then. Calling it again waits for the same end.
   */
  stop(graceMs = this.config.graceMs): Promise<void> {
    this.#isStopping = true;
    this.#stopped ??= this.#stop(graceMs);
    return this.#stopped;
  }

  /**
   * After `stop`: whether the thread of an isolated attempt is inside a call that cannot be interrupted, such as `execSync`. Then
   * `process.exit` waits for that call, however long it takes.
   */
  get isHeldByThread(): boolean {
    return this.#isHeldByThread;
  }

  async #start(): Promise<Running> {
    const { config, log } = this;
    const clock = this.#options.clock ?? systemClock;
    const registry = this.#options.registry ?? (await loadRegistry(config.folder));
    const { engine, tokens } = await openEngine(config, { clock, log, policies: registry.policies() });
    const subscribers = new Subscribers(engine, clock);
    const waiters = new Waiters(clock);
    engine.onEvent((event) => {
      subscribers.receive(event);
      waiters.receive(event);
    });
    try {
      await engine.open();
      const auth = new Auth(tokens, clock);
      await auth.start((token) => {
        subscribers.closeClient(token, 1008, endedToken);
        waiters.endClient(token);
      });
      const parts = { registry, engine, subscribers, waiters, auth, config, clock, log };
      const app = await createApp(
        { ...parts, guard: new Guard(config), isStopping: () => this.#isStopping },
        this.#options.timeouts,
      );
      const listening = await listen(app, config.host, config.port, log);
      this.#registry = registry;
      // Only now: a server that cannot listen must not have run anything.
      const isolation = new Isolation({
        threads: config.threads,
        folder: this.#options.registry ? null : config.folder,
        clock,
        onStray: logStray(log),
        onBlind: logBlind(log),
      });
      engine.start(
        createExecute(registry, {
          clock,
          isolation,
          tokenLabel: (client) => auth.label(client),
          onFailure: logFailure(log),
          onGivenUp: logGivenUp(log),
        }),
      );
      const loopWatch = new LoopWatch(log);
      loopWatch.start();
      return { engine, isolation, loopWatch, auth, subscribers, waiters, app, listening };
    } catch (error) {
      await engine.close();
      throw error;
    }
  }

  async #stop(graceMs: number): Promise<void> {
    const running = await this.#starting?.catch(() => undefined);
    if (!running) return;
    const { engine, isolation, loopWatch, auth, subscribers, waiters, app, listening } = running;
    await engine.drain(graceMs);
    waiters.close();
    this.#isHeldByThread = !(await isolation.close());
    await lastWords(subscribers);
    auth.stop();
    subscribers.closeAll(1001, 'The server is stopping: reconnect with ?since= your last seq');
    listening.close();
    await closeApp(app);
    await engine.close();
    loopWatch.stop();
  }
}

/** A watcher of a run that has ended leaves by itself, so those who are still there are waited for; of one that was handed back they stay. */
const runWatchersMs = 250;
/** Watchers of all runs never leave by themselves, and are told of an end within a few turns of the loop. */
const allWatchersMs = 20;

/** What the last attempts said is still on its way. */
async function lastWords(subscribers: Subscribers): Promise<void> {
  const patienceMs = () => (subscribers.watchedRuns > 0 ? runWatchersMs : allWatchersMs);
  for (let waitedMs = 0; subscribers.size > 0 && waitedMs < patienceMs(); waitedMs += 10) await sleep(10);
}

/** Answers what is being asked, for a moment; a connection that is still busy then would never let go. */
async function closeApp(app: FastifyInstance): Promise<void> {
  const timer = setTimeout(() => app.server.closeAllConnections(), 2000);
  await app.close();
  clearTimeout(timer);
}
