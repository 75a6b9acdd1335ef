/**
 * A real Chromium for the tests of pages. Where there is none they are skipped, unless `SPYGLASS_REQUIRE_ALL=1` says that
 * nothing may be.
 */
import { existsSync } from 'node:fs';
import { type Browser, chromium, type Page } from 'playwright-core';
import { onTestFinished } from 'vitest';

const executablePath = '/usr/bin/chromium';

/** Why tests of pages are skipped; undefined when they are not. */
export const noChromium =
  existsSync(executablePath) || process.env.SPYGLASS_REQUIRE_ALL === '1'
    ? undefined
    : `there is no Chromium at ${executablePath}`;

/** A page, and what went wrong in it or went elsewhere: lines that a test expects to be none. */
export interface WatchedPage {
  page: Page;
  faults: string[];
}

/** Opens a page, with a profile of its own, that may ask `url`'s host only. All of it is gone when the test ends. */
export async function openPage(url: string): Promise<WatchedPage> {
  const browser = await launch();
  onTestFinished(() => browser.close());
  const page = await browser.newPage({ viewport: { width: 1280, height: 1600 } });
  const faults: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') faults.push(message.text());
  });
  page.on('pageerror', (error) => faults.push(String(error)));
  page.on('request', (request) => {
    const asked = new URL(request.url());
    if (asked.protocol !== 'data:' && asked.host !== new URL(url).host) faults.push(`asked ${asked.href}`);
  });
  page.on('requestfailed', (request) =>
    faults.push(`failed ${request.url()}: ${request.failure()?.errorText}`),
  );
  await page.addInitScript({
    content: `addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI, sample }) =>
      console.error('policy:', violatedDirective, blockedURI, sample));`,
  });
  await page.goto(url);
  return { page, faults };
}

function launch(): Promise<Browser> {
  const quiet = ['--disable-quic', '--no-first-run', '--disable-background-networking'];
  return chromium.launch({
    executablePath,
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-component-update',
      '--disable-sync',
      ...quiet,
    ],
  });
}
