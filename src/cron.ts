/**
 * When a schedule occurs: pure functions of a cron pattern, its time zone and a time. croner knows the calendar and the clock
 * changes; which of its two ways with a clock change a pattern gets is decided here, because its own choice would let
 * `30 2,14 * * *` and `0,30 2 * * *` skip a day in spring and run one hour twice in autumn.
 *
 * - A pattern that **names hours** (`30 2 * * *`, `0,30 1-3 * * *`) is of the wall clock. Each wall time occurs once a day. Where the
 *   clock goes back and there are two of a time, that is the first. Where the clock goes forward, times that do not exist occur once for
 *   all of them, in the moment after the gap: 03:00 instead of 02:30.
 * - A pattern for **every hour** (`*` there, or whatever gives all 24) is of elapsed time: `0 * * * *` occurs each hour,
 *   and so in both of the hours that the wall clock calls two, and not in the one that does not exist.
 *
 * A gap that ends on another day (in `America/Nuuk` the clock goes from 23:00 to 24:00) is the one exception: what would have been
 * in it does not occur, as it would be on the wrong day.
 */
import { Cron, CronPattern } from 'croner';
import type { Schedule } from './policy.ts';

/** What decides when a schedule occurs. */
type Times = Pick<Schedule, 'cron' | 'timeZone'>;

const mode = '5-or-6-parts';

/** From here on the calendar is walked to see whether a pattern ever occurs: any time would do. */
const someTime = Date.UTC(2000, 0, 1);

/** The first occurrence after a time (milliseconds since the epoch); null: it never occurs again. Throws for what `cronProblem` refuses. */
export function nextOccurrence(times: Times, after: number): number | null {
  return cronOf(times).nextRun(new Date(after))?.getTime() ?? null;
}

/**
 * The latest occurrence after `after` and up to `upTo`, that moment included; null: there was none. It is searched from its end, so
 * that it takes no longer when years have passed.
 */
export function latestOccurrence(times: Times, after: number, upTo: number): number | null {
  // croner looks for what was before a time: an occurrence in this very millisecond counts too.
  const [latest] = cronOf(times).previousRuns(1, new Date(upTo + 1));
  return latest && latest.getTime() > after ? latest.getTime() : null;
}

/** What is wrong with a cron pattern, as a sentence; undefined when nothing is. */
export function cronProblem(cron: string): string | undefined {
  const text = JSON.stringify(cron);
  if (/^\s*@/.test(cron)) {
    return `it is five fields, or six with seconds before them, such as "30 2 * * *", and not a name like ${text}`;
  }
  try {
    if (nextOccurrence({ cron, timeZone: 'UTC' }, someTime) !== null) return undefined;
    return `${text} is a date that never comes`;
  } catch (error) {
    const reason = (error as Error).message.replace(/^CronPattern: /, '');
    return `it is five fields, or six with seconds before them, such as "30 2 * * *", and not ${text} (${reason})`;
  }
}

/** Whether `name` is an IANA time zone that this Node knows. An offset, which some versions take too, has no summer. */
export function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return !/^[+-]/.test(name);
  } catch {
    return false;
  }
}

function cronOf({ cron, timeZone }: Times): Cron {
  return new Cron(unambiguous(cron), { timezone: timeZone, mode, fixedTimeRule: 'no-wildcard' });
}

/**
 * The same pattern in six fields, in which croner sees what it is: it takes a pattern without wildcards and steps in its first three
 * fields for one of the wall clock.
 */
function unambiguous(cron: string): string {
  const pattern = new CronPattern(cron, undefined, { mode });
  const fields = cron.trim().split(/\s+/);
  const time = [pattern.second, pattern.minute, pattern.hour].map(valuesOf);
  if (pattern.hour.every(Boolean)) time[2] = '*';
  return [...time, ...fields.slice(-3)].join(' ');
}

/** `0,10,20` of what has a place for each value. */
function valuesOf(flags: readonly number[]): string {
  return flags.flatMap((flag, value) => (flag ? [value] : [])).join(',');
}
