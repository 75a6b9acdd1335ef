import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cronProblem, isTimeZone, latestOccurrence, nextOccurrence } from '../src/cron.ts';

const dayMs = 86_400_000;
const yearMs = 365.25 * dayMs;

/** Times of a schedule from `from` (UTC, as text) on, as they are at UTC: `03-29T01:00` of the year 2026. */
function occurrences(cron: string, timeZone: string, from: string, count: number): string[] {
  const found: string[] = [];
  let at = Date.parse(from);
  while (found.length < count) {
    at = nextOccurrence({ cron, timeZone }, at) as number;
    found.push(new Date(at).toISOString().slice(5, 16));
  }
  return found;
}

describe('the next occurrence', () => {
  it('is strictly after a time, to the millisecond', () => {
    const noon = { cron: '0 12 * * *', timeZone: 'UTC' };
    const at = Date.UTC(2026, 0, 1, 12);
    expect(nextOccurrence(noon, at - 1)).toBe(at);
    expect(nextOccurrence(noon, at)).toBe(at + dayMs);
    expect(nextOccurrence(noon, at + 1)).toBe(at + dayMs);
  });

  it('may be of a pattern with seconds', () => {
    const at = Date.UTC(2026, 0, 1);
    expect(nextOccurrence({ cron: '*/10 * * * * *', timeZone: 'UTC' }, at)).toBe(at + 10_000);
  });

  it('is at the wall clock of its time zone', () => {
    expect(occurrences('0 8 * * *', 'Europe/Berlin', '2026-01-01T00:00Z', 1)).toEqual(['01-01T07:00']);
    expect(occurrences('0 8 * * *', 'America/New_York', '2026-01-01T00:00Z', 1)).toEqual(['01-01T13:00']);
    expect(occurrences('0 8 * * *', 'Asia/Kathmandu', '2026-01-01T00:00Z', 1)).toEqual(['01-01T02:15']);
  });

  it('of a leap day comes each fourth year, and not in 2100', () => {
    const leapDay = { cron: '0 0 29 2 *', timeZone: 'Europe/Berlin' };
    const years: number[] = [];
    for (let at = Date.UTC(2088, 2, 1); years.length < 3; ) {
      at = nextOccurrence(leapDay, at) as number;
      years.push(new Date(at + dayMs).getUTCFullYear());
    }
    expect(years).toEqual([2092, 2096, 2104]);
  });

  it('of a month’s end is on its last day, however long the month', () => {
    const ends = occurrences('0 12 L * *', 'UTC', '2028-01-01T00:00Z', 4);
    expect(ends).toEqual(['01-31T12:00', '02-29T12:00', '03-31T12:00', '04-30T12:00']);
    const thirtyFirsts = occurrences('0 12 31 * *', 'UTC', '2026-01-01T00:00Z', 3);
    expect(thirtyFirsts).toEqual(['01-31T12:00', '03-31T12:00', '05-31T12:00']);
  });

  it('with both a day of the month and a day of the week is on either', () => {
    const found = occurrences('0 0 13 * 5', 'UTC', '2026-11-01T00:00Z', 4);
    expect(found).toEqual(['11-06T00:00', '11-13T00:00', '11-20T00:00', '11-27T00:00']);
  });
});

describe('when the clock goes forward', () => {
  it.each([
    ['Europe/Berlin', '2026-03-27T12:00Z', ['03-28T01:30', '03-29T01:00', '03-30T00:30']],
    ['America/New_York', '2026-03-06T12:00Z', ['03-07T07:30', '03-08T07:00', '03-09T06:30']],
  ])('02:30, which does not exist in %s that day, occurs at 03:00', (timeZone, from, expected) => {
    expect(occurrences('30 2 * * *', timeZone, from, 3)).toEqual(expected);
  });

  it.each(['0,30 2 * * *', '*/30 2 * * *', '* 2 * * *', '0-59/10 2-3 * * *'])(
    'all that does not exist of %s occurs once, with what there is at 03:00',
    (cron) => {
      const found = occurrences(cron, 'Europe/Berlin', '2026-03-29T00:59Z', 1);
      expect(found).toEqual(['03-29T01:00']);
      const onThatDay = occurrences(cron, 'Europe/Berlin', '2026-03-28T12:00Z', 2);
      expect(onThatDay.filter((at) => at === '03-29T01:00')).toHaveLength(1);
    },
  );

  it('a list of hours loses none', () => {
    const found = occurrences('30 2,14 * * *', 'Europe/Berlin', '2026-03-28T14:00Z', 3);
    expect(found).toEqual(['03-29T01:00', '03-29T12:30', '03-30T00:30']);
  });

  it.each(['0 * * * *', '0 */1 * * *', '0 0-23 * * *'])('%s occurs each hour', (cron) => {
    const found = occurrences(cron, 'Europe/Berlin', '2026-03-28T23:30Z', 3);
    expect(found).toEqual(['03-29T00:00', '03-29T01:00', '03-29T02:00']);
  });

  it('a midnight that does not exist occurs at one', () => {
    const found = occurrences('0 0 * * *', 'Africa/Cairo', '2026-04-22T12:00Z', 3);
    expect(found).toEqual(['04-22T22:00', '04-23T22:00', '04-24T21:00']);
  });

  it('what would fall onto the next day does not occur', () => {
    const found = occurrences('30 23 * * *', 'America/Nuuk', '2026-03-28T00:00Z', 2);
    expect(found).toEqual(['03-28T01:30', '03-30T00:30']);
  });
});

describe('when the clock goes back', () => {
  it.each([
    ['30 2 * * *', 'Europe/Berlin', '2026-10-24T12:00Z', ['10-25T00:30', '10-26T01:30']],
    ['30 1 * * *', 'America/New_York', '2026-10-31T12:00Z', ['11-01T05:30', '11-02T06:30']],
    ['30 2,14 * * *', 'Europe/Berlin', '2026-10-24T13:00Z', ['10-25T00:30', '10-25T13:30']],
    ['*/30 2 * * *', 'Europe/Berlin', '2026-10-25T00:15Z', ['10-25T00:30', '10-26T01:00']],
  ])(
    'a wall time of %s that there is twice in %s occurs the first time',
    (cron, timeZone, from, expected) => {
      expect(occurrences(cron, timeZone, from, 2)).toEqual(expected);
    },
  );

  it('what occurs each hour occurs in both of the hours', () => {
    const found = occurrences('30 * * * *', 'Europe/Berlin', '2026-10-24T23:45Z', 3);
    expect(found).toEqual(['10-25T00:30', '10-25T01:30', '10-25T02:30']);
  });
});

describe('the latest occurrence', () => {
  const daily = { cron: '0 3 * * *', timeZone: 'Europe/Berlin' };

  it('is after the one time and up to the other, that moment included', () => {
    const at = Date.parse('2026-06-01T01:00Z');
    expect(latestOccurrence(daily, at - 1, at)).toBe(at);
    expect(latestOccurrence(daily, at - 1, at + 500)).toBe(at);
    expect(latestOccurrence(daily, at, at + 500)).toBeNull();
    expect(latestOccurrence(daily, at - 500, at - 1)).toBeNull();
    expect(latestOccurrence(daily, at, at)).toBeNull();
  });

  it('is found at once after ten years of downtime, of each second and of each leap day', () => {
    const now = Date.parse('2036-06-01T12:00:00.500Z');
    const begun = performance.now();
    expect(latestOccurrence({ cron: '* * * * * *', timeZone: 'Europe/Berlin' }, now - 10 * yearMs, now)).toBe(
      now - 500,
    );
    expect(latestOccurrence(daily, now - 10 * yearMs, now)).toBe(Date.parse('2036-06-01T01:00Z'));
    expect(latestOccurrence({ cron: '0 0 29 2 *', timeZone: 'UTC' }, now - 10 * yearMs, now)).toBe(
      Date.UTC(2036, 1, 29),
    );
    expect(performance.now() - begun).toBeLessThan(1000);
  });

  it('is none before the first', () => {
    const leapDay = { cron: '0 0 29 2 *', timeZone: 'UTC' };
    expect(latestOccurrence(leapDay, Date.UTC(2025, 0, 1), Date.UTC(2028, 0, 1))).toBeNull();
  });
});

describe('for whatever pattern, and over every change of the clock,', () => {
  const field = (least: number, most: number) =>
    fc.oneof(
      fc.constant('*'),
      fc.integer({ min: least, max: most }).map(String),
      fc.integer({ min: 2, max: 12 }).map((step) => `*/${step}`),
      fc.uniqueArray(fc.integer({ min: least, max: most }), { minLength: 1, maxLength: 4 }).map(String),
    );
  const crons = fc.tuple(field(0, 59), field(0, 23)).map(([minute, hour]) => `${minute} ${hour} * * *`);
  const zones = fc.constantFrom('Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'UTC');
  /** Around a change of the clock in Berlin, New York or on Lord Howe, in either direction. */
  const changes = fc.constantFrom('03-08', '03-29', '04-05', '10-04', '10-25', '11-01');
  const begins = fc
    .tuple(changes, fc.integer({ min: -dayMs, max: dayMs / 2 }))
    .map(([change, offset]) => Date.parse(`2026-${change}T00:00Z`) + offset);

  it('looking forward and looking back agree on when it occurs', () => {
    fc.assert(
      fc.property(crons, zones, begins, (cron, timeZone, from) => {
        const times = { cron, timeZone };
        let latest = from;
        for (let found = 0; found < 20; found++) {
          const at = nextOccurrence(times, latest) as number;
          expect(latestOccurrence(times, latest, at)).toBe(at);
          expect(latestOccurrence(times, latest, at - 1)).toBeNull();
          latest = at;
        }
        expect(latestOccurrence(times, from, latest)).toBe(latest);
      }),
      { numRuns: 150 },
    );
  });

  it('each wall time that is named occurs once, and one that does not exist in the moment after the gap', () => {
    const named = fc.record({
      minute: fc.integer({ min: 0, max: 59 }),
      hours: fc.uniqueArray(fc.integer({ min: 0, max: 23 }), { minLength: 1, maxLength: 5 }),
    });
    fc.assert(
      fc.property(named, zones, changes, ({ minute, hours }, timeZone, change) => {
        const from = Date.parse(`2026-${change}T00:00Z`) - dayMs;
        const walls = wallTimes(timeZone, from, from + 3 * dayMs);
        const text = (hour: number) => [hour, minute].map((part) => String(part).padStart(2, '0')).join(':');
        const isNamed = (wall: string) => hours.some((hour) => wall.endsWith(text(hour)));

        const seen: string[] = [];
        for (let at = from - 1; ; ) {
          at = nextOccurrence({ cron: `${minute} ${hours} * * *`, timeZone }, at) as number;
          if (at >= from + 3 * dayMs) break;
          seen.push(wallTime(timeZone, at));
        }
        // A time that there is twice is met twice among the walls, and once by the schedule.
        const expected = new Set(
          walls.filter((wall, place) => isNamed(wall) || endsGap(walls, place, text, hours)),
        );
        expect(seen).toEqual([...expected]);
      }),
      { numRuns: 200 },
    );
  });
});

/** What the clock on the wall shows: `2026-03-29 03:00`. */
function wallTime(timeZone: string, at: number): string {
  let format = formats.get(timeZone);
  if (!format) {
    format = new Intl.DateTimeFormat('sv', { timeZone, dateStyle: 'short', timeStyle: 'short' });
    formats.set(timeZone, format);
  }
  return format.format(at);
}
const formats = new Map<string, Intl.DateTimeFormat>();

/** The same, minute by minute. */
function wallTimes(timeZone: string, from: number, to: number): string[] {
  const walls: string[] = [];
  for (let at = from; at < to; at += 60_000) walls.push(wallTime(timeZone, at));
  return walls;
}

/** Whether the wall clock has jumped to this place over a time that is named. */
function endsGap(
  walls: readonly string[],
  place: number,
  text: (hour: number) => string,
  hours: readonly number[],
): boolean {
  const [before, after] = [walls[place - 1] ?? '', walls[place] ?? ''].map((wall) => Date.parse(`${wall}Z`));
  if (before === undefined || after === undefined || !(after - before > 60_000)) return false;
  const day = (walls[place] as string).slice(0, 10);
  return hours.some((hour) => {
    const missing = Date.parse(`${day} ${text(hour)}Z`);
    return missing > before && missing < after;
  });
}

describe('a pattern is refused when it', () => {
  it.each([
    ['', /^it is five fields, or six with seconds before them, such as "30 2 \* \* \*", and not ""/],
    ['0 5 * *', /and not "0 5 \* \*" \(/],
    ['61 * * * *', /\(Invalid value for minute: 61\)/],
    ['0 24 * * *', /\(Invalid value for hour: 24\)/],
    ['* * * * FOO', /illegal characters/],
    ['0 0 1 1 * * 2027', /7 parts/],
    ['2027-01-01T00:00:00', /and not "2027-01-01T00:00:00"/],
    ['@reboot', /and not a name like "@reboot"/],
    ['@daily', /and not a name like "@daily"/],
  ])('is no pattern: %j', (cron, message) => {
    expect(cronProblem(cron)).toMatch(message);
  });

  it.each(['0 0 31 2 *', '0 0 30 2 *', '0 0 31 4,6,9,11 *'])('never comes: %s', (cron) => {
    expect(cronProblem(cron)).toBe(`"${cron}" is a date that never comes`);
  });

  it.each([
    '30 2 * * *',
    '0 0 29 2 *',
    '  */5  8-18 * * MON-FRI ',
    '0 30 2 * * *',
    '0 0 L * *',
    '0 0 * JAN 1#2',
    '0 0 ? * 7',
  ])('and not otherwise: %j', (cron) => {
    expect(cronProblem(cron)).toBeUndefined();
  });
});

describe('a time zone', () => {
  it.each(['UTC', 'Europe/Berlin', 'America/Argentina/Buenos_Aires'])('may be %s', (name) => {
    expect(isTimeZone(name)).toBe(true);
  });

  it.each(['', 'Europe/Berlyn', 'Mars', '+02:00', 'GMT+25'])('is not %j', (name) => {
    expect(isTimeZone(name)).toBe(false);
  });
});
