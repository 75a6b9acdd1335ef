/**
 * Deletes finished runs that are too old or too many, a slice at a time, so that starts never wait long behind it.
 */
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
  /** `kept`: finished runs that the round has passed, which are older than what comes. */
  let round = { slices: 0, deleted: 0, kept: 0 };

  /** Whether there may be more at once. */
  function slice(): boolean {
    counted ??= store.countFinished() - store.ended;
    const tooMany = counted + store.ended - limits.keepRuns;
    const now = Date.now();
    const cutoff = now - limits.keepMs;
    // n rises with the time of acceptance, and nothing ends before it was accepted: what is due is at the low end.
    const rows = store.oldest(cursor, sliceRuns, now);
    const finished = rows.filter((row) => (row.status as number) >= 3);
    // Those that are too many are the oldest. A run is kept as long as a key stands for it, since a second start with that key is to
    // be answered with it; it takes the place of no newer one.
    const beyond = (place: number) => round.kept + place < tooMany;
    const due = finished.filter(
      (row, place) => row.keyed === 0 && (beyond(place) || (row.at as number) < cutoff),
    );
    const more = rows.length > 0 && (beyond(finished.length) || (rows.at(-1)?.created_at as number) < cutoff);
    round.kept += finished.length - due.length;
    if (due.length > 0) {
      store.deleteRuns(due.map((row) => row.n as number));
      counted -= due.length;
      round.deleted += due.length;
    }
    cursor = more ? (rows.at(-1)?.n as number) : 0;
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
      cursor = 0;
    }
    if (more) {
      timer = setTimeout(sweep, 0);
      return;
    }
    const inVain = round.slices > longRoundSlices && round.deleted === 0;
    timer = setTimeout(sweep, inVain ? longPauseMs : pauseMs);
    round = { slices: 0, deleted: 0, kept: 0 };
  }
  return () => clearTimeout(timer);
}
