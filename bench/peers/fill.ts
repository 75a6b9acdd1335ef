/**
 * Fills a data folder with finished runs through the store's own code, in batches far larger than a server's.
 */

import type { NewRun, WriteOperation } from '../../src/engines/sqlite/protocol.ts';
import { Store } from '../../src/engines/sqlite/store.ts';
import { TaskStatus, taskStatuses } from '../../src/run.ts';
import { answerCalls } from '../harness/calls.ts';
import { person } from '../harness/server.ts';
import { storedRunClient, storedRunId } from '../harness/storedRun.ts';

const batchRuns = 10_000;

/** The runs began one after the other and the last of them has just ended. */
const periodMs = 10;

function fill({ data, runs }: { data: string; runs: number }): void {
  const store = Store.open({ folder: data, keepMs: 0, keepRuns: 0 });
  const begin = Date.now() - runs * periodMs;
  for (let n = 1; n <= runs; n += batchRuns) {
    const batch = Array.from({ length: Math.min(batchRuns, runs - n + 1) }, (_, place) =>
      newRun(n + place, begin),
    );
    store.commit([{ op: 'accept', runs: batch }, ...batch.map(finish)]);
  }
  store.close();
}

function newRun(n: number, begin: number): NewRun {
  return {
    n,
    id: storedRunId(n),
    state: 'bench',
    task: 'noop',
    client: storedRunClient(n),
    input: JSON.stringify(person),
    leased: true,
    at: begin + n * periodMs,
  };
}

function finish({ n, at }: NewRun): WriteOperation {
  const run = {
    n,
    fence: 1,
    status: taskStatuses.indexOf(TaskStatus.COMPLETED),
    progress: 100,
    message: null,
    result: JSON.stringify('Matt, 25'),
    error: null,
    seq: 3,
    at,
    chunks: [],
  };
  return { op: 'finish', run };
}

answerCalls({ fill });
process.stdout.write('ready\n');
