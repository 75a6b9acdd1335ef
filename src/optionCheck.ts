/**
 * Checks what an author gave, whom perhaps no compiler has checked: each method gives the value when it is allowed, and else
 * adds a sentence that names the option, the value and what is allowed.
 */
import { listed, shownValue } from './errors.ts';
import { longestSpanMs } from './policy.ts';

export class OptionCheck {
  readonly problems: string[] = [];

  /** Whole milliseconds; undefined when there is none, or a wrong one. */
  span(option: string, value: unknown, least: number): number | undefined {
    return this.whole(option, value, least, longestSpanMs, ' of milliseconds', ' (ten years)');
  }

  whole(
    option: string,
    value: unknown,
    least: number,
    most: number,
    unit = '',
    meaning = '',
  ): number | undefined {
    if (value === undefined) return undefined;
    if (Number.isInteger(value) && (value as number) >= least && (value as number) <= most) {
      return value as number;
    }
    return this.refuse(
      `${option} is a whole number${unit} from ${least} to ${most}${meaning}, not ${shownValue(value)}`,
    );
  }

  choice<Choice extends string>(
    option: string,
    value: unknown,
    choices: readonly Choice[],
  ): Choice | undefined {
    const found = choices.find((choice) => choice === value);
    if (found !== undefined || value === undefined) return found;
    const allowed = choices.map((choice) => `'${choice}'`).join(' or ');
    return this.refuse(`${option} is ${allowed}, not ${shownValue(value)}`);
  }

  flag(option: string, value: unknown): boolean | undefined {
    if (value === undefined || typeof value === 'boolean') return value;
    return this.refuse(`${option} is true or false, not ${shownValue(value)}`);
  }

  text(option: string, value: unknown): string | undefined {
    if (value === undefined || typeof value === 'string') return value;
    return this.refuse(`${option} must be text, not ${shownValue(value)}`);
  }

  /** An object that has no other fields than these. */
  fields<Name extends string>(
    option: string,
    value: unknown,
    names: readonly Name[],
  ): { readonly [Field in Name]?: unknown } | undefined {
    if (value === undefined) return undefined;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      return this.refuse(`${option} is an object with ${listed(names)}, not ${shownValue(value)}`);
    }
    this.names(`${option}.`, value, names);
    return value;
  }

  /** `within` stands before the names: `retries.`, or nothing. */
  names(within: string, value: object, names: readonly string[]): void {
    for (const name of Object.keys(value)) {
      if (names.includes(name)) continue;
      this.refuse(`there is no option ${JSON.stringify(within + name)}; there are: ${listed(names)}`);
    }
  }

  /** One that must be there. */
  required(option: string, value: unknown): boolean {
    if (value !== undefined) return true;
    this.refuse(`${option} is missing`);
    return false;
  }

  refuse(problem: string): undefined {
    this.problems.push(problem);
    return undefined;
  }
}
