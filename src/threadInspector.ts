/**
 * Asks V8 about the worker threads of this process, by its inspector: a thread answers in the middle of a loop, too. No port is
 * opened for that.
 */
import type { Session } from 'node:inspector';

/** In the words of https://chromedevtools.github.io/devtools-protocol/v8/. */
interface Answer {
  id: number;
  result: unknown;
}

export class ThreadInspector {
  /** One for the process, and for good: once a session was disconnected, Node attaches no worker to another. */
  static #only: Promise<ThreadInspector | undefined> | undefined;

  readonly #session: Session;
  /** Session ids by thread id. */
  readonly #attached = new Map<number, string>();
  readonly #asked = new Map<number, { sessionId: string; answer: (result: unknown) => void }>();
  #asks = 0;

  private constructor(session: Session) {
    this.#session = session;
  }

  /** undefined: this Node was built without an inspector. Threads that are there, and those to come, can be asked. */
  static open(): Promise<ThreadInspector | undefined> {
    ThreadInspector.#only ??= ThreadInspector.#open();
    return ThreadInspector.#only;
  }

  static async #open(): Promise<ThreadInspector | undefined> {
    if (!process.features.inspector) return undefined;
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
      const { id, result } = JSON.parse(params.message) as Answer;
      this.#asked.get(id)?.answer(result);
      this.#asked.delete(id);
    });
    session.post('NodeWorker.enable', { waitForDebuggerOnStart: false });
  }

  /** Whether a thread can be asked: it has started, and not ended. */
  knows(thread: number): boolean {
    return this.#attached.has(thread);
  }

  /** The result of a method of the protocol. A thread that has ended never answers; one in a call that nothing interrupts does after it. */
  ask(thread: number, method: string, params: object = {}): Promise<unknown> {
    const id = ++this.#asks;
    return new Promise((resolve) => {
      const sessionId = this.#attached.get(thread);
      if (sessionId === undefined) return;
      this.#asked.set(id, { sessionId, answer: resolve });
      const message = JSON.stringify({ id, method, params });
      this.#session.post('NodeWorker.sendMessageToWorker', { sessionId, message }, (error) => {
        if (error) this.#asked.delete(id);
      });
    });
  }

  #forget(sessionId: string): void {
    for (const [thread, id] of this.#attached) if (id === sessionId) this.#attached.delete(thread);
    for (const [id, asked] of this.#asked) if (asked.sessionId === sessionId) this.#asked.delete(id);
  }
}
