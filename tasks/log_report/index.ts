import { createReadStream } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MonitorState, monitoredBackgroundTask, type TaskContext } from 'spyglass-tasks';
import { z } from 'zod';
import { AccessLog, type AccessReport } from './accessLog.ts';

const InputArgs = z.object({
  file: z
    .string()
    .min(1)
    .max(255)
    .refine((file) => !file.includes('\0'), 'The name of a file has no NUL in it')
    .default('access.log')
    .describe('A file in the log folder'),
  top: z.int().min(1).max(100).default(10).describe('How many of the slowest paths to report'),
  bytes_per_second: z
    .int()
    .min(1_000)
    .optional()
    .describe('Reads no faster than this. For demonstrations: the sample alone is read in a blink'),
});
type InputArgs = z.output<typeof InputArgs>;

/** Small enough for frequent progress, and for other tasks to have their turn between two. */
const chunkBytes = 16 * 1024;
/** A log has lines. What has none in so many characters is something else, and would be kept in memory whole. */
const maxLineLength = 1024 * 1024;
/** Of each kind of noteworthy thing, so many are logged and the rest only counted. */
const maxNotes = 5;

export class LogReportState extends MonitorState {
  static override description = 'Reports on the access logs of web servers.';

  @monitoredBackgroundTask({
    description: 'Reads an access log line by line; counts status codes and finds the slowest paths.',
    input: InputArgs.default({ file: 'access.log', top: 10 }),
  })
  static async report(
    task: TaskContext,
    args: InputArgs,
  ): Promise<AccessReport & { file: string; bytes: number }> {
    const path = await findLog(args.file);
    const { size } = await stat(path);
    const log = new AccessLog();
    const note = limitedNotes(task);
    let read = 0;

    for await (const { lines, bytes } of linesOf(path, size)) {
      // Once per chunk, not once per line: a cancel is heeded within a moment all the same.
      task.signal.throwIfAborted();
      read += bytes;
      for (const line of lines) {
        const request = log.add(line);
        if (!request) await note('malformed line', { line: log.lines, text: line.slice(0, 200) });
        else if (request.status >= 500) await note('server error', { line: log.lines, ...request });
      }
      await task.update({
        progress: Math.floor((read / size) * 100),
        message: `${formatBytes(read)} of ${formatBytes(size)}, ${log.lines.toLocaleString('en')} lines`,
      });
      if (args.bytes_per_second) await task.sleep((bytes / args.bytes_per_second) * 1000);
    }
    return { file: args.file, bytes: read, ...log.report(args.top) };
  }
}

/** The folder that logs are read from: `LOG_REPORT_FOLDER`, or the samples that come with this task. */
function logFolder(): string {
  return process.env.LOG_REPORT_FOLDER ?? fileURLToPath(new URL('./samples', import.meta.url));
}

/** The real path of a log, once it is sure to lie in the log folder: neither `..` nor a link leads out of it. */
async function findLog(file: string): Promise<string> {
  const folder = await realpath(logFolder()).catch(() => {
    throw new Error('The log folder does not exist: set LOG_REPORT_FOLDER to a folder of access logs');
  });
  const isInside = (path: string) =>
    path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
  const refuse = async (why: string) =>
    new Error(`${JSON.stringify(file)} ${why}. The log folder has: ${await listing(folder)}`);

  const asked = resolve(folder, file);
  if (!isInside(asked)) throw await refuse('leads out of the log folder');
  const path = await realpath(asked).catch(() => undefined);
  if (path === undefined) throw await refuse('is not there');
  if (!isInside(path)) throw await refuse('leads out of the log folder');
  if (!(await stat(path)).isFile()) throw await refuse('is not a file');
  return path;
}

async function listing(folder: string): Promise<string> {
  const names = (await readdir(folder)).filter((name) => !name.startsWith('.')).sort();
  const rest = names.length > 20 ? ` and ${names.length - 20} more` : '';
  return (names.slice(0, 20).join(', ') || 'nothing') + rest;
}

/** The lines of the first `size` bytes of a file, chunk by chunk, with the bytes that each chunk had. */
async function* linesOf(path: string, size: number): AsyncGenerator<{ lines: string[]; bytes: number }> {
  // A log that is being written to grows: what came after `size` was taken is for the next report.
  if (size === 0) return;
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of createReadStream(path, { end: size - 1, highWaterMark: chunkBytes })) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > maxLineLength)
      throw new Error(`This is not a log: it has a line of more than ${maxLineLength} characters`);
    yield { lines, bytes: chunk.length };
  }
  if (rest !== '') yield { lines: [rest], bytes: 0 };
}

function limitedNotes(task: TaskContext) {
  const counts = new Map<string, number>();
  return async (kind: string, fields: Record<string, unknown>) => {
    const count = (counts.get(kind) ?? 0) + 1;
    counts.set(kind, count);
    if (count <= maxNotes) await task.log(kind, fields);
    if (count === maxNotes) await task.log(`further lines of this kind are only counted: ${kind}`);
  };
}

function formatBytes(bytes: number): string {
  return bytes < 1e6 ? `${Math.round(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
