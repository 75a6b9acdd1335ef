/**
 * The store in the test's own thread, on a real database: what it costs is what SQLite costs. Messages are copied and come later,
 * as between threads; and the process can be made to die at any of them.
 */
import { copyFileSync, linkSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { databaseFile } from '../../src/engines/sqlite/dataFolder.ts';
import type {
  FromThread,
  StoreSettings,
  ToThread,
  WriteOperation,
} from '../../src/engines/sqlite/protocol.ts';
import type { StoreThread } from '../../src/engines/sqlite/storeClient.ts';
import { type StorePort, serveStore } from '../../src/engines/sqlite/storeServer.ts';

/** The store as a process that is killed now would leave it: the log is written commit by commit. */
export function copyStore(from: string, to: string): void {
  mkdirSync(to);
  for (const file of [databaseFile, `${databaseFile}-wal`]) copyFileSync(join(from, file), join(to, file));
  shareRest(from, to);
}

/** A store that was closed. */
export function copyClosedStore(from: string, to: string): void {
  mkdirSync(to);
  copyFileSync(join(from, databaseFile), join(to, databaseFile));
  shareRest(from, to);
}

/** Nothing is ever written to these, and to fill a ballast takes longer than all else. */
function shareRest(from: string, to: string): void {
  linkSync(join(from, 'ballast'), join(to, 'ballast'));
}

export class SameThreadStore implements StoreThread {
  readonly #settings: StoreSettings;
  #toClient: (message: FromThread) => void = () => {};
  #toStore: (message: ToThread) => void = () => {};
  /** Messages that are on their way. */
  #underWay = 0;
  #dying: { committed: boolean; into: string } | undefined;
  /** The process is dead: nothing comes or goes. */
  dead = false;
  /** What was sent and never committed. */
  lost: WriteOperation[] = [];
  /** Of what comes late nobody hears the answer. */
  #unheard = false;

  constructor(settings: StoreSettings) {
    this.#settings = settings;
    const port: StorePort = {
      postMessage: (message) => {
        if (!this.#unheard) this.#send(message, (copy) => this.#toClient(copy));
      },
      on: (_event, listener) => {
        this.#toStore = listener;
      },
      close: () => {},
    };
    this.#deliver(() => serveStore(this.#settings, port));
  }

  get isIdle(): boolean {
    return this.#underWay === 0;
  }

  on(event: string, listener: unknown): void {
    if (event === 'message') this.#toClient = listener as (message: FromThread) => void;
  }

  postMessage(message: ToThread): void {
    this.#send(message, (copy) => this.#arrive(copy));
  }

  async terminate(): Promise<void> {
    this.dead = true;
  }

  #send<Message>(message: Message, take: (copy: Message) => void): void {
    if (this.dead) return;
    const copy = structuredClone(message);
    this.#deliver(() => take(copy));
  }

  #deliver(take: () => void): void {
    this.#underWay++;
    setImmediate(() => {
      this.#underWay--;
      if (!this.dead) take();
    });
  }

  #arrive(message: ToThread): void {
    if (message.kind === 'write' && this.#dying && !this.#dying.committed) {
      this.lost = message.operations;
      this.die();
      return;
    }
    this.#toStore(message);
    if (message.kind === 'write' && this.#dying) this.die();
  }

  /** The process dies at its next commit, just before or just after it; `into` is then the store as it left it. */
  dieAtNextCommit(committed: boolean, into: string): void {
    this.#dying = { committed, into };
  }

  die(): void {
    if (this.dead) return;
    this.dead = true;
    if (this.#dying) copyStore(this.#settings.folder, this.#dying.into);
    // Nobody hears it; its file handles and timers are not to stay.
    this.#toStore({ kind: 'close' });
  }

  /** A write from elsewhere: what a process that is dead had still to say. */
  writeLate(operations: WriteOperation[]): void {
    this.#unheard = true;
    this.#toStore({ kind: 'write', operations });
    this.#unheard = false;
  }
}
