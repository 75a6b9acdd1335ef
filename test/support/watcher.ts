/**
 * Somebody who watches a stream: keeps what came, and can be asked to wait for more.
 */
import { onTestFinished } from 'vitest';
import { WebSocket } from 'ws';
import type { Snapshot } from '../../src/run.ts';

export interface WireMessage extends Partial<Snapshot> {
  type: 'update' | 'log' | 'snapshot' | 'gap' | 'position';
  task_id: string;
  seq: number;
  missed?: number;
  text?: string;
  fields?: Record<string, unknown>;
}

export class Watcher {
  readonly messages: WireMessage[] = [];
  readonly socket: WebSocket;
  closed: { code: number; reason: string } | undefined;
  #wake: (() => void)[] = [];

  constructor(url: string, headers: Record<string, string> = {}) {
    this.socket = new WebSocket(url, { headers });
    this.socket.on('message', (data) => {
      this.messages.push(JSON.parse(String(data)) as WireMessage);
      this.#changed();
    });
    this.socket.on('close', (code, reason) => {
      this.closed = { code, reason: String(reason) };
      this.#changed();
    });
    this.socket.on('error', () => {});
    onTestFinished(() => this.socket.terminate());
  }

  #changed(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }

  /** Resolves as soon as `ready` holds; it is asked after each message and the close. */
  async until(ready: () => boolean): Promise<void> {
    while (!ready()) await new Promise<void>((resolve) => this.#wake.push(resolve));
  }

  async open(): Promise<this> {
    if (this.socket.readyState === WebSocket.OPEN) return this;
    await new Promise<void>((resolve, reject) => {
      this.socket.once('open', resolve);
      this.socket.once('error', reject);
    });
    return this;
  }

  async close(): Promise<{ code: number; reason: string }> {
    await this.until(() => this.closed !== undefined);
    return this.closed as { code: number; reason: string };
  }

  of(id: string): WireMessage[] {
    return this.messages.filter(({ task_id }) => task_id === id);
  }
}

/** What a refused upgrade was answered with. */
export async function refusedUpgrade(
  url: string,
  headers: Record<string, string> = {},
): Promise<{ status: number; type: string; body: Record<string, unknown> }> {
  const socket = new WebSocket(url, { headers });
  socket.on('error', () => {});
  return new Promise((resolve, reject) => {
    socket.on('open', () => reject(new Error(`${url} was not refused`)));
    socket.on('unexpected-response', (_request, response) => {
      let text = '';
      response.on('data', (chunk) => {
        text += chunk;
      });
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          type: String(response.headers['content-type']),
          body: JSON.parse(text),
        }),
      );
    });
  });
}

/**
 * What is wrong with the order of one run's messages, or null: each `seq` follows the last one, or the gap that explains it.
 */
export function unexplained(messages: readonly WireMessage[], since = 0): string | null {
  let next = since + 1;
  for (const { type, seq, missed } of messages) {
    // Where a run stands among others is no event.
    if (type === 'position') continue;
    if (type === 'gap') {
      if (seq - (missed ?? 0) !== next) return `a gap of ${missed} before ${seq}, where ${next} was due`;
      next = seq;
    } else {
      if (seq !== next) return `${type} ${seq}, where ${next} was due`;
      next++;
    }
  }
  return null;
}
