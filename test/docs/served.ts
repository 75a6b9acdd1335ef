/**
 * A project as the documents speak of it: an empty folder with this package installed, and a server that serves from it. It
 * needs `npm run build`.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { onTestFinished } from 'vitest';
import { makeProject } from '../fixtures/project.ts';
import { Shell } from './commands.ts';
import { checkout } from './document.ts';

/** Where the server is, in the documents. */
const shownAddress = 'localhost:8000';

export interface Served {
  root: string;
  /** Such as `localhost:40123`. */
  address: string;
  /** Where the commands of a document are run: what it calls `localhost:8000` is this server. */
  shell: Shell;
}

/** Makes the project, with these files in it. It is gone when the test ends. */
export function project(files: Record<string, string>): { root: string; environment: NodeJS.ProcessEnv } {
  const packages = ['spyglass-tasks', 'zod', 'ws', 'wscat', 'tsx'];
  const made = makeProject({}, { type: 'module', packages });
  onTestFinished(() => made[Symbol.dispose]());
  const bin = join(made.root, 'node_modules/.bin');
  mkdirSync(bin);
  for (const name of ['wscat', 'tsx'])
    symlinkSync(join(checkout, 'node_modules/.bin', name), join(bin, name));
  // npm makes a package's commands executable as it installs them; the build does not.
  const command = `#!/bin/sh\nexec ${process.execPath} ${join(checkout, 'dist/cli.js')} "$@"\n`;
  writeFileSync(join(bin, 'spyglass-tasks'), command, { mode: 0o755 });
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(made.root, path)), { recursive: true });
    writeFileSync(join(made.root, path), text);
  }
  return { root: made.root, environment: environment() };
}

/** Without what would set the server up otherwise, colour what is compared, or tell npx that it is in another project. */
function environment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(SPYGLASS_.*|PORT|NODE_OPTIONS|VITEST.*|FORCE_COLOR|npm_.*)$/.test(name),
  );
  // Whatever else npm has to say (a new version, a setting that it does not know) is not what the documents show.
  return { ...Object.fromEntries(kept), NO_COLOR: '1', npm_config_loglevel: 'error' };
}

/** Serves `folder` from a project with these files. Its data is where it is when nobody says so. */
export async function serve(folder: string, files: Record<string, string> = {}): Promise<Served> {
  const { root, environment } = project(files);
  const { address } = await startServer(root, [folder, '--port', '0'], environment);
  // Files speak of the server as well.
  for (const [path, text] of Object.entries(files))
    writeFileSync(join(root, path), text.replaceAll(shownAddress, address));
  const shell = new Shell({ cwd: root, environment, replace: [[shownAddress, address]] });
  return { root, address, shell };
}

/** Starts `spyglass-tasks serve` and waits until it is ready. It is stopped, and waited for, when the test ends. */
export async function startServer(
  cwd: string,
  flags: string[],
  environment: NodeJS.ProcessEnv,
): Promise<{ child: ChildProcess; address: string; exited: Promise<number | null> }> {
  const child = spawn(
    process.execPath,
    [join(checkout, 'dist/cli.js'), 'serve', ...flags, '--log-format', 'json'],
    { cwd, env: environment, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const exited = new Promise<number | null>((resolve) => child.once('close', resolve));
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  let text = '';
  const address = await new Promise<string>((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      const [, found] = /"message":"Ready","url":"http:\/\/([^"]+)"/.exec(text) ?? [];
      if (found) resolve(found);
    });
    exited.then(() => reject(new Error(`The server ended: ${text}`)));
  });
  return { child, address, exited };
}
