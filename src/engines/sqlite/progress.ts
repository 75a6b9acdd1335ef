/**
 * What attempts say, on its way out: numbered once a tick and shown at once, written a few times a second.
 */
import type { Clock } from '../../clock.ts';
import type { RunEvent } from '../../run.ts';
import type { LiveRun, LiveRunHost } from './liveRun.ts';
import type { StoreClient } from './storeClient.ts';

/** How often progress is written. A change of status does not wait for it. */
const periodMs = 250;

export class Progress implements LiveRunHost {
  readonly #clock: Clock;
  readonly #store: StoreClient;
  readonly #emit: (event: RunEvent) => void;
  /** Who spoke in this turn of the loop, and the promise of its end. */
  #spoken: LiveRun[] = [];
  #tick: Promise<void> | undefined;
  readonly #unwritten = new Set<LiveRun>();
  #stopPeriod: (() => void) | undefined;

  constructor(clock: Clock, store: StoreClient, emit: (event: RunEvent) => void) {
    this.#clock = clock;
    this.#store = store;
    this.#emit = emit;
  }

  start(): void {
    this.#stopPeriod = this.#clock.every(periodMs, () => {
      for (const run of this.#unwritten) this.#write(run);
    });
  }

  stop(): void {
    this.#stopPeriod?.();
  }

  now(): number {
    return this.#clock.now();
  }

  elapsed(): number {
    return this.#clock.elapsed();
  }

  spoke(run: LiveRun): void {
    this.#spoken.push(run);
    this.nextTick();
  }

  nextTick(): Promise<void> {
    this.#tick ??= new Promise((resolve) => {
      setImmediate(() => {
        this.#tick = undefined;
        for (const run of this.#spoken.splice(0)) if (!run.closed) this.show(run, run.number());
        resolve();
      });
    });
    return this.#tick;
  }

  /** Shows what was numbered, and sees to it that it is written. */
  show(run: LiveRun, events: readonly RunEvent[]): void {
    if (run.closed) return;
    for (const event of events) this.#emit(event);
    if (events.length === 0 && !run.starved) return;
    this.#unwritten.add(run);
    if (run.snapshot.status !== run.statusOnDisk || run.isLowOnNumbers) this.#write(run);
  }

  /** Has events written that were shown already. */
  writeSoon(run: LiveRun): void {
    this.#unwritten.add(run);
  }

  /** The run's end is written by whoever ends it. */
  forget(run: LiveRun): void {
    this.#unwritten.delete(run);
  }

  /** One write of a run is on its way at a time; what it says meanwhile goes with the next. */
  #write(run: LiveRun): void {
    if (run.writing || run.closed) return;
    run.writing = true;
    this.#unwritten.delete(run);
    const { update, reserved, outgrown } = run.takeUpdate();
    this.#store.write({ op: 'progress', run: update, reserved, outgrown }).then(
      (kept) => {
        run.writing = false;
        run.flushed(reserved, kept === true ? undefined : kept);
        if (!run.closed && run.hasUnnumbered) this.show(run, run.number());
      },
      () => {
        // Progress is best effort for a store that cannot take it: it is offered again with the next round.
        run.writing = false;
        run.flushFailed();
        if (!run.closed) this.#unwritten.add(run);
      },
    );
  }
}
