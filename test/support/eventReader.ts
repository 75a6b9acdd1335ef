/**
 * Somebody who reads server-sent events: keeps what came, and can be asked to wait for more.
 */
import { type IncomingMessage, request } from 'node:http';
import { onTestFinished } from 'vitest';
import type { WireMessage } from './watcher.ts';

export interface ServerSentEvent {
  /** null: it came without one. */
  id: string | null;
  data: WireMessage;
}

export class EventReader {
  readonly events: ServerSentEvent[] = [];
  /** Lines that readers pass over. */
  readonly comments: string[] = [];
  /** Whether the answer has come to its end; false after a connection that broke. */
  ended = false;
  gone = false;
  response: IncomingMessage | undefined;
  readonly #request: ReturnType<typeof request>;
  #unread = '';
  #wake: (() => void)[] = [];

  constructor(url: string, options: { method?: string; headers?: Record<string, string> } = {}) {
    // A connection of its own, so that it can be broken off alone.
    this.#request = request(url, { agent: false, ...options }, (response) => {
      this.response = response;
      response.setEncoding('utf8').on('data', (text: string) => this.#take(text));
      response.on('end', () => {
        this.ended = response.complete;
      });
      response.on('error', () => {});
      response.on('close', () => this.#leave());
      this.#changed();
    });
    this.#request.on('error', () => this.#leave());
    this.#request.end();
    onTestFinished(() => this.hangUp());
  }

  get messages(): WireMessage[] {
    return this.events.map(({ data }) => data);
  }

  of(id: string): WireMessage[] {
    return this.messages.filter(({ task_id }) => task_id === id);
  }

  hangUp(): void {
    this.#request.destroy();
  }

  /** Stops reading, so that the server's messages pile up, or goes on. */
  pause(): void {
    this.response?.pause();
  }

  resume(): void {
    this.response?.resume();
  }

  /** Resolves as soon as `ready` holds; it is asked after each piece that comes. Rejects when nothing more will. */
  async until(ready: () => boolean): Promise<void> {
    while (!ready()) {
      if (this.gone) throw new Error(`The stream ended after ${this.events.length} events`);
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }

  /** Resolves when the head of the answer is here. */
  async open(): Promise<this> {
    await this.until(() => this.response !== undefined);
    return this;
  }

  /** Resolves at the end of the connection; whether the answer was whole. */
  async end(): Promise<boolean> {
    while (!this.gone) await new Promise<void>((resolve) => this.#wake.push(resolve));
    return this.ended;
  }

  /** As the standard has it, as far as this server uses that (`id`, `data`, comments). */
  #take(text: string): void {
    this.#unread += text;
    const blocks = this.#unread.split('\n\n');
    this.#unread = blocks.pop() ?? '';
    for (const block of blocks) {
      let id: string | null = null;
      let data = '';
      for (const line of block.split('\n')) {
        if (line.startsWith(':')) this.comments.push(line.slice(1).trim());
        else if (line.startsWith('id: ')) id = line.slice(4);
        else if (line.startsWith('data: ')) data += line.slice(6);
        else throw new Error(`This is no line of a stream of events: ${JSON.stringify(line)}`);
      }
      if (data !== '') this.events.push({ id, data: JSON.parse(data) as WireMessage });
    }
    this.#changed();
  }

  #leave(): void {
    this.gone = true;
    this.#changed();
  }

  #changed(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}
