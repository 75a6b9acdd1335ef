import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Auth } from '../src/auth.ts';
import { type Clock, systemClock } from '../src/clock.ts';
import { completeConfig } from '../src/config.ts';
import { openEngine, openTokens } from '../src/engines/open.ts';
import type { RequestError } from '../src/errors.ts';
import { Registry } from '../src/registry.ts';
import { type ClientToken, makeToken, type TokenStore } from '../src/token.ts';

/** Stands still until it is told to move. */
class DrivenClock implements Clock {
  #now = Date.now();
  #passed = 0;
  #timers: { at: number; callback: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  elapsed(): number {
    return this.#passed;
  }

  after(delayMs: number, callback: () => void): () => void {
    const timer = { at: this.#passed + delayMs, callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  every(): () => void {
    throw new Error('Nothing here repeats');
  }

  pass(ms: number): void {
    this.#now += ms;
    this.#passed += ms;
    const due = this.#timers.filter(({ at }) => at <= this.#passed);
    this.#timers = this.#timers.filter(({ at }) => at > this.#passed);
    for (const { callback } of due) callback();
  }

  /** From one moment to the next it is another time. */
  set(byMs: number): void {
    this.#now += byMs;
  }
}

interface Office {
  auth: Auth;
  clock: DrivenClock;
  /** As the command line has it: another process's hold on the same store. */
  outside: TokenStore;
  /** The ids of the tokens that came to their end. */
  ended: string[];
  /** Resolves when that many have. */
  endings(count: number): Promise<void>;
  issue(options?: Parameters<typeof makeToken>[0]): Promise<{ token: ClientToken; secret: string }>;
}

async function openOffice(): Promise<Office> {
  const data = mkdtempSync(join(tmpdir(), 'spyglass-test-'));
  const parts = { clock: systemClock, log: () => {}, policies: new Registry().policies() };
  const { engine, tokens } = await openEngine(completeConfig({ data }), parts);
  await engine.open();
  const outside = await openTokens({ data });
  const clock = new DrivenClock();
  const auth = new Auth(tokens, clock);
  const ended: string[] = [];
  let wake = () => {};
  await auth.start((id) => {
    ended.push(id);
    wake();
  });
  onTestFinished(async () => {
    auth.stop();
    outside.close();
    await engine.close();
    rmSync(data, { recursive: true, force: true });
  });
  return {
    auth,
    clock,
    outside,
    ended,
    async endings(count) {
      while (ended.length < count) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
    async issue(options = {}) {
      const made = makeToken(options, clock.now());
      await outside.create(made.token);
      while (!tokens.find(made.token.digest))
        await new Promise((resolve) => tokens.onChange(() => resolve(undefined)));
      return made;
    },
  };
}

function refusal(act: () => unknown): RequestError {
  try {
    act();
  } catch (error) {
    return error as RequestError;
  }
  throw new Error('It was not refused');
}

describe('A client token', () => {
  test('is known by its secret', async () => {
    const { auth, issue } = await openOffice();
    const { token, secret } = await issue({ label: 'Ann' });
    expect(auth.authenticate(secret)).toMatchObject({ id: token.id, label: 'Ann' });
  });

  test('is answered the same whether it is malformed, unknown, revoked or expired', async () => {
    const { auth, clock, outside, issue, endings } = await openOffice();
    const revoked = await issue();
    const expired = await issue({ expiresAt: clock.now() + 1000 });
    expect(auth.authenticate(expired.secret).id).toBe(expired.token.id);
    await outside.revoke(revoked.token.id, clock.now());
    clock.pass(1000);
    await endings(2);
    const unknown = makeToken({}, 0).secret;
    const refusals = [
      revoked.secret,
      expired.secret,
      unknown,
      'no token',
      '',
      revoked.secret.slice(0, -1),
    ].map((secret) => refusal(() => auth.authenticate(secret)));
    for (const { code, statusCode, message, headers } of refusals) {
      expect({ code, statusCode, message, headers }).toEqual({
        code: 'unknown-token',
        statusCode: 401,
        message: refusals[0]?.message,
        headers: { 'www-authenticate': expect.any(String) },
      });
    }
  });

  test('that is limited to some states is a 403 in others', async () => {
    const { auth, issue } = await openOffice();
    const { token } = await issue({ states: ['reports', 'mail'] });
    auth.requireScope(token, 'mail');
    expect(refusal(() => auth.requireScope(token, 'other'))).toMatchObject({
      code: 'token-scope',
      statusCode: 403,
    });
    expect(refusal(() => auth.requireScope(token, 'report'))).toMatchObject({ statusCode: 403 });
  });

  test('that is limited to no state at all is for every one', async () => {
    const { auth, issue } = await openOffice();
    auth.requireScope((await issue()).token, 'anything');
  });

  test('has a label that tasks can be told', async () => {
    const { auth, issue } = await openOffice();
    const ann = await issue({ label: 'Ann' });
    const nobody = await issue();
    auth.authenticate(ann.secret);
    auth.authenticate(nobody.secret);
    expect(auth.label(ann.token.id)).toBe('Ann');
    expect(auth.label(nobody.token.id)).toBeNull();
    expect(auth.label(null)).toBeNull();
  });
});

describe('The end of a client token', () => {
  test('is told when another process revokes it', async () => {
    const { clock, outside, ended, endings, issue } = await openOffice();
    const { token } = await issue();
    await issue();
    await outside.revoke(token.id, clock.now());
    await endings(1);
    expect(ended).toEqual([token.id]);
  });

  test('is told when it expires, in time and once', async () => {
    const { clock, ended, endings, issue, auth } = await openOffice();
    const second = await issue({ expiresAt: clock.now() + 2000 });
    const first = await issue({ expiresAt: clock.now() + 1000 });
    auth.authenticate(first.secret);
    auth.authenticate(second.secret);
    clock.pass(999);
    expect(ended).toEqual([]);
    clock.pass(1);
    await endings(1);
    expect(ended).toEqual([first.token.id]);
    clock.pass(1000);
    await endings(2);
    expect(ended).toEqual([first.token.id, second.token.id]);
  });

  test('is told when it expires because the clock was set forward', async () => {
    const { clock, ended, issue, auth } = await openOffice();
    const { token, secret } = await issue({ expiresAt: clock.now() + 3_600_000 });
    auth.authenticate(secret);
    clock.pass(1000);
    expect(ended).toEqual([]);
    clock.set(3_600_000);
    clock.pass(1000);
    expect(ended).toEqual([token.id]);
  });

  test('is not told any more once nobody wants to know', async () => {
    const { clock, ended, issue, auth } = await openOffice();
    const { secret } = await issue({ expiresAt: clock.now() + 1000 });
    auth.authenticate(secret);
    auth.stop();
    clock.pass(5000);
    expect(ended).toEqual([]);
  });
});
