/**
 * What the store thread does: owns the database, commits one batch at a time, answers reads in between. It knows of no thread,
 * so that a test can have it in its own.
 */
import { mkdirSync } from 'node:fs';
import { StartError } from '../../errors.ts';
import { Ballast } from './ballast.ts';
import { sqliteFault } from './driver.ts';
import { lockDataFolder } from './lock.ts';
import type { Answer, FromThread, StoreSettings, ToThread, WriteOperation } from './protocol.ts';
import { keepRetention } from './retention.ts';
import { Store } from './store.ts';
import { readTokens } from './tokens.ts';

/** How soon a change that another process made is noticed, and how often a full disk is looked at again. */
const tokenPollMs = 50;
const healPollMs = 500;

/** Why starts are refused, as callers and operators are told. */
const troubles = {
  busy: 'another program locks the database',
  full: 'the disk is full',
  unwritable: 'the disk cannot be written',
};

/** The store's end of the line to the main loop, as a worker thread has it. */
export interface StorePort {
  postMessage(message: FromThread): void;
  on(event: 'message', listener: (message: ToThread) => void): unknown;
  close(): void;
}

/** Opens the store and serves it until it is told to close; says so when it cannot be opened. */
export function serveStore(settings: StoreSettings, port: StorePort): void {
  try {
    serve(settings, port);
  } catch (error) {
    const { message } = error as Error;
    const known = error instanceof StartError;
    port.postMessage({
      kind: 'failed',
      message: known ? message : `The data folder ${settings.folder} cannot be opened: ${message}`,
      exitCode: known ? error.exitCode : undefined,
    });
  }
}

function serve(settings: StoreSettings, port: StorePort): void {
  const { folder, keepMs, keepRuns, served, driver } = settings;
  const say = (message: FromThread): void => port.postMessage(message);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const unlock = lockDataFolder(folder, driver);
  const store = Store.open(settings);
  const ballast = new Ballast(folder);

  let trouble: string | null = null;
  function setTrouble(reason: string | null): void {
    if (reason === trouble) return;
    trouble = reason;
    say({ kind: 'trouble', reason });
  }

  if (!ballast.fill()) setTrouble(troubles.full);
  // Where it cannot be written now, it is when the trouble is over.
  const serving: WriteOperation = { op: 'serve', tasks: served };
  const heal = setInterval(() => {
    if (trouble === null || (trouble === troubles.full && !ballast.fill())) return;
    try {
      store.commit([serving]);
      ballast.fill();
      setTrouble(null);
    } catch {
      // As before: the next round tries again.
    }
  }, healPollMs);

  let version = store.dataVersion();
  const poll = setInterval(() => {
    try {
      const now = store.dataVersion();
      if (now === version) return;
      say({ kind: 'tokens', tokens: readTokens(store.database) });
      say({ kind: 'modes', modes: store.readModes() });
      const orders = store.orders();
      if (orders.length > 0) say({ kind: 'orders', orders });
      version = now;
    } catch {
      // A disk that cannot be read just now: the next round asks again.
    }
  }, tokenPollMs);

  const stopRetention = keepRetention(store, { keepMs, keepRuns });

  /** Commits all, or at the least what must not be lost, and answers for each. */
  function commit(operations: readonly WriteOperation[]): Answer[] {
    try {
      return store.commit(operations).map((ok) => ({ ok }));
    } catch (error) {
      const reason = (error as Error).message;
      const fault = sqliteFault(error);
      if (fault === 'other') return commitApart(operations, reason);
      if (fault !== 'busy') ballast.release();
      setTrouble(troubles[fault]);
      return commitOwed(operations, troubles[fault]);
    }
  }

  /** One operation that cannot be carried out must not take its neighbours with it. */
  function commitApart(operations: readonly WriteOperation[], reason: string): Answer[] {
    if (operations.length > 1) return operations.flatMap((operation) => commit([operation]));
    return [{ refused: reason, retry: false }];
  }

  /** The ends of runs are owed: they go in on the ballast, or wait. Everything else is refused and leaves no trace. */
  function commitOwed(operations: readonly WriteOperation[], reason: string): Answer[] {
    const owed = operations.filter(({ op }) => op === 'finish' || op === 'release');
    let answers: Answer[];
    try {
      answers = owed.length > 0 ? store.commit(owed).map((ok) => ({ ok })) : [];
    } catch {
      answers = owed.map(() => ({ refused: reason, retry: true }));
    }
    const remaining = answers[Symbol.iterator]();
    return operations.map((operation) =>
      owed.includes(operation) ? (remaining.next().value as Answer) : { refused: reason, retry: false },
    );
  }

  commit([serving]);

  port.on('message', (message: ToThread) => {
    switch (message.kind) {
      case 'write': {
        const answers = commit(message.operations);
        say({ kind: 'written', answers });
        if (message.operations.some(({ op }) => op === 'createToken' || op === 'revokeToken')) {
          say({ kind: 'tokens', tokens: readTokens(store.database) });
        }
        return;
      }
      case 'read': {
        let answer: Answer;
        try {
          answer = { ok: store.answer(message.operation) };
        } catch (error) {
          answer = { refused: (error as Error).message, retry: false };
        }
        say({ kind: 'read', ticket: message.ticket, answer });
        return;
      }
      case 'close': {
        clearInterval(heal);
        clearInterval(poll);
        stopRetention();
        store.close();
        unlock();
        say({ kind: 'closed' });
        port.close();
        return;
      }
    }
  });

  say({
    kind: 'ready',
    lastN: store.lastN(),
    pending: store.pending(),
    modes: store.readModes(),
    orders: store.orders(),
    interrupted: store.interrupted(),
    tokens: readTokens(store.database),
  });
}
