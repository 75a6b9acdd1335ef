/**
 * One answer of the benchmarks, and how it is shown.
 */
import type { Spread } from './spread.ts';

export interface Row {
  question: string;
  /** What it is compared with, and what that gave in this run; "–" for a figure that stands by itself. */
  baseline: string;
  measured: Spread;
  /** Stands behind each figure: `×`, ` ms`, ` kB`, `/s`. */
  unit: string;
  goal: Goal | null;
  /** What lies behind a ratio, and whatever must be known to read the row. */
  note?: string;
}

export type Goal = { atLeast: number } | { atMost: number };

export function isReached({ measured, goal }: Row): boolean {
  if (goal === null) return true;
  return 'atLeast' in goal ? measured.median >= goal.atLeast : measured.median <= goal.atMost;
}

const headings = ['question', 'baseline', 'measured: median (min to max)', 'goal', 'reached', 'note'];

/** In the order of the headings. */
function cells(row: Row): string[] {
  const { question, baseline, measured, unit, goal, note = '' } = row;
  const digits = (value: number) => threeDigits(value, goal);
  const range = measured.min === measured.max ? '' : ` (${digits(measured.min)} to ${digits(measured.max)})`;
  const figure = `${digits(measured.median)}${unit}${range}`;
  if (goal === null) return [question, baseline, figure, '–', '–', note];
  const wanted = 'atLeast' in goal ? `≥ ${number(goal.atLeast)}` : `≤ ${number(goal.atMost)}`;
  return [question, baseline, figure, wanted + unit, isReached(row) ? 'yes' : 'no', note];
}

/** Three digits that count, rounded to the side that is worse for us: a figure that misses its goal never looks like it. */
function threeDigits(value: number, goal: Goal | null): string {
  const round = goal === null ? Math.round : 'atLeast' in goal ? Math.floor : Math.ceil;
  const step = 10 ** (Math.floor(Math.log10(Math.abs(value) || 1)) - 2);
  const rounded = step < 1 ? round(value * (1 / step)) / (1 / step) : round(value / step) * step;
  return number(rounded);
}

/** A figure for people: thousands apart, no digits that say nothing. */
export function number(value: number, digits = 3): string {
  const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(Math.abs(value) || 1)));
  return value.toLocaleString('en', { maximumFractionDigits: Math.min(decimals, 6) });
}

export function markdownTable(rows: readonly Row[]): string {
  const lines = [headings, headings.map(() => '---'), ...rows.map(cells)];
  return lines.map((line) => `| ${line.join(' | ')} |`).join('\n');
}

/** For a terminal: the figures in columns, and the sentences behind them. */
export function textTable(rows: readonly Row[]): string {
  const lines = rows.map(cells);
  const columns = [2, 3, 4].map((column) =>
    Math.max(...lines.map((line) => (line[column] as string).length)),
  );
  return lines
    .map(([question, baseline, measured, goal, reached, note]) => {
      const figures = [measured, goal, reached].map((text, place) => text?.padEnd(columns[place] as number));
      const against = baseline === '–' ? '' : `against ${baseline}`;
      const behind = [against, note].filter(Boolean).join('; ');
      const indent = ' '.repeat(figures.join('  ').length + 2);
      return `${figures.join('  ')}  ${question}${behind && `\n${indent}${behind}`}`;
    })
    .join('\n');
}
