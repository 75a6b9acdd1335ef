/**
 * The store in a thread of its own.
 */
import { parentPort, workerData } from 'node:worker_threads';
import type { StoreSettings } from './protocol.ts';
import { serveStore } from './storeServer.ts';

if (!parentPort) throw new Error('storeThread is started by the sqlite engine, as a worker thread');
serveStore(workerData as StoreSettings, parentPort);
