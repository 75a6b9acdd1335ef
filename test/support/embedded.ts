/**
 * A real server inside the test's own process: a free port, a data folder of its own, tasks given as functions.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { openTokens } from '../../src/engines/open.ts';
import { Registry } from '../../src/registry.ts';
import type { Snapshot } from '../../src/run.ts';
import { createServer, type Server, type ServerOptions } from '../../src/server.ts';
import { type DefinedTask, defineState } from '../../src/task.ts';
import { makeToken } from '../../src/token.ts';

export interface Embedded {
  server: Server;
  /** Such as `http://127.0.0.1:40123`. */
  url: string;
  /** Such as `ws://127.0.0.1:40123`. */
  ws: string;
  data: string;
  /** Starts a run of the state `lab`, directly or with a token. */
  start(task: string, token?: string): Promise<Snapshot>;
  /** Makes a client token the way the command line does: from outside. The secret. */
  token(options?: { label?: string; states?: string[]; expiresAt?: number }): Promise<string>;
}

/** Serves the tasks as the state `lab`, and stops when the test ends. */
export async function embed(
  tasks: Record<string, DefinedTask>,
  options: ServerOptions = {},
): Promise<Embedded> {
  const data = options.data ?? mkdtempSync(join(tmpdir(), 'spyglass-test-'));
  const registry = new Registry();
  registry.add(defineState('lab', tasks));
  const server = createServer({ port: 0, host: '127.0.0.1', logLevel: 'silent', registry, data, ...options });
  const { addresses } = await server.listen();
  onTestFinished(async () => {
    await server.stop(0);
    rmSync(data, { recursive: true, force: true });
  });
  const url = `http://${addresses[0]}`;
  return {
    server,
    url,
    ws: url.replace('http', 'ws'),
    data,
    async start(task, token) {
      const path = token ? `tasks/${token}/start/${task}` : `task/start/${task}`;
      const response = await fetch(`${url}/api/lab/${path}`, { method: 'POST' });
      if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`);
      return (await response.json()) as Snapshot;
    },
    async token(tokenOptions = {}) {
      const { token, secret } = makeToken(tokenOptions, Date.now());
      const tokens = await openTokens({ data });
      await tokens.create(token);
      tokens.close();
      // The server notices within 100 ms; until then the answer is 401.
      for (;;) {
        const { status } = await fetch(`${url}/api/lab/tasks/${secret}`);
        if (status !== 401) return secret;
      }
    },
  };
}
