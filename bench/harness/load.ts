/**
 * Many connections at once, from a process of their own: wrk where it is installed, since it leaves more of the machine to
 * the server, else autocannon.
 */
import { execFile, execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const script = fileURLToPath(new URL('post.lua', import.meta.url));

export interface Load {
  requests: number;
  seconds: number;
}

export const loadTool = findLoadTool();

function findLoadTool(): 'wrk' | 'autocannon' {
  try {
    execFileSync('wrk', ['--version'], { stdio: 'ignore' });
    return 'wrk';
  } catch (error) {
    // wrk prints its version and exits with 1; only a missing one has no status.
    return (error as { status?: number }).status == null ? 'autocannon' : 'wrk';
  }
}

/**
 * Posts `body` for so long, each of the connections as soon as it has its answer, or so many a second in all (which wrk cannot do). Any
 * answer but a 2xx is an error.
 */
export async function load(
  url: string,
  body: unknown,
  connections: number,
  seconds: number,
  perSecond?: number,
): Promise<Load> {
  const json = JSON.stringify(body);
  const { failed, ...result } =
    loadTool === 'wrk' && perSecond === undefined
      ? await wrk(url, json, connections, seconds)
      : await autocannon(url, json, connections, seconds, perSecond);
  if (failed > 0)
    throw new Error(`${failed} of ${result.requests} requests to ${url} were not answered with a 2xx`);
  return result;
}

type Outcome = Load & { failed: number };

async function wrk(url: string, json: string, connections: number, seconds: number): Promise<Outcome> {
  const flags = ['-t', '1', '-c', String(connections), '-d', `${seconds}s`, '-s', script, url];
  const { stdout } = await run('wrk', flags, { env: { ...process.env, BODY: json } });
  return JSON.parse(stdout.trim().split('\n').at(-1) as string);
}

async function autocannon(
  url: string,
  json: string,
  connections: number,
  seconds: number,
  perSecond?: number,
): Promise<Outcome> {
  const entry = createRequire(import.meta.url).resolve('autocannon');
  const flags = ['-j', '-c', String(connections), '-d', String(seconds), '-m', 'POST', '-b', json];
  if (perSecond !== undefined) flags.push('-R', String(perSecond));
  const header = ['-H', 'Content-Type=application/json'];
  const { stdout } = await run(process.execPath, [entry, ...flags, ...header, url]);
  const { requests, duration, errors, non2xx } = JSON.parse(stdout);
  return { requests: requests.total, seconds: duration, failed: errors + non2xx };
}
