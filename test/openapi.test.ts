import { execFile } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import openapiTS, { astToString } from 'openapi-typescript';
import { describe, expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import { z } from 'zod';
import { systemClock } from '../src/clock.ts';
import { completeConfig } from '../src/config.ts';
import { errorTable, type Problem, problemType } from '../src/errors.ts';
import { Guard } from '../src/guard.ts';
import { createApp } from '../src/http.ts';
import type { JsonSchema } from '../src/jsonSchema.ts';
import { createLog } from '../src/logging.ts';
import type { Operation } from '../src/openapi/paths.ts';
import { type OpenApiDocument, openApiDocument } from '../src/openapi.ts';
import { longestSpanMs } from '../src/policy.ts';
import { loadRegistry, Registry } from '../src/registry.ts';
import { defineState, defineTask } from '../src/task.ts';
import { nastyRegistry } from './fixtures/openapi/nasty.ts';
import { embed } from './support/embedded.ts';

const run = promisify(execFile);
/** A linter and a compiler take their time on a busy machine. */
const otherProgramsMs = 120_000;
const root = resolve(import.meta.dirname, '..');
const fixtures = join(import.meta.dirname, 'fixtures/openapi');
const tool = (name: string) => join(root, 'node_modules/.bin', name);

const registry = await loadRegistry(join(root, 'tasks'));
const document = openApiDocument(registry, { direct: true, version: '1.2.3' });
/** Whoever is embedded needs a task of its own. */
const idle = defineTask({}, () => null);
const nasty = openApiDocument(nastyRegistry(), { direct: true, version: '1.2.3' });

function schemaOf(name: string, of: OpenApiDocument = document): JsonSchema {
  const schema = of.components.schemas[name];
  if (!schema)
    throw new Error(`No schema is called ${name}: ${Object.keys(of.components.schemas).join(', ')}`);
  return schema;
}

function operationAt(path: string, of: OpenApiDocument = document): Operation {
  const methods = of.paths[path];
  if (!methods) throw new Error(`Nothing is at ${path}: ${Object.keys(of.paths).join(', ')}`);
  return 'get' in methods ? methods.get : methods.post;
}

function operationsOf(of: OpenApiDocument): Operation[] {
  return Object.keys(of.paths).map((path) => operationAt(path, of));
}

/** A folder that is gone when the test ends, and from which this package's dependencies can be imported. */
function workFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'spyglass-openapi-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  return folder;
}

describe('each task', () => {
  const ways = ['/api/example_task2/task/start', '/api/example_task2/tasks/{client_token}/start'];

  test.each(ways)('has an operation of its own at %s', (start) => {
    const { requestBody, tags, summary, description } = operationAt(`${start}/task2_with_args`);
    expect(tags).toEqual(['example_task2']);
    expect(summary).toMatch(/^Start task2_with_args/);
    expect(description).toMatch(/^Background task that updates progress with input arguments\.\n/);
    expect(requestBody).toMatchObject({
      // There is a default for whoever sends none.
      required: false,
      content: {
        'application/json': {
          schema: { $ref: '#/components/schemas/example_task2.task2_with_args.input' },
          example: { name: 'MATT', age: 25 },
        },
      },
    });
    expect(schemaOf('example_task2.task2_with_args.input')).toEqual({
      type: 'object',
      properties: { name: { type: 'string' }, age: { type: 'integer' } },
      required: ['name', 'age'],
      default: { name: 'MATT', age: 25 },
    });
  });

  test.each(ways)('that takes no input has no body at %s', (start) => {
    expect(operationAt(`${start}/task1`)).not.toHaveProperty('requestBody');
  });

  test('without a default needs its body', () => {
    const states = new Registry();
    states.add(defineState('lab', { add: defineTask({ input: z.object({ a: z.number() }) }, () => null) }));
    const { requestBody } = operationAt(
      '/api/lab/task/start/add',
      openApiDocument(states, { direct: true, version: '1' }),
    );
    expect(requestBody?.required).toBe(true);
  });

  test('lets a caller ask for no longer timeout_ms than its author gives it', () => {
    const states = new Registry();
    states.add(
      defineState('lab', {
        quick: defineTask({ timeoutMs: 500 }, () => null),
        free: defineTask({}, () => null),
      }),
    );
    const of = openApiDocument(states, { direct: true, version: '1' });
    const maximum = (path: string) => {
      const own = operationAt(path, of).parameters.find(
        (parameter) => 'name' in parameter && parameter.name === 'timeout_ms',
      );
      return own && 'schema' in own ? own.schema.maximum : undefined;
    };
    const shared = { $ref: '#/components/parameters/TimeoutMs' };
    for (const api of ['/api/lab/task', '/api/lab/tasks/{client_token}']) {
      for (const end of ['', '/bulk']) {
        expect(maximum(`${api}/start/quick${end}`)).toBe(500);
        expect(operationAt(`${api}/start/quick${end}`, of).parameters).not.toContainEqual(shared);
        expect(operationAt(`${api}/start/free${end}`, of).parameters).toContainEqual(shared);
      }
      expect(operationAt(`${api}/retry/{task_id}`, of).parameters).toContainEqual(shared);
    }
    expect(of.components.parameters.TimeoutMs.schema.maximum).toBe(longestSpanMs);
  });

  test('is found in a document whose direct routes are off, with a token only', () => {
    const closed = openApiDocument(registry, { direct: false, version: '1.2.3' });
    const paths = Object.keys(closed.paths);
    expect(paths).toContain('/api/example_task2/tasks/{client_token}/start/task2_with_args');
    expect(paths.filter((path) => path.includes('/task/'))).toEqual([]);
    expect(closed.info.description).not.toContain('/task/');
  });
});

describe('names', () => {
  test.each([
    ['the example tasks', document],
    ['tasks with awkward names', nasty],
  ])('of the operations are unique identifiers, for %s', (_of, of) => {
    const ids = operationsOf(of).map(({ operationId }) => operationId);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.filter((id) => !/^[a-z]\w*$/.test(id))).toEqual([]);
  });

  test('that read the same once they are joined are told apart', () => {
    expect(operationAt('/api/zod3_shared/task/start/x', nasty).operationId).toBe('start_zod3_shared_x');
    expect(operationAt('/api/zod3.shared/task/start/x', nasty).operationId).toBe('start_zod3_shared_x_2');
    expect(schemaOf('nasty.state-1.recursive.input', nasty)).toHaveProperty('properties.folders');
    expect(schemaOf('nasty.state-1.recursive.input_2', nasty)).toHaveProperty('properties.a');
  });

  test('of definitions inside an input stand beside it, and recursion works', () => {
    expect(schemaOf('nasty.state-1.recursive.input', nasty)).toMatchObject({
      properties: { folders: { items: { $ref: '#/components/schemas/nasty.state-1.recursive.input' } } },
    });
    expect(schemaOf('zod3.recursive.input', nasty)).toMatchObject({
      properties: { folders: { items: { $ref: '#/components/schemas/zod3.recursive.input' } } },
    });
    expect(schemaOf('nasty.state-1.with.dots-and-dashes.input', nasty)).toMatchObject({
      properties: {
        a: { $ref: '#/components/schemas/nasty.state-1.with.dots-and-dashes.input.Odd_name_with_and_' },
      },
    });
    expect(JSON.stringify(nasty)).not.toContain('#/$defs/');
  });

  test('in every reference are those of something in the document', () => {
    for (const of of [document, nasty]) {
      for (const [, ref] of JSON.stringify(of).matchAll(/"\$ref":"([^"]*)"/g)) {
        const [hash, ...steps] = (ref as string).split('/');
        const target = steps.reduce<unknown>((found, step) => (found as Record<string, unknown>)?.[step], of);
        expect([ref, hash, typeof target]).toEqual([ref, '#', 'object']);
      }
    }
  });
});

describe('the document', () => {
  test('shows no client token, nor anything that looks like one', () => {
    expect(JSON.stringify(document)).not.toMatch(/\bst_/);
    expect(document.components.parameters.ClientToken).not.toHaveProperty('example');
  });

  test('names every error code there is', () => {
    const text = JSON.stringify(document.components.responses);
    expect(Object.keys(errorTable).filter((code) => !text.includes(`\`${code}\``))).toEqual([]);
  });

  test.each([
    ['the example tasks', document],
    ['tasks with awkward schemas and names', nasty],
  ])(
    'passes a public linter without an error or a warning, for %s',
    { timeout: otherProgramsMs },
    async (_of, of) => {
      const folder = workFolder();
      const file = join(folder, 'openapi.json');
      writeFileSync(file, JSON.stringify(of, null, 2));
      const config = join(fixtures, 'redocly.yaml');
      const answer = run(tool('redocly'), ['lint', file, '--config', config, '--format', 'json'], {
        cwd: folder,
        env: { ...process.env, REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true' },
      });
      // It exits with 1 when there are errors; what it printed says which.
      const { stdout } = await answer.catch((error: { stdout: string }) => error);
      const { totals, problems } = JSON.parse(stdout) as { totals: object; problems: object[] };
      expect(problems).toEqual([]);
      expect(totals).toMatchObject({ errors: 0, warnings: 0 });
    },
  );

  test('is what is served, and each address in it answers as it says', async () => {
    const { url } = await embed({ idle }, { registry });
    const served = (await (await fetch(`${url}/docs/json`)).json()) as OpenApiDocument;
    expect(served).toEqual({
      ...document,
      info: { ...document.info, version: expect.stringMatching(/^\d+\.\d+\.\d+/) },
    });
    for (const [path, methods] of Object.entries(document.paths)) {
      const method = 'get' in methods ? 'GET' : 'POST';
      const response = await fetch(url + path.replaceAll(/\{\w+\}/g, 'nobody'), {
        method,
        // No start succeeds, so that nothing runs.
        ...(method === 'POST' && { body: '{"', headers: { 'content-type': 'application/json' } }),
      });
      const { type } = (await response.json()) as Partial<Problem>;
      expect({ path, type }).not.toEqual({ path, type: problemType('not-found') });
      expect(Object.keys(operationAt(path).responses)).toContain(String(response.status));
      expect(response.status).toBe(expectedStatus(path));
    }
  });

  test('has every address below /api and /ws that is served, and no other', async () => {
    for (const direct of [true, false]) {
      const config = completeConfig({ direct });
      const app = await createApp({
        registry,
        config,
        guard: new Guard(config),
        clock: systemClock,
        log: createLog({ level: 'silent', format: 'json', write: () => {} }),
        isStopping: () => false,
        // No request is made, so nothing else is needed.
      } as never);
      onTestFinished(() => app.close());
      const servedRoutes = routesOf(app.printRoutes({ commonPrefix: false })).filter(
        (route) => !route.includes(' /docs'),
      );
      const documented = Object.entries(openApiDocument(registry, { direct, version: '1' }).paths).map(
        ([path, methods]) => `${'get' in methods ? 'GET' : 'POST'} ${pattern(path)}`,
      );
      expect(new Set(servedRoutes)).toEqual(new Set(documented));
    }
  });
});

/** What each address answers when asked for nobody, with nobody's token, and with a body that is not JSON. */
function expectedStatus(path: string): number {
  if (path.startsWith('/ws/')) return 426;
  if (path.includes('{client_token}')) return 401;
  if (/\/(start|cancel|retry)\//.test(path)) return 400;
  return path.includes('{task_id}') ? 404 : 200;
}

/** `/api/*\/task/start/*` of `/api/example_task2/task/start/task1`: as its route has it, whatever the parameters are called. */
function pattern(path: string): string {
  return path
    .replace(/^\/(api|ws)\/[^/]+\//, '/$1/*/')
    .replace(/\/start\/[^/]+/, '/start/*')
    .replaceAll(/\{\w+\}/g, '*');
}

/** `GET /api/*` and so on, of the tree that Fastify prints. */
function routesOf(tree: string): string[] {
  const routes: string[] = [];
  const above: string[] = [];
  for (const line of tree.split('\n')) {
    const [, indent = '', segment, methods] =
      /^((?:│ {3}| {4})*)[├└]── (\S+)(?: \((.*)\))?$/.exec(line) ?? [];
    if (segment === undefined) continue;
    const depth = indent.length / 4;
    above.splice(depth, Infinity, segment.replaceAll(/:\w+/g, '*'));
    for (const method of methods?.split(', ') ?? []) {
      if (method !== 'HEAD') routes.push(`${method} ${above.join('')}`);
    }
  }
  return routes;
}

describe('a snapshot', () => {
  const shown = schemaOf('Snapshot').properties as Record<string, { description: string }>;

  test('is said to have an error while it waits for its next attempt, too, as it has', async () => {
    const flaky = defineTask({ retries: { attempts: 2, delayMs: 600_000, jitter: 'none' } }, () => {
      throw new Error('not yet');
    });
    const { url, start } = await embed({ flaky });
    const { task_id } = await start('flaky');
    await expect
      .poll(async () => (await fetch(`${url}/api/lab/task/result/${task_id}`)).json())
      .toMatchObject({ status: 'Pending', error: { message: 'not yet' } });
    expect(shown.error?.description).toContain('`Error`');
    expect(shown.error?.description).toContain('`Pending`');
  });

  test('is not promised a seq without gaps: a crash may make some', () => {
    expect(shown.seq?.description).toContain('skipped after a crash');
  });
});

describe('what the server answers', () => {
  /** The documented schema, as the one validator that is at hand reads it. */
  function documented(name: string): z.ZodType {
    const text = JSON.stringify(document.components.schemas).replaceAll('#/components/schemas/', '#/$defs/');
    return z.fromJSONSchema({ $ref: `#/$defs/${name}`, $defs: JSON.parse(text) });
  }

  test('has the documented shape', async () => {
    const chatty = defineTask({}, async (task) => {
      await task.update({ progress: 50, message: 'half', result: { so: 'far' } });
      await task.log('a line', { n: 1 });
      throw new RangeError('out of reach');
    });
    const { url, ws, start, token } = await embed({ chatty });
    const secret = await token();
    const { task_id } = await start('chatty', secret);
    const messages = await new Promise<unknown[]>((done, fail) => {
      const received: unknown[] = [];
      const socket = new WebSocket(`${ws}/ws/lab/tasks/${secret}/${task_id}`);
      socket.onmessage = ({ data }) => received.push(JSON.parse(data as string));
      socket.onerror = fail;
      socket.onclose = () => done(received);
    });
    const types = messages.map((message) => (message as { type: string }).type);
    expect(new Set(types)).toEqual(new Set(['update', 'log']));
    for (const message of messages) expect(documented('RunMessage').parse(message)).toEqual(message);

    const get = async (path: string) => (await fetch(url + path)).json();
    const snapshot = await get(`/api/lab/tasks/${secret}/${task_id}`);
    expect(snapshot).toMatchObject({ status: 'Error', error: { name: 'RangeError' } });
    expect(documented('Snapshot').parse(snapshot)).toEqual(snapshot);
    const all = await get(`/api/lab/tasks/${secret}`);
    expect(documented('RunList').parse(all)).toEqual(all);
    const catalogue = await get('/api/tasks');
    expect(documented('Catalogue').parse(catalogue)).toEqual(catalogue);
    const problem = await get('/api/lab/tasks/nobody');
    expect(documented('Problem').parse(problem)).toEqual(problem);
  });

  test('reaches a program through types that were generated from the document', {
    timeout: otherProgramsMs,
  }, async () => {
    const folder = workFolder();
    writeFileSync(join(folder, 'api.ts'), astToString(await openapiTS(JSON.stringify(document))));
    copyFileSync(join(fixtures, 'client.ts.txt'), join(folder, 'client.ts'));
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
    const strict = '--strict --noUncheckedIndexedAccess --exactOptionalPropertyTypes --verbatimModuleSyntax';
    const flags = `${strict} --skipLibCheck --target es2022 --module nodenext --rewriteRelativeImportExtensions --types node`;
    await run(tool('tsc'), [...flags.split(' '), 'client.ts'], { cwd: folder }).catch(
      (error: { stdout: string }) => expect.fail(error.stdout),
    );
    const { url } = await embed({ idle }, { registry });
    const { stdout } = await run(process.execPath, ['client.js', url], { cwd: folder });
    expect(JSON.parse(stdout)).toEqual({
      snapshot: expect.objectContaining({ status: 'Completed', result: 'Completed task for Matt, age 25' }),
      unknown: 'There is no such run',
      withoutBody: 'task2_with_args',
    });
  });
});
