import { engineConformance } from './conformance.ts';
import { sqliteFactory } from './harness.ts';

engineConformance(sqliteFactory('libsql'));
