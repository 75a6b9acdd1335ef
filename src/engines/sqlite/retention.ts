/**
 * Deletes finished runs that are too old or too many, a slice at a time, so that starts never wait long behind it.
 */
import type { Row } from './driver.ts';
import type { Store } from './store.ts';

const sliceRuns = 200;
const pauseMs = 1000;
/** After a long round that found nothing to delete: the keys that runs are kept for will not have gone in a second. */
const longRoundSlices = 20;
const longPauseMs = 60_000;

/** Keeps at it until the returned function is called. */
export function keepRetention(store: Store, limits: { keepMs: number; keepRuns: number }): () => void {
  /** Finished runs when last counted, less those deleted since; those ended since are in `store.ended`. */
  let counted: number | undefined;
  let cursor = 0;
  let round = { slices: 0, deleted: 0 };

  /** Whether there may be more at once. */
  function slice(): boolean {
    counted ??= store.countFinished() - store.ended;
    const tooMany = counted + store.ended - limits.keepRuns;
    const now = Date.now();
    const cutoff = now - limits.keepMs;
    // n rises with the time of acceptance, and nothing ends before it was accepted: what is due is at the low end.
    const rows = store.oldest(cursor, sliceRuns, now);
    // A run is kept as long as a key stands for it: a second start with that key is to be answered with it.
    const finished = rows.filter((row) => (row.status as number) >= 3 && row.keyed === 0);
    const due = finished.filter((row, place) => place < tooMany || (row.at as number) < cutoff);
    if (due.length > 0) {
      store.deleteRuns(due.map((row) => row.n as number));
      counted -= due.length;
      round.deleted += due.length;
    }
    const last: Row | undefined = rows.at(-1);
    const more = last !== undefined && (due.length < tooMany || (last.created_at as number) < cutoff);
    cursor = more ? (last.n as number) : 0;
    return more;
  }

  let timer = setTimeout(sweep, pauseMs);
  function sweep(): void {
    let more = false;
    round.slices++;
    try {
      more = slice();
    } catch {
      // A full disk: the store says so itself, and this comes round again.
    }
    if (more) {
      timer = setTimeout(sweep, 0);
      return;
    }
    const inVain = round.slices > longRoundSlices && round.deleted === 0;
    timer = setTimeout(sweep, inVain ? longPauseMs : pauseMs);
    round = { slices: 0, deleted: 0 };
  }
  return () => clearTimeout(timer);
}
