import { availableDrivers } from '../../src/engines/sqlite/driver.ts';
import { engineConformance } from './conformance.ts';
import { sqliteFactory } from './harness.ts';

for (const driver of availableDrivers()) engineConformance(sqliteFactory(driver));
