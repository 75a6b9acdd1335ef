/**
 * The processes that a benchmark starts, and that end with it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { call } from './calls.ts';

/** Those that run: none may outlive the harness, however it ends. */
const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130));

export class Child {
  readonly #process: ChildProcess;

  private constructor(process: ChildProcess) {
    this.#process = process;
  }

  /** Runs Node with `flags`; resolves with the first of its output that `ready` accepts. */
  static async start(flags: string[], ready: RegExp): Promise<{ child: Child; match: RegExpExecArray }> {
    const child = spawn(process.execPath, flags, { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] });
    running.add(child);
    child.on('exit', () => running.delete(child));
    const match = await new Promise<RegExpExecArray>((resolve, reject) => {
      let output = '';
      child.stdout?.setEncoding('utf8').on('data', (text: string) => {
        output += text;
        const found = ready.exec(output);
        if (found) resolve(found);
      });
      child.on('exit', (code) => reject(new Error(`${flags.join(' ')} ended with ${code}: ${output}`)));
    });
    child.stdout?.removeAllListeners('data').on('data', (text: string) => process.stderr.write(text));
    return { child: new Child(child), match };
  }

  get pid(): number {
    return this.#process.pid as number;
  }

  call<T>(name: string, argument?: unknown): Promise<T> {
    return call(this.#process, name, argument);
  }

  /** Resolves when it has ended. */
  async stop(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    this.#process.kill('SIGTERM');
    await once(this.#process, 'exit');
  }
}
