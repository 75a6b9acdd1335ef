/**
 * The input of a start: whether it fits its task, and what it means for it.
 */
import type { StartRequest } from '../engine.ts';
import { type FieldError, RequestError } from '../errors.ts';
import type { JsonBody } from '../json.ts';
import { asError } from '../logging.ts';
import type { InputSchema } from '../schema.ts';
import type { TaskDefinition } from '../task.ts';

/** The input as JSON text, null when there was no body; and as the task's schema gives it. */
export interface CheckedInput {
  text: string | null;
  value: unknown;
}

/** Throws a 400 when the body does not fit the task. */
export function checkInput(task: TaskDefinition, body: JsonBody | undefined): CheckedInput {
  if (task.input === null) {
    if (body === undefined) return { text: null, value: undefined };
    throw inputOfNone(task.name);
  }
  if (body === undefined && !task.input.optional) throw missingInput(task.name, task.input);
  const parsed = task.input.parse(body?.value);
  if (!parsed.ok) throw refusedInput(parsed.errors);
  return { text: body?.text ?? null, value: parsed.value };
}

/**
 * Adds to a start what the author's functions make of its input. One that throws has not foreseen it: a 400, as if the schema had
 * refused it.
 */
export function addKeys(start: StartRequest, task: TaskDefinition, value: unknown): void {
  try {
    const key = task.keyOf(value);
    const unique = task.uniqueOf(value);
    if (key !== null) start.key = key;
    if (unique !== null) start.unique = unique;
  } catch (error) {
    const reason = asError(error).message.slice(0, 500);
    throw invalidInput('', `The task ${task.name} cannot make its key of this input: ${reason}`);
  }
}

/** A 400 that says all, the first thing in its sentence. */
export function refusedInput(errors: FieldError[]): RequestError {
  const [first] = errors;
  const where = first?.path ? `${first.path}: ` : '';
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more, see "errors")` : '';
  return new RequestError('invalid-input', `${where}${first?.message ?? 'The input is refused'}${more}`, {
    errors,
  });
}

/** What any body is answered with when the task takes no input. */
export function inputOfNone(taskName: string): RequestError {
  return invalidInput('', `The task ${taskName} takes no input. Send no body, not even {}.`);
}

function missingInput(taskName: string, input: InputSchema): RequestError {
  const example =
    input.example === undefined ? '' : ` Send JSON such as ${JSON.stringify(input.example).slice(0, 500)}.`;
  return invalidInput('', `The task ${taskName} needs input, and there was no body.${example}`);
}

function invalidInput(path: string, message: string): RequestError {
  return new RequestError('invalid-input', message, { errors: [{ path, message }] });
}
