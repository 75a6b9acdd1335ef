/**
 * How much worker threads keep in their heaps, looked at from outside, also while their loops never turn.
 *
 * V8 ends a thread at its limit only where 16 MiB more will do. Where one allocation wants more than that, such as that of an array or
 * a map that doubles its size, it ends the whole process (https://github.com/nodejs/node/issues/47224). So V8 is given a limit that
 * is out of reach, and whoever keeps more than its task may is found here.
 */
import { totalmem } from 'node:os';
import { getHeapStatistics } from 'node:v8';
import type { Clock } from './clock.ts';
import { ThreadInspector } from './threadInspector.ts';

/** What a thread allocates between two looks is what it may exceed its limit by. A look costs some 0.1 ms a thread. */
const periodMs = 25;
/** How far beyond its limit, as a share of that, a heap may grow by garbage before that is collected again. */
const garbageShare = 0.5;
/** About the most that one call makes: an array of 100 million elements, and its copy. */
const mostReserveMb = 4096;

const mib = 1024 * 1024;

/** The heap of a thread whose task says nothing of it: as large as this one's may be. */
export const defaultHeapMb = Math.floor(getHeapStatistics().heap_size_limit / mib);

interface Watched {
  limitBytes: number;
  /** A heap that is larger than this may hold too much, or garbage. */
  suspectBytes: number;
  outgrown: () => void;
  isLookedAt: boolean;
}

export class HeapWatch {
  readonly #clock: Clock;
  #inspector: ThreadInspector | undefined;
  /** By thread id. */
  readonly #watched = new Map<number, Watched>();
  #stopLooking = () => {};

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Answers by how many MiB the limit that V8 has should be beyond that of a task. Rejects where this Node gives no way to look. */
  async open(): Promise<number> {
    this.#inspector = await ThreadInspector.open();
    return reserveMb();
  }

  /** Calls `outgrown`, once, when what is alive in the heap of a thread is larger than `limitMb`. Answers how to stop watching it. */
  watch(thread: number, limitMb: number, outgrown: () => void): () => void {
    const limitBytes = limitMb * mib;
    const watched: Watched = { limitBytes, suspectBytes: limitBytes, outgrown, isLookedAt: false };
    this.#watched.set(thread, watched);
    if (this.#watched.size === 1) this.#stopLooking = this.#clock.every(periodMs, () => this.#look());
    return () => {
      if (this.#watched.get(thread) !== watched) return;
      this.#watched.delete(thread);
      if (this.#watched.size === 0) this.#stopLooking();
    };
  }

  #look(): void {
    for (const [thread, watched] of this.#watched) {
      // One inside of a call that nothing interrupts has not answered yet.
      if (watched.isLookedAt || !this.#inspector?.knows(thread)) continue;
      watched.isLookedAt = true;
      this.#isTooLarge(this.#inspector, thread, watched)
        // It may be about to end.
        .catch(() => false)
        .then((isTooLarge) => {
          watched.isLookedAt = isTooLarge;
          if (isTooLarge && this.#watched.get(thread) === watched) watched.outgrown();
        });
    }
  }

  async #isTooLarge(inspector: ThreadInspector, thread: number, watched: Watched): Promise<boolean> {
    const used = await usedBytes(inspector, thread);
    if (used <= watched.suspectBytes) return false;
    await inspector.discardConsole(thread);
    // Only the report of a profile collects garbage at once: `collectGarbage` waits for a turn of the thread's loop. Nothing is sampled.
    await inspector.ask(thread, 'HeapProfiler.startSampling', { samplingInterval: 2 ** 30 });
    await inspector.ask(thread, 'HeapProfiler.stopSampling');
    const alive = await usedBytes(inspector, thread);
    // Whoever makes garbage is not to be held up by its collection.
    watched.suspectBytes = Math.max(alive, watched.limitBytes) + garbageShare * watched.limitBytes;
    return alive > watched.limitBytes;
  }
}

async function usedBytes(inspector: ThreadInspector, thread: number): Promise<number> {
  const { usedSize } = (await inspector.ask(thread, 'Runtime.getHeapUsage')) as { usedSize: number };
  return usedSize;
}

/** As far as there is such memory: what a container or the machine has no room for ends the process in another way. */
function reserveMb(): number {
  // Without a limit it is 0, or more than there is.
  const constrained = process.constrainedMemory() || Number.POSITIVE_INFINITY;
  return Math.min(mostReserveMb, Math.floor(Math.min(constrained, totalmem()) / 2 / mib));
}
