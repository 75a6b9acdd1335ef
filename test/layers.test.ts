import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const source = fileURLToPath(new URL('../src/', import.meta.url));

/** From the bottom to the top; a folder stands for all that is in it. docs/internals.md draws the same picture. */
const layers = [
  [
    ...['clock.ts', 'errors.ts', 'json.ts', 'jsonItems.ts', 'jsonSchema.ts', 'logging.ts', 'run.ts'],
    ...['schema.ts', 'token.ts'],
  ],
  [
    ...[
      'admin.ts',
      'config.ts',
      'cron.ts',
      'engine.ts',
      'optionCheck.ts',
      'policy.ts',
      'registry.ts',
      'servedTasks.ts',
      'stack.ts',
      'state.ts',
      'task.ts',
      'taskError.ts',
      'taskKey.ts',
      'taskOptions.ts',
      'taskPolicy.ts',
      'version.ts',
    ],
    ...['importer.ts', 'packageHook.ts', 'taskFile.ts'],
  ],
  [
    ...['channel.ts', 'clientStream.ts', 'message.ts', 'positions.ts', 'runStream.ts', 'subscribers.ts'],
    'waiters.ts',
    ...['attempt.ts', 'currentRun.ts', 'executor.ts', 'taskContext.ts', 'timeLimits.ts'],
    ...['loopWatch.ts', 'runLog.ts', 'runTime.ts'],
    ...['isolatedAttempt.ts', 'isolation.ts', 'mainLine.ts', 'threadAttempt.ts', 'threadLine.ts'],
    ...['heapWatch.ts', 'threadInspector.ts'],
    'engines/',
  ],
  ['auth.ts', 'guard.ts', 'openapi/', 'openapi.ts', 'routes/'],
  ['http.ts', 'listen.ts', 'server.ts'],
  [
    'adminCommand.ts',
    'cancelCommand.ts',
    'cli.ts',
    'index.ts',
    'modeCommand.ts',
    'serve.ts',
    'serveCommand.ts',
    'tokenCommand.ts',
  ],
];

const files = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((name) =>
  name.endsWith('.ts'),
);

function layerOf(file: string): number {
  return layers.findIndex((layer) =>
    layer.some((name) => file === name || (name.endsWith('/') && file.startsWith(name))),
  );
}

/** The files that a file imports, types too: what only a type ties together is tied together. */
function importsOf(file: string): string[] {
  const text = readFileSync(join(source, file), 'utf8');
  return [...text.matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)].map(([, to]) =>
    relative(source, join(source, dirname(file), to as string)),
  );
}

test('every source file has a layer', () => {
  expect(files.filter((file) => layerOf(file) === -1)).toEqual([]);
});

test('no file imports from a layer above its own', () => {
  const upwards = files.flatMap((file) =>
    importsOf(file)
      .filter((imported) => layerOf(imported) > layerOf(file))
      .map((imported) => `${file} -> ${imported}`),
  );
  expect(upwards).toEqual([]);
});

test('no import goes in a circle', () => {
  const done = new Set<string>();
  const circles: string[] = [];
  const walk = (file: string, path: string[]): void => {
    if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(' -> '));
    else if (!done.has(file)) for (const imported of importsOf(file)) walk(imported, [...path, file]);
    done.add(file);
  };
  for (const file of files) walk(file, []);
  expect(circles).toEqual([]);
});

test('only engines/open.ts names an engine', () => {
  const naming = files.filter(
    (file) => !file.startsWith('engines/') && importsOf(file).some((to) => /^engines\/\w+\//.test(to)),
  );
  expect(naming).toEqual([]);
});
