/**
 * Which scopes an admin has paused or drained, as they are asked about at each start.
 */
import type { EngineLog, Mode, Scope, ScopeMode } from '../../engine.ts';
import type { ServedTasks } from '../../servedTasks.ts';

export class Modes {
  readonly #log: EngineLog;
  readonly #served: ServedTasks;
  all: readonly ScopeMode[] = [];

  constructor(log: EngineLog, served: ServedTasks) {
    this.#log = log;
    this.#served = served;
  }

  /** Whether that is something new; then it is logged. */
  replace(modes: readonly ScopeMode[]): boolean {
    const before = this.all.map(modeText);
    const inForce = modes.map(modeText);
    if (inForce.join() === before.join()) return false;
    this.all = modes;
    this.#log('info', `An admin has decided: ${inForce.join(', ') || 'everything runs'}`);
    for (const mode of modes) if (!before.includes(modeText(mode))) this.#warnOfMissing(mode);
    return true;
  }

  /** A name that was misspelt would otherwise hold up nothing, and nobody would know. */
  #warnOfMissing({ scope, mode }: ScopeMode): void {
    const missing = this.#served.missing(scope);
    if (missing === undefined) return;
    const end = `spyglass-tasks ${modeText({ scope, mode: 'resume' })}`;
    this.#log(
      'warn',
      `"${modeText({ scope, mode })}" is in force for what this server does not have. ${missing} To end it: ${end}`,
      { mode, state: scope.state, task: scope.task },
    );
  }

  isPaused(state: string, task: string): boolean {
    return this.#has('pause', state, task);
  }

  isDrained(state: string, task: string): boolean {
    return this.#has('drain', state, task);
  }

  /** Mostly there are none. */
  #has(mode: Mode, state: string, task: string): boolean {
    return this.all.some(
      (each) =>
        each.mode === mode &&
        each.scope.state === state &&
        (each.scope.task === undefined || each.scope.task === task),
    );
  }
}

/** As the command line has it. */
function modeText({ scope, mode }: { scope: Scope; mode: Mode | 'resume' }): string {
  return `${mode} ${scope.state}${scope.task === undefined ? '' : ` ${scope.task}`}`;
}
