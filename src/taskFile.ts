/**
 * How a task file becomes a module, and how what can go wrong with that becomes a sentence.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, extname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { sharePackages } from './packageHook.ts';
import { placeWithin } from './stack.ts';

export type ImportTaskFile = (file: string) => Promise<object>;

/**
 * An import for the task files of a folder: `.js` files as Node does it, `.ts` files through tsx with the nearest
 * `tsconfig.json` of the folder. tsx is loaded when the first `.ts` file is.
 *
 * A `.ts` file that is CommonJS by its `package.json` (what `npm init -y` makes) goes through tsx's `require`, because its
 * `import` makes a `data:` URL of such a file, which then fills every stack of a run that fails.
 */
export function taskFileImport(folder: string): ImportTaskFile {
  const tsconfig = process.env.TSX_TSCONFIG_PATH ?? nearest(folder, 'tsconfig.json');
  let importModule: Promise<(url: string) => Promise<object>> | undefined;
  let requireModule: Promise<(file: string) => object> | undefined;
  return async (file) => {
    const url = pathToFileURL(file).href;
    if (!file.endsWith('.ts')) return import(url);
    if (isModule(file)) {
      importModule ??= tsxImport(tsconfig);
      return (await importModule)(url);
    }
    requireModule ??= tsxRequire(tsconfig);
    return (await requireModule)(file);
  };
}

async function tsxImport(tsconfig: string | undefined): Promise<(url: string) => Promise<object>> {
  const { tsImport } = await import('tsx/esm/api');
  const importer = `./importer${extname(import.meta.url)}`;
  const options = { parentURL: import.meta.url, tsconfig: tsconfig ?? (false as const) };
  const { importModule } = await withTsconfig(tsconfig, () => tsImport(importer, options));
  sharePackages();
  return importModule;
}

async function tsxRequire(tsconfig: string | undefined): Promise<(file: string) => object> {
  const { register } = await import('tsx/cjs/api');
  const tsx = withTsconfig(tsconfig, () => register({ namespace: 'spyglass-tasks' }));
  return (file) => tsx.require(file, import.meta.url);
}

/** The CommonJS half of tsx takes its tsconfig from the environment alone, and reads it as it is registered. */
function withTsconfig<T>(tsconfig: string | undefined, register: () => T): T {
  const before = process.env.TSX_TSCONFIG_PATH;
  if (tsconfig !== undefined) process.env.TSX_TSCONFIG_PATH = tsconfig;
  try {
    return register();
  } finally {
    if (before === undefined) delete process.env.TSX_TSCONFIG_PATH;
  }
}

/** Whether Node takes a `.ts` or `.js` file for an ES module: its nearest package says so. */
function isModule(file: string): boolean {
  const manifest = nearest(dirname(file), 'package.json');
  try {
    return manifest !== undefined && JSON.parse(readFileSync(manifest, 'utf8')).type === 'module';
  } catch {
    return false;
  }
}

function nearest(folder: string, name: string): string | undefined {
  for (let at = folder; ; at = dirname(at)) {
    if (existsSync(join(at, name))) return join(at, name);
    if (at === dirname(at)) return undefined;
  }
}

/** Why `file` could not be imported: the first line of it that helps, with the place in the file. */
export function importFailure(file: string, error: unknown): { reason: string; place: string | null } {
  if (!(error instanceof Error))
    return { reason: `it threw ${String(error)} while it was loaded`, place: null };

  const compiled = /^(.+?):(\d+):\d+: ERROR: (.+)$/m.exec(error.message);
  if (compiled) return { reason: `syntax error: ${compiled[3]}`, place: `${compiled[1]}:${compiled[2]}` };

  const missing = /^Cannot find (?:package|module) '((?:@[^/']+\/)?[^@./'][^/']*)/.exec(error.message)?.[1];
  if (missing !== undefined) {
    return {
      reason: `there is no package ${JSON.stringify(missing)} here: run npm install ${missing}`,
      place: null,
    };
  }

  const firstLine = error.message.split('\n')[0] ?? '';
  if (error.name === 'SyntaxError') {
    const [line, code = ''] = file.endsWith('.js') ? syntaxErrorLine(file) : [];
    const hint = code.includes('@') ? ' (decorators need a .ts file; without them there is defineState)' : '';
    return { reason: `syntax error: ${firstLine}${hint}`, place: line ? `${file}:${line}` : null };
  }
  const name = error.name === 'Error' ? '' : `${error.name}: `;
  return { reason: `it failed while it was loaded: ${name}${firstLine}`, place: placeWithin(file, error) };
}

/** Node keeps the place of a syntax error from whoever catches it, and prints it: the line's number and the line. */
function syntaxErrorLine(file: string): [line?: string, code?: string] {
  const { stderr } = spawnSync(process.execPath, ['--check', file], { encoding: 'utf8' });
  return (/:(\d+)\n(.*)\n/.exec(stderr)?.slice(1, 3) as [string, string] | undefined) ?? [];
}
