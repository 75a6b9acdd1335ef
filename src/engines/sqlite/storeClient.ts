/**
 * The main loop's end of the store thread. Group commit: while one batch is on its way to the disk, whatever arrives
 * becomes the next one.
 */
import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';
import { EngineUnavailableError, type ScopeMode } from '../../engine.ts';
import { exitCode, StartError } from '../../errors.ts';
import type { ClientToken } from '../../token.ts';
import type { CancelOrder } from './cancelOrder.ts';
import type {
  Answer,
  FromThread,
  ReadAnswers,
  ReadOperation,
  StoreSettings,
  ToThread,
  WriteAnswers,
  WriteOperation,
} from './protocol.ts';

/** How long the end of a run waits before it is offered again to a store that could not take it. */
const retryMs = 500;
const closeTimeoutMs = 5000;

/** How long the ends of runs wait for a start to share their commit with, when experience says that one is about to come. */
const companyMs = 0.25;
const mostPatience = 8;

/** For callers: nothing was kept, and trying again later is right. */
export function unavailable(reason: string): EngineUnavailableError {
  return new EngineUnavailableError(`Nothing can be stored or read right now: ${reason}. Try again later.`);
}

interface Waiting {
  operation: WriteOperation;
  resolve(value: unknown): void;
  reject(error: Error): void;
}

export interface StoreListener {
  tokens(tokens: ClientToken[]): void;
  /** Another process may have set them. */
  modes(modes: ScopeMode[]): void;
  /** Those that are to be carried out, known before or not. */
  orders(orders: CancelOrder[]): void;
  trouble(reason: string | null): void;
  /** The thread ended by itself: nothing can be stored any more. */
  died(error: Error): void;
}

/** The store's thread, or what stands in for it in a test. */
export interface StoreThread {
  postMessage(message: ToThread): void;
  on(event: 'message', listener: (message: FromThread) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'exit', listener: () => void): unknown;
  terminate(): Promise<unknown>;
}

/** Starts a thread that serves the store of these settings. */
export function startStoreThread(settings: StoreSettings): StoreThread {
  // By its name in package.json, so that it is found from the sources (tests) as well as from dist.
  const entry = createRequire(import.meta.url).resolve('#store-thread');
  return new Worker(entry, { workerData: settings, execArgv: [], name: 'spyglass-store' });
}

type Ready = Extract<FromThread, { kind: 'ready' }>;

export class StoreClient {
  readonly #settings: Omit<StoreSettings, 'openedAt'>;
  readonly #listener: StoreListener;
  readonly #startThread: (settings: StoreSettings) => StoreThread;
  #worker: StoreThread | undefined;
  #waiting: Waiting[] = [];
  #inFlight: Waiting[] = [];
  #scheduled = false;
  /** Operations not sent yet that somebody waits for; the rest are ends of runs. */
  #urgent = 0;
  #sentUrgent = 0;
  #waitingSince = 0;
  /** Rises when a start had to wait behind a commit of ends alone, falls when ends waited in vain. */
  #patience = 0;
  #retryTimer: NodeJS.Timeout | undefined;
  readonly #reads = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  #nextTicket = 1;
  #closing: (() => void) | undefined;

  constructor(
    settings: Omit<StoreSettings, 'openedAt'>,
    listener: StoreListener,
    startThread = startStoreThread,
  ) {
    this.#settings = settings;
    this.#listener = listener;
    this.#startThread = startThread;
  }

  /** Starts the thread; resolves when the database is open, rejects with a `StartError` when it cannot be. */
  open(openedAt: number): Promise<Ready> {
    const worker = this.#startThread({ ...this.#settings, openedAt });
    this.#worker = worker;
    return new Promise((resolve, reject) => {
      worker.on('message', (message: FromThread) => {
        if (message.kind === 'ready') resolve(message);
        else if (message.kind === 'failed') {
          // It ends by itself, and has said why.
          this.#worker = undefined;
          reject(new StartError(message.message, message.exitCode ?? exitCode.failed));
        } else this.#receive(message);
      });
      worker.on('error', (error) => {
        reject(error);
        this.#die(error);
      });
      worker.on('exit', () => this.#die(new Error('The store thread ended')));
    });
  }

  write<O extends WriteOperation>(operation: O): Promise<WriteAnswers[O['op']]> {
    return new Promise((resolve, reject) => {
      if (!this.#worker) return reject(unavailable('the store is closed'));
      this.#waiting.push({ operation, resolve: resolve as (value: unknown) => void, reject });
      if (operation.op !== 'finish') {
        this.#urgent++;
        const behindEnds = this.#inFlight.length > 0 && this.#sentUrgent === 0;
        if (behindEnds) this.#patience = Math.min(this.#patience + 2, mostPatience);
      }
      this.#schedule();
    });
  }

  read<O extends ReadOperation>(operation: O): Promise<ReadAnswers[O['op']]> {
    return new Promise((resolve, reject) => {
      if (!this.#worker) return reject(unavailable('the store is closed'));
      const ticket = this.#nextTicket++;
      this.#reads.set(ticket, { resolve: resolve as (value: unknown) => void, reject });
      this.#post({ kind: 'read', ticket, operation });
    });
  }

  /** Lets everything that was asked for be committed, then closes the database. */
  async close(): Promise<void> {
    const worker = this.#worker;
    if (!worker) return;
    // A disk that is full may stay so: what is still owed then is found again at the next start, as after a crash.
    let giveUp: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#closing = resolve;
      giveUp = setTimeout(resolve, closeTimeoutMs);
      this.#schedule();
    });
    clearTimeout(giveUp);
    clearTimeout(this.#retryTimer);
    this.#worker = undefined;
    await worker.terminate();
  }

  /** Sends what was asked for at the end of this turn of the loop: what the turn brought then shares one commit. */
  #schedule(): void {
    if (this.#scheduled || this.#inFlight.length > 0 || this.#retryTimer) return;
    this.#scheduled = true;
    this.#waitingSince = performance.now();
    setImmediate(() => this.#sendInTime());
  }

  /**
   * A client that starts one run after the other would find the commit of the last one's end in its way each time, and wait
   * for two. So such an end waits a moment for the start.
   */
  #sendInTime(): void {
    if (this.#urgent === 0 && this.#patience > 0 && this.#waiting.length > 0 && !this.#closing) {
      if (performance.now() - this.#waitingSince < companyMs) {
        setImmediate(() => this.#sendInTime());
        return;
      }
      this.#patience--;
    }
    this.#scheduled = false;
    this.#send();
  }

  #send(): void {
    if (this.#inFlight.length > 0 || !this.#worker) return;
    if (this.#waiting.length === 0) {
      if (this.#closing) this.#post({ kind: 'close' });
      return;
    }
    this.#inFlight = this.#waiting;
    this.#sentUrgent = this.#urgent;
    this.#waiting = [];
    this.#urgent = 0;
    this.#post({ kind: 'write', operations: this.#inFlight.map(({ operation }) => operation) });
  }

  #post(message: ToThread): void {
    this.#worker?.postMessage(message);
  }

  #receive(message: FromThread): void {
    switch (message.kind) {
      case 'written':
        this.#settle(message.answers);
        return;
      case 'read': {
        const reader = this.#reads.get(message.ticket);
        this.#reads.delete(message.ticket);
        if ('ok' in message.answer) reader?.resolve(message.answer.ok);
        else reader?.reject(unavailable(message.answer.refused));
        return;
      }
      case 'tokens':
        this.#listener.tokens(message.tokens);
        return;
      case 'modes':
        this.#listener.modes(message.modes);
        return;
      case 'orders':
        this.#listener.orders(message.orders);
        return;
      case 'trouble':
        this.#listener.trouble(message.reason);
        return;
      case 'closed': {
        this.#worker = undefined;
        this.#closing?.();
      }
    }
  }

  #settle(answers: readonly Answer[]): void {
    const settled = this.#inFlight;
    this.#inFlight = [];
    const again: Waiting[] = [];
    // First the next batch, then the answers: the disk works on while the loop hands these out.
    const retrying = answers.some((answer) => 'retry' in answer && answer.retry);
    if (!retrying && this.#waiting.length > 0) this.#send();
    for (const [place, waiting] of settled.entries()) {
      const answer = answers[place] as Answer;
      if ('ok' in answer) waiting.resolve(answer.ok);
      else if (answer.retry) again.push(waiting);
      else waiting.reject(unavailable(answer.refused));
    }
    if (again.length > 0) this.#retryLater(again);
    else this.#schedule();
  }

  #retryLater(again: Waiting[]): void {
    this.#waiting.unshift(...again);
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = undefined;
      this.#schedule();
    }, retryMs);
  }

  #die(error: Error): void {
    if (!this.#worker) return;
    this.#worker = undefined;
    const lost = unavailable(`the store stopped: ${error.message}`);
    for (const waiting of [...this.#inFlight, ...this.#waiting]) waiting.reject(lost);
    for (const reader of this.#reads.values()) reader.reject(lost);
    this.#inFlight = [];
    this.#waiting = [];
    this.#reads.clear();
    this.#closing?.();
    this.#listener.died(error);
  }
}
