/**
 * The one way in which time comes into the server, so that tests can drive it.
 */
export interface Clock {
  /** Milliseconds since the epoch (wall time: what is stored and shown). */
  now(): number;
  /**
   * Milliseconds since some moment before now, with fractions: what durations are measured by, since whoever sets wall time leaves
   * it as it is. Means nothing to another process.
   */
  elapsed(): number;
  /**
   * Calls `callback` once, `delayMs` from now, however long that is, and whatever becomes of wall time meanwhile; the returned
   * function takes that back. Does not keep the process alive.
   */
  after(delayMs: number, callback: () => void): () => void;
  /** Calls `callback` every `periodMs`; the returned function stops it. Does not keep the process alive. */
  every(periodMs: number, callback: () => void): () => void;
}

/** The longest delay a Node timer takes; a longer one would fire at once. */
export const longestDelayMs = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  elapsed: () => performance.now(),
  after(delayMs, callback) {
    if (delayMs > longestDelayMs) return afterLong(delayMs, callback);
    const timer = setTimeout(callback, Math.max(delayMs, 0));
    timer.unref();
    return () => clearTimeout(timer);
  },
  every(periodMs, callback) {
    const timer = setInterval(callback, periodMs);
    timer.unref();
    return () => clearInterval(timer);
  },
};

/** As many timers as it takes, one after the other. */
function afterLong(delayMs: number, callback: () => void): () => void {
  let stop = systemClock.after(longestDelayMs, () => {
    stop = systemClock.after(delayMs - longestDelayMs, callback);
  });
  return () => stop();
}
