import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openApiDocument } from '../src/openapi.ts';
import { loadRegistry } from '../src/registry.ts';
import { defineTask } from '../src/task.ts';
import { nastyRegistry } from './fixtures/openapi/nasty.ts';
import { exchange, problem, request } from './routes/asking.ts';
import { noChromium, openPage } from './support/chromium.ts';
import { embed } from './support/embedded.ts';

const registry = await loadRegistry(join(resolve(import.meta.dirname, '..'), 'tasks'));
/** For a browser on a busy machine. */
const soon = { timeout: 30_000 };
/** Whoever is embedded needs a task of its own. */
const idle = defineTask({}, () => null);

describe('/docs', () => {
  test.each(['/docs', '/docs/'])(
    'is a page at %s, whose policy lets nothing in from elsewhere',
    async (path) => {
      const { url } = await embed({ idle });
      const response = await fetch(url + path);
      expect(response.status).toBe(200);
      expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8');
      expect(await response.text()).toContain('<title>Spyglass Tasks</title>');
      expect(response.headers.get('content-security-policy')?.split(';')).toEqual([
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
      ]);
      expect(response.headers.get('referrer-policy')).toBe('no-referrer');
      expect(response.headers.get('x-content-type-options')).toBe('nosniff');
    },
  );

  test('has the document as JSON and as YAML', async () => {
    const { url } = await embed({ idle });
    const json = await fetch(`${url}/docs/json`);
    expect(json.headers.get('content-type')).toBe('application/json; charset=utf-8');
    expect(await json.json()).toMatchObject({ openapi: '3.1.1', paths: { '/api/lab/task/start/idle': {} } });
    const yaml = await (await fetch(`${url}/docs/yaml`)).text();
    expect(yaml).toMatch(/^openapi: 3\.1\.1\n/);
    expect(yaml).toContain('\n  /api/lab/task/start/idle:\n');
  });

  test.each(['/docs', '/docs/', '/docs/json', '/docs/yaml', '/docs/static/swagger-ui.css'])(
    'answers HEAD at %s like GET, without the body',
    async (path) => {
      const { url } = await embed({ idle });
      const head = await fetch(url + path, { method: 'HEAD' });
      const get = await fetch(url + path);
      expect(head.status).toBe(200);
      expect(await head.text()).toBe('');
      for (const name of ['content-type', 'content-length', 'content-security-policy']) {
        expect([name, head.headers.get(name)]).toEqual([name, get.headers.get(name)]);
      }
    },
  );

  test.each([
    '/docs/nothing',
    '/docs/static/',
    '/docs/static/nothing.js',
    // What comes with Swagger UI and is not used is not served.
    '/docs/static/oauth2-redirect.html',
    '/docs/static/%2e%2e%2fpackage.json',
    '/docs/static/..%2f..%2fpackage.json',
  ])('has nothing at %s', async (path) => {
    const { url } = await embed({ idle });
    await problem(await fetch(url + path), 'not-found');
  });

  test('is for reading only', async () => {
    const { url } = await embed({ idle });
    const response = await fetch(`${url}/docs`, { method: 'POST' });
    await problem(response, 'method-not-allowed');
    expect(response.headers.get('allow')).toBe('GET, HEAD, OPTIONS');
  });

  test('is refused to those who call the server by a foreign name', async () => {
    const { url } = await embed({ idle });
    for (const path of ['/docs', '/docs/json', '/docs/static/swagger-ui.css']) {
      const line = request(`GET ${path}`, { Host: 'evil.example' });
      await problem(await exchange(url, line), 'foreign-host');
    }
  });

  test('keeps its policy to itself', async () => {
    const { url } = await embed({ idle });
    for (const path of ['/api/tasks', '/healthz', '/nothing']) {
      const response = await fetch(url + path);
      expect(response.headers.get('content-security-policy')).toBeNull();
    }
  });
});

describe('in a browser', { timeout: 180_000 }, () => {
  if (noChromium) console.warn(`The tests of the page at /docs are skipped: ${noChromium}`);
  const browserTest = test.skipIf(noChromium);

  browserTest('a task is described, and "Try it out" starts it with its example', async () => {
    const { url } = await embed({ idle }, { registry });
    const { page, faults } = await openPage(`${url}/docs`);
    expect(await page.title()).toBe('Spyglass Tasks');
    const start = page.locator('#operations-example_task2-start_example_task2_task2_with_args');
    await start.locator('.opblock-summary-control').click();
    const description = start.locator('.opblock-description');
    await expect
      .poll(() => description.textContent(), soon)
      .toMatch(/^Background task that updates progress with input arguments\./);
    const input = start.locator('.opblock-section-request-body');
    expect(JSON.parse(await input.locator('textarea').inputValue())).toEqual({ name: 'MATT', age: 25 });
    await input.locator('.tablinks[data-name=model]').click();
    await expect
      .poll(() => input.locator('.model-box').textContent(), soon)
      .toMatch(/name.*string.*age.*integer/);

    await start.locator('button.execute').click();
    const answer = start.locator('.live-responses-table .response');
    await expect.poll(() => answer.locator('.response-col_status').textContent(), soon).toBe('200');
    const snapshot = JSON.parse((await answer.locator('.highlight-code code').first().textContent()) ?? '');
    expect(snapshot).toMatchObject({
      task_id: expect.stringMatching(/^[0-9A-Za-z]{22}$/),
      state: 'example_task2',
      task: 'task2_with_args',
      progress: expect.any(Number),
    });
    const result = await fetch(`${url}/api/example_task2/task/result/${snapshot.task_id}`);
    expect(await result.json()).toMatchObject({ task_id: snapshot.task_id });
    expect(faults).toEqual([]);
  });

  browserTest('awkward schemas and names are shown too', async () => {
    const { url } = await embed({ idle }, { registry: nastyRegistry() });
    const { page, faults } = await openPage(`${url}/docs`);
    for (const task of ['recursive', 'with_dots_and_dashes', 'keys']) {
      const start = page.locator(`[id$="-start_nasty_state_1_${task}"]`).first();
      await start.locator('.opblock-summary-control').click();
      const input = start.locator('.opblock-section-request-body');
      await input.locator('.tablinks[data-name=model]').click();
      await input.locator('.model-box').waitFor();
      // What is far below is not there at all until it comes near.
      await start.locator('.opblock-summary-control').click();
    }
    const { schemas } = openApiDocument(nastyRegistry(), { direct: true, version: '1' }).components;
    const names = await page.locator('.models > div > article .json-schema-2020-12__title').allTextContents();
    expect(names).toEqual(Object.keys(schemas));
    await page.evaluate(`for (const schema of document.querySelectorAll('.models > div > article')) {
      if (schema.textContent.includes('.input')) schema.querySelector('[class$=expand-deep-button]')?.click();
    }`);
    await expect
      .poll(() => page.locator('.models').textContent(), soon)
      .toContain('<script>alert(1)</script>');
    expect(await page.locator('.errors-wrapper').count()).toBe(0);
    expect(faults).toEqual([]);
  });
});
