import { expect, test } from 'vitest';
import { availableDrivers } from '../../src/engines/sqlite/driver.ts';
import { engineConformance } from './conformance.ts';
import { sqliteFactory } from './harness.ts';

// A file of its own beside libsql.test.ts, so that the two drivers are tested at the same time.
if (availableDrivers().includes('node:sqlite')) engineConformance(sqliteFactory('node:sqlite'));
else {
  test('a Node that brings no SQLite, as 20 does not, has libsql', () => {
    expect(availableDrivers()).toEqual(['libsql']);
  });
}
