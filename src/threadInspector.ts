/**
 * Asks V8 about the worker threads of this process, by its inspector: a thread answers in the middle of a loop, too. No port is
 * opened for that.
 */
import type { Session } from 'node:inspector';

/** In the words of https://chromedevtools.github.io/devtools-protocol/v8/. */
interface Answer {
  id: number;
  result?: unknown;
  error?: { message: string };
}

interface Asked {
  sessionId: string;
  resolve: (result: unknown) => void;
  reject: (error: Error) => void;
}

/**
 * As long as there is a session, V8 keeps what is given to `console.log` for it, up to 1,000 entries a thread with all that they refer
 * to. So long it may.
 */
const consoleMs = 1000;

export class ThreadInspector {
  /** One for the process, and for good: once a session was disconnected, Node attaches no worker to another. */
  static #only: Promise<ThreadInspector> | undefined;

  readonly #session: Session;
  /** Session ids by thread id. */
  readonly #attached = new Map<number, string>();
  readonly #asked = new Map<number, Asked>();
  #asks = 0;

  private constructor(session: Session) {
    this.#session = session;
  }

  /** Threads that are there, and those to come, can be asked. Rejects where this Node has no inspector, or forbids it. */
  static open(): Promise<ThreadInspector> {
    ThreadInspector.#only ??= ThreadInspector.#open();
    return ThreadInspector.#only;
  }

  static async #open(): Promise<ThreadInspector> {
    const { Session } = await import('node:inspector');
    const inspector = new ThreadInspector(new Session());
    inspector.#connect();
    return inspector;
  }

  #connect(): void {
    const session = this.#session;
    session.connect();
    session.on('NodeWorker.attachedToWorker', ({ params }) => {
      // Its `workerId` counts what was attached; the id of the thread is in its title only, such as "[worker 3] name".
      const [, thread] = /^\[worker (\d+)\]/.exec(params.workerInfo.title) ?? [];
      if (thread !== undefined) this.#attached.set(Number(thread), params.sessionId);
    });
    session.on('NodeWorker.detachedFromWorker', ({ params }) => this.#forget(params.sessionId));
    session.on('NodeWorker.receivedMessageFromWorker', ({ params }) => {
      const { id, result, error } = JSON.parse(params.message) as Answer;
      const asked = this.#asked.get(id);
      this.#asked.delete(id);
      if (error) asked?.reject(new Error(error.message));
      else asked?.resolve(result);
    });
    session.post('NodeWorker.enable', { waitForDebuggerOnStart: false });
    setInterval(() => this.#discardConsoles(), consoleMs).unref();
  }

  /** Whether a thread can be asked: it has started, and not ended. */
  knows(thread: number): boolean {
    return this.#attached.has(thread);
  }

  /**
   * The result of a method of the protocol; rejects with what the protocol calls an error. A thread that has ended never answers; one in
   * a call that nothing interrupts does after it.
   */
  ask(thread: number, method: string, params: object = {}): Promise<unknown> {
    const id = ++this.#asks;
    return new Promise((resolve, reject) => {
      const sessionId = this.#attached.get(thread);
      if (sessionId === undefined) return;
      this.#asked.set(id, { sessionId, resolve, reject });
      const message = JSON.stringify({ id, method, params });
      this.#session.post('NodeWorker.sendMessageToWorker', { sessionId, message }, (error) => {
        if (!error) return;
        this.#asked.delete(id);
        reject(error);
      });
    });
  }

  #discardConsoles(): void {
    this.#session.post('Runtime.discardConsoleEntries');
    for (const thread of this.#attached.keys()) this.discardConsole(thread).catch(() => {});
  }

  async discardConsole(thread: number): Promise<void> {
    await this.ask(thread, 'Runtime.discardConsoleEntries');
  }

  #forget(sessionId: string): void {
    for (const [thread, id] of this.#attached) if (id === sessionId) this.#attached.delete(thread);
    for (const [id, asked] of this.#asked) if (asked.sessionId === sessionId) this.#asked.delete(id);
  }
}
