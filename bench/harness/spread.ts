/**
 * What the rounds of one measurement gave.
 */
export interface Spread {
  median: number;
  min: number;
  max: number;
}

export function spread(values: readonly number[]): Spread {
  return { median: percentile(values, 50), min: Math.min(...values), max: Math.max(...values) };
}

/** The smallest of `values` that `percent` of them do not exceed; between the middle two for an even median. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const place = (sorted.length * percent) / 100;
  const upper = sorted[Math.min(Math.ceil(place), sorted.length) - 1] as number;
  if (percent !== 50 || sorted.length % 2 === 1) return upper;
  return (upper + (sorted[place] as number)) / 2;
}

/** What the baseline's rounds gave, each to the round of the same number. */
export function ratios(values: readonly number[], baseline: readonly number[]): number[] {
  return values.map((value, round) => value / (baseline[round] as number));
}

/**
 * Measures everything once a round, in turns (A B A B …), so that whatever else the machine does meets all of them. The
 * round before the first is for warming up and not kept.
 */
export async function interleave<Each extends Record<string, () => Promise<unknown>>>(
  rounds: number,
  measurements: Each,
): Promise<{ [Name in keyof Each]: Awaited<ReturnType<Each[Name]>>[] }> {
  const names: (keyof Each)[] = Object.keys(measurements);
  const values = Object.fromEntries(names.map((name) => [name, [] as unknown[]]));
  for (let round = 0; round <= rounds; round++) {
    for (const name of names) {
      const value = await measurements[name]?.();
      if (round > 0) values[name as string]?.push(value);
    }
  }
  return values as { [Name in keyof Each]: Awaited<ReturnType<Each[Name]>>[] };
}
