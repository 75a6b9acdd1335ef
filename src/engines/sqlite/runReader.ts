/**
 * Reads runs: what is leased stands in memory and is newer than what is on disk.
 */
import type { Clock } from '../../clock.ts';
import type { History, ListQuery } from '../../engine.ts';
import type { Run, RunEvent, Standing } from '../../run.ts';
import type { Estimates } from './estimates.ts';
import { closingEvents, decodeChunk, openingEvents, rowSnapshot } from './history.ts';
import type { LiveRun } from './liveRun.ts';
import type { StoredRun } from './protocol.ts';
import type { StoreClient } from './storeClient.ts';

/** Events in one page of history. */
const pageEvents = 500;

export class RunReader {
  readonly #clock: Clock;
  readonly #store: StoreClient;
  readonly #live: ReadonlyMap<string, LiveRun>;
  readonly #estimates: Estimates;

  constructor(clock: Clock, store: StoreClient, live: ReadonlyMap<string, LiveRun>, estimates: Estimates) {
    this.#clock = clock;
    this.#store = store;
    this.#live = live;
    this.#estimates = estimates;
  }

  async read(id: string): Promise<Run | undefined> {
    const live = this.#live.get(id);
    if (live) return { snapshot: live.snapshot, client: live.client };
    const stored = await this.#store.read({ op: 'read', id, at: this.#clock.now() });
    return stored && this.asRun(stored);
  }

  async list(query: ListQuery): Promise<Run[]> {
    const stored = await this.#store.read({ op: 'list', ...query, at: this.#clock.now() });
    return stored.map((each) => this.asRun(each));
  }

  async standings(ids: readonly string[]): Promise<Map<string, Standing>> {
    const waiting = await this.#store.read({ op: 'standings', ids, at: this.#clock.now() });
    return new Map(
      waiting.map(({ row, ahead }) => [row.id as string, this.#estimates.standing(row, ahead ?? null)]),
    );
  }

  asRun({ row, ahead }: StoredRun): Run {
    const live = this.#live.get(row.id as string);
    const client = row.client as string | null;
    // The one is newer while the attempt goes on, the other when its end has just been committed.
    if (live && live.snapshot.seq >= (row.seq as number)) return { snapshot: live.snapshot, client };
    const snapshot = rowSnapshot(row);
    // With where it stands, which is part of no event.
    return {
      snapshot: ahead === undefined ? snapshot : { ...snapshot, ...this.#estimates.standing(row, ahead) },
      client,
    };
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
    return { run: this.asRun({ row }), events: page, more: more || page.length < events.length };
  }
}
