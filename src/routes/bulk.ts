/**
 * Many starts of one task in one request: all of them or none.
 */
import { subtle } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { StartRequest } from '../engine.ts';
import { type FieldError, RequestError } from '../errors.ts';
import { decodeBody } from '../json.ts';
import { itemsOf, type JsonItem } from '../jsonItems.ts';
import type { TaskDefinition } from '../task.ts';
import { asJson } from './answer.ts';
import { bodyLimitBytes } from './body.ts';
import { requireStillGood } from './caller.ts';
import { requireTask } from './checks.ts';
import { fingerprint, idempotencyKey } from './idempotency.ts';
import { type CheckedInput, checkInput, refusedInput } from './input.ts';
import type { RouteParts } from './parts.ts';
import { deduplicatedHeader, type StartParams, startRequest } from './start.ts';
import { startOptions } from './startOptions.ts';

const bulkLimitBytes = 32 * 1024 * 1024;
const mostInputs = 10_000;
const maxErrors = 100;

/** The body of these routes, as options of a route: larger than others, and read here, a little at a time. */
export const bulkBody = { bodyLimit: bulkLimitBytes, config: { readsBytes: true } };

/** So long it is worked without a break: everybody else waits meanwhile. */
const sliceMs = 8;

/** Answers with the ids of the runs, in the order of the inputs, once all are on disk. */
export async function startMany(
  parts: RouteParts,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<string> {
  const { state, task: name } = request.params as StartParams;
  const task = requireTask(parts.registry, state, name);
  const bytes = (request.body as Buffer | undefined) ?? Buffer.alloc(0);
  const starts = await readStarts(parts, request, state, task, bytes);
  const key = idempotencyKey(request);
  if (key !== undefined) await addIdempotencyKeys(request, starts, key, ['bulk', state, name], bytes);
  requireStillGood(parts, request);
  const accepted = await parts.engine.accept(starts);
  if (accepted.every(({ deduplicated }) => deduplicated)) reply.header(deduplicatedHeader, 'true');
  return asJson(reply, JSON.stringify({ task_ids: accepted.map(({ run }) => run.snapshot.task_id) }));
}

/** One for each input, in slices. Throws a 400 that names those that do not fit. */
async function readStarts(
  parts: RouteParts,
  request: FastifyRequest,
  state: string,
  task: TaskDefinition,
  bytes: Buffer,
): Promise<StartRequest[]> {
  const starts: StartRequest[] = [];
  const errors: FieldError[] = [];
  const options = startOptions(request, task.policy.timeoutMs, parts.clock.now());
  const text = decodeBody(bytes);
  const breath = new Breath();
  let index = 0;
  for (const item of itemsOf(text, 'inputs', bodyLimitBytes)) {
    if (index === mostInputs) throw wrongCount(`more than ${mostInputs} inputs`);
    try {
      starts.push(startRequest(request, state, task, checkItem(task, item), options));
    } catch (error) {
      errors.push(...errorsAt(index, error));
      if (errors.length >= maxErrors) break;
    }
    index++;
    await breath.take();
  }
  if (errors.length > 0) throw refusedInput(errors.slice(0, maxErrors));
  if (index === 0) throw wrongCount('no inputs');
  return starts;
}

/** A null is the input null where the schema takes that, and otherwise stands for no body. */
function checkItem(task: TaskDefinition, item: JsonItem): CheckedInput {
  const isNoBody = item.value === null && (task.input === null || !task.input.parse(null).ok);
  if (!isNoBody && task.input === null) {
    const message = `The task ${task.name} takes no input: each of the inputs must be null.`;
    throw refusedInput([{ path: '', message }]);
  }
  // What is missing is better said by what the schema says of null.
  return checkInput(task, isNoBody && (task.input?.optional ?? true) ? undefined : item);
}

/** What is wrong with one input, as wrong with the body. */
function errorsAt(index: number, error: unknown): FieldError[] {
  if (!(error instanceof RequestError) || error.code !== 'invalid-input') throw error;
  return (error.errors ?? []).map(({ path, message }) => {
    const step = path === '' || path.startsWith('[') ? path : `.${path}`;
    return { path: `inputs[${index}]${step}`, message };
  });
}

function wrongCount(what: string): RequestError {
  return refusedInput([{ path: 'inputs', message: `There are ${what}: send from 1 to ${mostInputs}.` }]);
}

/**
 * Each start has a key of its own: the first the caller's own, so that a single start with that key is refused as another request,
 * and the rest such as no header can have. The digest of a large body is made beside the event loop.
 */
async function addIdempotencyKeys(
  request: FastifyRequest,
  starts: readonly StartRequest[],
  key: string,
  what: readonly string[],
  bytes: Buffer,
): Promise<void> {
  const digest = Buffer.from(await subtle.digest('SHA-256', bytes)).toString('hex');
  const whole = fingerprint(request, what, digest);
  for (const [index, start] of starts.entries()) {
    start.idempotency = { key: index === 0 ? key : `${key}\n${index}`, fingerprint: whole };
  }
}

/** Lets everybody else have a turn once enough time was taken: time of work, which no clock of a test drives. */
class Breath {
  #since = performance.now();

  async take(): Promise<void> {
    if (performance.now() - this.#since < sliceMs) return;
    await new Promise((resolve) => setImmediate(resolve));
    this.#since = performance.now();
  }
}
