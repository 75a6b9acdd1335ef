/**
 * What a method gets as its first argument: checks what the method says, and passes it on to the engine.
 */
import { longestDelayMs } from './clock.ts';
import type { AttemptContext, LeasedRun, RunPatch } from './engine.ts';
import { TaskStatus } from './run.ts';
import type { TaskContext, TaskUpdate } from './task.ts';

/** A result, and what `update({ result })` is given, may be so large as JSON. */
export const resultLimitBytes = 1024 * 1024;
/** A message, a log line's text, and its fields as JSON; longer text is cut. */
export const textLimitBytes = 64 * 1024;

export class AttemptTaskContext implements TaskContext {
  readonly #run: LeasedRun;
  readonly #attempt: AttemptContext;
  readonly client: string | null;

  constructor(run: LeasedRun, attempt: AttemptContext, client: string | null) {
    this.#run = run;
    this.#attempt = attempt;
    this.client = client;
  }

  get id(): string {
    return this.#run.id;
  }
  get state(): string {
    return this.#run.state;
  }
  get task(): string {
    return this.#run.task;
  }
  get attempt(): number {
    return this.#run.attempt;
  }
  get signal(): AbortSignal {
    return this.#attempt.signal;
  }

  update(update: TaskUpdate): Promise<void> {
    try {
      return this.#attempt.update(checkUpdate(update));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  log(text: string, fields?: Record<string, unknown>): Promise<void> {
    const line = cut(String(text), textLimitBytes);
    try {
      return this.#attempt.log(line, checkFields(fields));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  sleep(ms: number): Promise<void> {
    const { signal } = this;
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      if (typeof ms !== 'number' || Number.isNaN(ms))
        return reject(new TypeError(`sleep(ms) takes a number of milliseconds, not ${describe(ms)}.`));
      let left = ms;
      let timer: NodeJS.Timeout;
      function wait(): void {
        // A timer takes no longer delay than this: one beyond it would fire at once.
        const delayMs = Math.min(left, longestDelayMs);
        left -= delayMs;
        timer = setTimeout(left > 0 ? wait : wake, delayMs);
      }
      function wake(): void {
        signal.removeEventListener('abort', stop);
        resolve();
      }
      function stop(): void {
        clearTimeout(timer);
        reject(signal.reason);
      }
      wait();
      signal.addEventListener('abort', stop, { once: true });
    });
  }
}

function checkUpdate(update: TaskUpdate): RunPatch {
  const patch: RunPatch = {};
  const { progress, status, message, result } = update;
  if (progress !== undefined) {
    if (typeof progress !== 'number' || Number.isNaN(progress)) {
      throw new TypeError(`update({ progress }) takes a number from 0 to 100, not ${describe(progress)}.`);
    }
    patch.progress = Math.min(Math.max(progress, 0), 100);
  }
  if (status !== undefined && status !== TaskStatus.PROCESSING) {
    throw new TypeError(
      `update({ status }) may only be '${TaskStatus.PROCESSING}', not ${describe(status)}: a run ends when its method returns or throws.`,
    );
  }
  if (message !== undefined) patch.message = message === null ? null : cut(String(message), textLimitBytes);
  if (result !== undefined) patch.result = toJsonValue(result, 'update({ result })');
  return patch;
}

function checkFields(
  fields: Record<string, unknown> | null | undefined,
): Record<string, unknown> | undefined {
  if (fields === undefined || fields === null) return undefined;
  if (!isObject(fields)) throw noFields(fields);
  let copy: unknown;
  try {
    const json = JSON.stringify(fields);
    if (json.length > textLimitBytes)
      return { omitted: `fields of ${json.length} characters: the limit is ${textLimitBytes}` };
    copy = JSON.parse(json);
  } catch (error) {
    return { omitted: `fields that cannot be JSON: ${(error as Error).message}` };
  }
  // A Date, for one, is a string as JSON.
  if (!isObject(copy)) throw noFields(fields);
  return copy;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function noFields(fields: unknown): TypeError {
  const found = Array.isArray(fields) ? `the array [${describe(fields)}]` : describe(fields);
  return new TypeError(`log(text, fields) takes an object of fields, such as { line: 2 }, not ${found}.`);
}

/** A copy of the value as JSON sees it, so that what is shown, stored and read again is one and the same. */
export function toJsonValue(value: unknown, what: string): unknown {
  let json: string | undefined;
  try {
    json = JSON.stringify(value);
  } catch (error) {
    throw new TypeError(`${what} cannot be JSON: ${(error as Error).message}`);
  }
  if (json === undefined) throw new TypeError(`${what} cannot be JSON: it is ${describe(value)}.`);
  const bytes = Buffer.byteLength(json);
  if (bytes > resultLimitBytes) {
    throw new TypeError(
      `${what} is ${bytes} bytes as JSON; the limit is ${resultLimitBytes}. Store it elsewhere and return where.`,
    );
  }
  return typeof value === 'string' || typeof value === 'boolean' ? value : JSON.parse(json);
}

/** Cuts text to so many bytes of UTF-8, whole characters, and shows that it did. */
export function cut(text: string, limitBytes: number): string {
  if (text.length * 3 <= limitBytes || Buffer.byteLength(text) <= limitBytes) return text;
  const room = limitBytes - Buffer.byteLength('…');
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(room));
  return `${text.slice(0, read)}…`;
}

/** A value as a sentence can show it. */
export function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(cut(value, 200));
  if (typeof value === 'function') return 'a function';
  try {
    return cut(String(value), 200);
  } catch {
    return `a value of type ${typeof value}`;
  }
}
