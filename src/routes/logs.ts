/**
 * What a task has logged about a run, a page at a time: as JSON, or as text.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { directIsOn } from '../config.ts';
import type { Engine } from '../engine.ts';
import { oneLine } from '../logging.ts';
import { isTerminal } from '../run.ts';
import { prefers } from './accept.ts';
import { asJson } from './answer.ts';
import { authenticateWith } from './caller.ts';
import { checkQuery, requireRun, unknownRun } from './checks.ts';
import { parseLimit } from './limit.ts';
import type { RouteParts } from './parts.ts';
import { parseSince, requireReached } from './since.ts';

/** One line of a run's log, as it is shown. */
export interface LogLine {
  seq: number;
  timestamp: string;
  text: string;
  fields: Record<string, unknown>;
}

/** A page of them. */
export interface LogPage {
  lines: LogLine[];
  /** The `since` of the next page; null when there will never be one. */
  next: number | null;
}

export function logRoutes(app: FastifyInstance, parts: RouteParts): void {
  if (directIsOn(parts.config)) {
    app.get('/api/:state/task/logs/:id', (request, reply) => readLogs(parts, request, reply));
  }
  app.get('/api/:state/tasks/:token/logs/:id', {
    onRequest: authenticateWith(parts),
    handler: (request, reply) => readLogs(parts, request, reply),
  });
}

async function readLogs(parts: RouteParts, request: FastifyRequest, reply: FastifyReply): Promise<string> {
  checkQuery(request, ['since', 'limit']);
  const since = parseSince(request);
  const limit = parseLimit(request);
  const { state, id } = request.params as { state: string; id: string };
  const run = await requireRun(parts, state, id, request.clientToken?.id ?? null);
  requireReached(run, since);
  const page = await pageOf(parts.engine, id, since, limit);
  if (!page) throw unknownRun(state, id);
  if (page.next !== null) reply.header('link', `<?since=${page.next}&limit=${limit}>; rel="next"`);
  if (!prefers(request, 'text/plain')) return asJson(reply, JSON.stringify(page));
  reply.header('content-type', 'text/plain; charset=utf-8');
  return page.lines.map(asText).join('');
}

/** The lines among a run's events. */
async function pageOf(
  engine: Engine,
  id: string,
  since: number,
  limit: number,
): Promise<LogPage | undefined> {
  const lines: LogLine[] = [];
  let last = since;
  for (;;) {
    const history = await engine.history(id, last);
    if (!history) return undefined;
    for (const { kind, snapshot, text = '', fields = {} } of history.events) {
      if (kind === 'log') {
        if (lines.length === limit) return { lines, next: last };
        lines.push({ seq: snapshot.seq, timestamp: snapshot.timestamp, text, fields });
      }
      last = snapshot.seq;
    }
    if (history.more) continue;
    const isOver = isTerminal(history.run.snapshot.status) && last >= history.run.snapshot.seq;
    return { lines, next: isOver ? null : last };
  }
}

/** Nothing that a task says may look like a line of its own, or speak to the terminal that shows it. */
function asText({ timestamp, text, fields }: LogLine): string {
  const more = Object.keys(fields).length > 0 ? ` ${JSON.stringify(fields)}` : '';
  return `${timestamp} ${oneLine(text + more)}\n`;
}
