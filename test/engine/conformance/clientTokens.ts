/** Client tokens. */
import { describe, expect, test } from 'vitest';
import { isUsable, makeToken } from '../../../src/token.ts';
import { Bench, type EngineFactory } from '../harness.ts';

export function clientTokens(factory: EngineFactory): void {
  describe('client tokens', () => {
    test('are found by their digest until they are revoked, also after a restart', async () => {
      const home = factory.home();
      const { token } = makeToken({ label: 'ci', states: ['lab'] }, Date.now());
      const bench = await Bench.open(home);
      let changes = 0;
      bench.tokens.onChange(() => changes++);
      await bench.tokens.create(token);
      await expect.poll(() => bench.tokens.find(token.digest)).toEqual(token);
      expect(changes).toBeGreaterThan(0);
      await bench.close();
      const after = await Bench.open(home);
      expect(after.tokens.find(token.digest)).toEqual(token);
      expect(await after.tokens.list()).toEqual([token]);
      const revoked = await after.tokens.revoke(token.id, 42);
      expect(revoked).toEqual({ ...token, revokedAt: 42 });
      expect(revoked && isUsable(revoked, Date.now())).toBe(false);
      expect(await after.tokens.revoke(token.digest, 43)).toMatchObject({ revokedAt: 42 });
      expect(await after.tokens.revoke('nobody', 44)).toBeUndefined();
    });
  });
}
