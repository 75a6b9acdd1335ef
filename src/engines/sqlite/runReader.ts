/**
 * Reads runs: what is leased stands in memory and is newer than what is on disk.
 */
import type { History, ListQuery } from '../../engine.ts';
import type { Run, RunEvent } from '../../run.ts';
import type { Row } from './driver.ts';
import { closingEvents, decodeChunk, openingEvents, rowSnapshot } from './history.ts';
import type { LiveRun } from './liveRun.ts';
import type { StoreClient } from './storeClient.ts';

/** Events in one page of history. */
const pageEvents = 500;

export class RunReader {
  readonly #store: StoreClient;
  readonly #live: ReadonlyMap<string, LiveRun>;

  constructor(store: StoreClient, live: ReadonlyMap<string, LiveRun>) {
    this.#store = store;
    this.#live = live;
  }

  async read(id: string): Promise<Run | undefined> {
    const live = this.#live.get(id);
    if (live) return { snapshot: live.snapshot, client: live.client };
    const row = await this.#store.read({ op: 'read', id });
    return row && this.asRun(row);
  }

  async list(query: ListQuery): Promise<Run[]> {
    const rows = await this.#store.read({ op: 'list', ...query });
    return rows.map((row) => this.asRun(row));
  }

  asRun(row: Row): Run {
    const live = this.#live.get(row.id as string);
    return { snapshot: live?.snapshot ?? rowSnapshot(row), client: row.client as string | null };
  }

  /** What the row implies, what is stored, and what only memory has yet: in the order of `seq`, nothing twice. */
  async history(id: string, since: number): Promise<History | undefined> {
    const stored = await this.#store.read({ op: 'history', id, since });
    if (!stored) return undefined;
    const { row, bodies, more } = stored;
    const known = [openingEvents(row), ...bodies.map((body) => decodeChunk(body, row))];
    if (!more) {
      if (row.tail !== null) known.push(decodeChunk(row.tail as string, row));
      known.push(this.#live.get(id)?.recent() ?? [], closingEvents(row));
    }
    const events: RunEvent[] = [];
    let last = since;
    for (const event of known.flat()) {
      if (event.snapshot.seq <= last) continue;
      last = event.snapshot.seq;
      events.push(event);
    }
    const page = events.slice(0, pageEvents);
    return { run: this.asRun(row), events: page, more: more || page.length < events.length };
  }
}
