/**
 * A document in Markdown, as far as the tests need to understand it.
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

export const checkout = resolve(import.meta.dirname, '../..');

export interface Block {
  /** Where its opening fence stands, for a person to find it. */
  line: number;
  /** What follows the fence: empty for plain text. */
  language: string;
  text: string;
}

/** A row of a table, by column. */
export type Row = string[];

export class Document {
  /** From the checkout. */
  readonly path: string;
  readonly text: string;

  constructor(path: string) {
    this.path = path;
    this.text = readFileSync(resolve(checkout, path), 'utf8');
  }

  get blocks(): Block[] {
    return [...this.text.matchAll(/^```(.*)\n([\s\S]*?)^```$/gm)].map((match) => ({
      line: this.text.slice(0, match.index).split('\n').length,
      language: (match[1] as string).trim(),
      text: match[2] as string,
    }));
  }

  /** The text without its code blocks. */
  get prose(): string {
    return this.text.replace(/^```.*\n[\s\S]*?^```$/gm, '');
  }

  /** Files that the document shows: code blocks that begin with a comment which is a path. */
  get files(): Record<string, string> {
    const named = this.blocks.flatMap(({ text }) => {
      const [, path] = /^(?:\/\/|#) (\S+\.\w+)\n/.exec(text) ?? [];
      return path === undefined ? [] : [[path, text] as const];
    });
    return Object.fromEntries(named);
  }

  /** The rows, without the head, of the table that has these columns. */
  table(...columns: string[]): Row[] {
    const lines = this.prose.split('\n');
    const head = lines.findIndex((line) => cells(line).join('|') === columns.join('|'));
    if (head === -1) throw new Error(`${this.path} has no table with the columns ${columns.join(', ')}`);
    const rest = lines.slice(head + 2);
    return rest.slice(0, rest.indexOf('')).map(cells);
  }

  /** What a link may point to in this document, as GitHub makes it of the headings. */
  get anchors(): string[] {
    return [...this.prose.matchAll(/^#{1,6} (.*)$/gm)].map(([, heading]) =>
      (heading as string)
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, '')
        .replaceAll(' ', '-'),
    );
  }

  get links(): string[] {
    return [...this.prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target as string);
  }
}

/** The cells of a table's line; a bar within code is written `\|`. */
function cells(line: string): Row {
  if (!line.startsWith('|')) return [];
  const inner = line.trim().slice(1, -1);
  return inner.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll('\\|', '|'));
}

/** `code` of a cell that is nothing but code. */
export function code(cell: string): string {
  return cell.replace(/^`(.*)`$/, '$1');
}
