/**
 * Runs the commands that a document shows, and compares what they print with what the document says they print.
 *
 * A `bash` block is run; the block behind it is its output, if that is plain (exactly so) or `text` (taken at some moment, so that
 * its numbers may be others). In both a line `...` stands for any lines and `…` for any text of a line. Ids, tokens and times are
 * compared by their shape, but names must be the same wherever they are the same in the document. A `shell` block is not run.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import type { Document } from './document.ts';

export interface Step {
  line: number;
  script: string;
  /** null: the document does not show what it prints. */
  output: string | null;
  /** Whether the numbers in its output may be others. */
  loose: boolean;
}

export function stepsOf({ blocks, text }: Document): Step[] {
  const lines = text.split('\n');
  return blocks.flatMap((block, place) => {
    if (block.language !== 'bash') return [];
    const next = blocks[place + 1];
    const end = block.line + block.text.split('\n').length;
    // Only with nothing between the two: otherwise it is another matter.
    const between = next ? lines.slice(end, next.line - 1).join('') : '';
    const isOutput = next && between === '' && (next.language === '' || next.language === 'text');
    const output = isOutput ? next.text : null;
    return [{ line: block.line, script: block.text, output, loose: next?.language === 'text' }];
  });
}

export interface ShellOptions {
  cwd: string;
  environment: NodeJS.ProcessEnv;
  /** What stands in the document, and what it is here. */
  replace: readonly (readonly [shown: string, actual: string])[];
}

/** How long one command may take to print what it should. */
const patienceMs = 30_000;

/** A shell in which each command finds the variables that those before it have set. */
export class Shell {
  readonly #options: ShellOptions;
  /** Ids and tokens: as they stand in the document, and as they were met here. */
  readonly #known = new Map<string, string>();
  /** What the latest command said on standard error. */
  #errors = '';

  constructor(options: ShellOptions) {
    this.#options = options;
  }

  /** Throws, with what was printed, unless that is what the document says. */
  async check(step: Step): Promise<void> {
    const wanted = step.output === null ? null : this.#pattern(step.output, step.loose);
    const giveUpAt = Date.now() + patienceMs;
    for (;;) {
      const printed = await this.run(step.script, (text) => wanted?.regexp.test(text) ?? false);
      if (!wanted) return;
      const match = wanted.regexp.exec(printed);
      if (match) {
        for (const [place, shown] of wanted.captured.entries())
          this.#known.set(shown, match[place + 1] as string);
        return;
      }
      // Whoever reads a result a moment too early reads it again.
      const isRead = /^curl "?http\S*\n$/.test(step.script);
      if (isRead && Date.now() < giveUpAt) continue;
      throw new Error(
        `The document says, in line ${step.line}, that\n${step.script}prints\n${step.output}but it printed\n${printed}\n${this.#errors}`,
      );
    }
  }

  /** Gives what it prints until it ends, or until that is `enough`: a stream need not end. */
  async run(script: string, enough: (printed: string) => boolean): Promise<string> {
    const { cwd, environment } = this.#options;
    const variables = join(cwd, 'variables.sh');
    const shell = spawn(
      'bash',
      [
        '-c',
        `[ -f ${variables} ] && . ${variables}\nset -a\n${this.#actual(script)}\nexport -p > ${variables}`,
      ],
      // Its input never ends: wscat would take that for a wish to go. A group of its own, to be ended whole.
      { cwd, env: environment, stdio: 'pipe', detached: true },
    );
    let printed = '';
    this.#errors = '';
    shell.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#errors += text;
    });
    await new Promise<void>((resolve) => {
      const giveUp = setTimeout(resolve, patienceMs);
      const done = () => {
        clearTimeout(giveUp);
        resolve();
      };
      shell.once('close', done);
      shell.stdout.setEncoding('utf8').on('data', (text: string) => {
        printed += text.replaceAll('\r', '');
        // What has begun to end by itself is left to.
        if (enough(printed)) setTimeout(done, 500).unref();
      });
    });
    if (shell.exitCode === null) {
      process.kill(-(shell.pid as number), 'SIGTERM');
      await new Promise((resolve) => shell.once('close', resolve));
    }
    return printed;
  }

  #actual(script: string): string {
    let text = this.#replaced(script);
    for (const [shown, actual] of this.#known) text = text.replaceAll(shown, actual);
    return text;
  }

  #pattern(output: string, loose: boolean): { regexp: RegExp; captured: string[] } {
    const captured: string[] = [];
    const source = this.#replaced(output)
      .split(changing)
      .map((part, place) => {
        if (place % 2 === 0) return literal(part, loose);
        if (!isName(part)) return shapeOf(part);
        const known = this.#known.get(part);
        if (known !== undefined) return literal(known, false);
        if (captured.includes(part)) return `\\${captured.indexOf(part) + 1}`;
        captured.push(part);
        return `(${shapeOf(part)})`;
      });
    return { regexp: new RegExp(`^${source.join('').trimEnd()}\\s*$`), captured };
  }

  #replaced(text: string): string {
    return this.#options.replace.reduce((all, [shown, actual]) => all.replaceAll(shown, actual), text);
  }
}

/** Of a run or of a token, but no word. */
const id = '(?<!\\w)(?![A-Z]?[a-z]+\\b)(?:[0-9A-Za-z]{22}|[0-9A-Za-z]{10})(?!\\w)';
const token = 'st_[0-9A-Za-z]{32}';
const time = '\\d{4}-\\d\\d-\\d\\dT[\\d:.]+Z';
const date = '[A-Z][a-z]{2}, \\d\\d [A-Z][a-z]{2} \\d{4} [\\d:]+ GMT';
const clock = '\\b\\d\\d:\\d\\d:\\d\\d\\.\\d{3}\\b';
const shapes = [token, time, date, clock, id];
/** What is another each time. */
const changing = new RegExp(`(${shapes.join('|')})`);

function shapeOf(text: string): string {
  return shapes.find((shape) => new RegExp(`^${shape}$`).test(text)) as string;
}

/** Whether it names something, and must stay the same throughout. */
function isName(text: string): boolean {
  return [token, id].includes(shapeOf(text));
}

function literal(text: string, loose: boolean): string {
  const escaped = text
    .replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
    .replace(/^\\\.\\\.\\\.$\n?/gm, '[\\s\\S]*?')
    .replaceAll('…', '.*?');
  return loose ? escaped.replace(/\d+(\\\.\d+)?/g, '[\\d.]+') : escaped;
}
