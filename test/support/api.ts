/**
 * A client of the state `lab`, over HTTP.
 */
import { isTerminal, type Snapshot } from '../../src/run.ts';

export interface Answer {
  status: number;
  headers: Headers;
  /** JSON, parsed. */
  body: Record<string, unknown>;
}

export class Api {
  readonly url: string;

  constructor(url: string) {
    this.url = url;
  }

  /** Whatever the answer is. */
  async start(task: string, options: { token?: string | undefined; input?: unknown } = {}): Promise<Answer> {
    const { token, input } = options;
    const path = token === undefined ? `task/start/${task}` : `tasks/${token}/start/${task}`;
    const init: RequestInit = { method: 'POST' };
    if (input !== undefined) {
      init.headers = { 'content-type': 'application/json' };
      init.body = JSON.stringify(input);
    }
    return this.#ask(path, init);
  }

  /** The snapshot of a run that must be accepted. */
  async started(task: string, options?: Parameters<Api['start']>[1]): Promise<Snapshot> {
    return accepted(await this.start(task, options));
  }

  async result(id: string, token?: string): Promise<Snapshot> {
    return accepted(await this.#ask(`${token === undefined ? 'task' : `tasks/${token}`}/result/${id}`));
  }

  cancel(id: string, token?: string): Promise<Answer> {
    return this.#ask(`${token === undefined ? 'task' : `tasks/${token}`}/cancel/${id}`, { method: 'POST' });
  }

  /** All runs of a token, page by page. */
  async list(token: string): Promise<Snapshot[]> {
    const runs: Snapshot[] = [];
    for (;;) {
      const before = runs.length > 0 ? `&before=${runs.at(-1)?.task_id}` : '';
      const answer = await this.#ask(`tasks/${token}?limit=1000${before}`);
      const page = Object.values(
        (accepted(answer) as unknown as { all_tasks: Record<string, Snapshot> }).all_tasks,
      );
      runs.push(...page);
      if (page.length < 1000) return runs;
    }
  }

  /** Asks again and again, without haste, until `ready` holds. */
  async until(id: string, ready: (snapshot: Snapshot) => boolean, token?: string): Promise<Snapshot> {
    for (;;) {
      const snapshot = await this.result(id, token);
      if (ready(snapshot)) return snapshot;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  end(id: string, token?: string): Promise<Snapshot> {
    return this.until(id, ({ status }) => isTerminal(status), token);
  }

  async #ask(path: string, init?: RequestInit): Promise<Answer> {
    const response = await fetch(`${this.url}/api/lab/${path}`, init);
    return { status: response.status, headers: response.headers, body: JSON.parse(await response.text()) };
  }
}

function accepted(answer: Answer): Snapshot {
  if (answer.status !== 200) throw new Error(`${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body as unknown as Snapshot;
}
