/**
 * Deletes finished runs that are too old or too many, a slice at a time, so that starts never wait long behind it.
 */
import type { Row } from './driver.ts';
import type { Store } from './store.ts';

const sliceRuns = 200;
const pauseMs = 1000;

/** Keeps at it until the returned function is called. */
export function keepRetention(store: Store, limits: { keepMs: number; keepRuns: number }): () => void {
  /** Finished runs when last counted, less those deleted since; those ended since are in `store.ended`. */
  let counted: number | undefined;
  let cursor = 0;

  function slice(): boolean {
    counted ??= store.countFinished() - store.ended;
    const tooMany = counted + store.ended - limits.keepRuns;
    const cutoff = Date.now() - limits.keepMs;
    // n rises with the time of acceptance, and nothing ends before it was accepted: what is due is at the low end.
    const rows = store.oldest(cursor, sliceRuns);
    const finished = rows.filter((row) => (row.status as number) >= 3);
    const due = finished.filter((row, place) => place < tooMany || (row.at as number) < cutoff);
    if (due.length > 0) {
      store.deleteRuns(due.map((row) => row.n as number));
      counted -= due.length;
    }
    const last: Row | undefined = rows.at(-1);
    const more = last !== undefined && (due.length < tooMany || (last.created_at as number) < cutoff);
    cursor = more ? (last.n as number) : 0;
    return more;
  }

  let timer = setTimeout(sweep, pauseMs);
  function sweep(): void {
    let more = false;
    try {
      more = slice();
    } catch {
      // A full disk: the store says so itself, and this comes round again.
    }
    timer = setTimeout(sweep, more ? 0 : pauseMs);
  }
  return () => clearTimeout(timer);
}
