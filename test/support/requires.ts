/**
 * What a test needs of the machine. It is passed over, with a word, where that is missing; `SPYGLASS_REQUIRE_ALL=1`, as the
 * checks of the project run it, makes it fail instead.
 */
import { execFileSync } from 'node:child_process';
import type { TestContext } from 'vitest';

/** Passes the test over unless `command` ends well. */
export function requireCommand(context: TestContext, command: string, args: string[]): void {
  try {
    execFileSync(command, args, { stdio: 'pipe' });
  } catch (error) {
    const what = `${[command, ...args].join(' ')} does not work here: ${(error as Error).message.trim()}`;
    if (process.env.SPYGLASS_REQUIRE_ALL === '1') throw new Error(what);
    context.skip(what);
  }
}
