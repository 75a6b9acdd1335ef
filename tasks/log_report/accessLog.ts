/** What a line of an access log says. */
export interface Request {
  method: string;
  /** Without its query. */
  path: string;
  status: number;
  /** null where the log does not say. */
  seconds: number | null;
}

export interface AccessReport {
  lines: number;
  /** Lines that are no request: cut off, or not of this format. */
  malformed: number;
  requests: number;
  /** How many requests had which status code. */
  status: Record<string, number>;
  /** The paths with the longest mean time, slowest first; only of requests whose time the log says. */
  slowest: { path: string; requests: number; mean_ms: number; max_ms: number }[];
}

/**
 * Common or Combined Log Format (https://httpd.apache.org/docs/current/logs.html#accesslog), with or without the time
 * that the request took, in seconds, at the end (nginx: `$request_time`). No two neighbours in it can match the same
 * character, so that a line made to be slow is not.
 */
const lineFormat =
  /^\S+ \S+ \S+ \[[^\]]+\] "([A-Z]+) ([^ "?]+)(?:\?[^ "]*)?(?: HTTP\/[\d.]+)?" (\d{3}) (?:\d+|-)(?: "(?:[^"\\]|\\.)*" "(?:[^"\\]|\\.)*")?(?: (\d+(?:\.\d+)?))?\r?$/;

export function parseLine(line: string): Request | undefined {
  const [, method, path, status, seconds] = lineFormat.exec(line) ?? [];
  if (method === undefined || path === undefined) return undefined;
  return { method, path, status: Number(status), seconds: seconds === undefined ? null : Number(seconds) };
}

/** Counts what it is given. It keeps one entry for each path, and no line. */
export class AccessLog {
  lines = 0;
  #malformed = 0;
  readonly #statuses = new Map<number, number>();
  readonly #times = new Map<string, { requests: number; total: number; max: number }>();

  /** The request that the line is about; undefined when it is malformed. */
  add(line: string): Request | undefined {
    this.lines++;
    const request = parseLine(line);
    if (!request) {
      this.#malformed++;
      return undefined;
    }
    this.#statuses.set(request.status, (this.#statuses.get(request.status) ?? 0) + 1);
    if (request.seconds !== null) {
      const times = this.#times.get(request.path) ?? { requests: 0, total: 0, max: 0 };
      times.requests++;
      times.total += request.seconds;
      times.max = Math.max(times.max, request.seconds);
      this.#times.set(request.path, times);
    }
    return request;
  }

  report(top: number): AccessReport {
    const slowest = [...this.#times]
      .map(([path, { requests, total, max }]) => ({
        path,
        requests,
        mean_ms: Math.round((total / requests) * 1000),
        max_ms: Math.round(max * 1000),
      }))
      .sort((a, b) => b.mean_ms - a.mean_ms || a.path.localeCompare(b.path))
      .slice(0, top);
    return {
      lines: this.lines,
      malformed: this.#malformed,
      requests: this.lines - this.#malformed,
      status: Object.fromEntries([...this.#statuses].sort(([a], [b]) => a - b)),
      slowest,
    };
  }
}
