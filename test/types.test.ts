import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

const folder = resolve(import.meta.dirname, 'fixtures/types');
const fixture = (name: string) => resolve(folder, name);

/** Compiles the fixtures as an author's strict project would, and gives what the compiler says: line -> message. */
function compile(experimentalDecorators: boolean): Map<string, Map<number, string>> {
  const program = ts.createProgram(['fine.ts', 'mistakes.ts', 'bare.ts'].map(fixture), {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    lib: ['lib.es2023.d.ts'],
    types: ['node'],
    strict: true,
    exactOptionalPropertyTypes: true,
    noImplicitOverride: true,
    skipLibCheck: true,
    noEmit: true,
    allowImportingTsExtensions: true,
    experimentalDecorators,
  });
  const found = new Map<string, Map<number, string>>();
  for (const { file, start, messageText } of ts.getPreEmitDiagnostics(program)) {
    const line = file && start !== undefined ? file.getLineAndCharacterOfPosition(start).line + 1 : 0;
    const lines = found.get(file?.fileName ?? '') ?? new Map<number, string>();
    found.set(file?.fileName ?? '', lines);
    lines.set(
      line,
      [lines.get(line), ts.flattenDiagnosticMessageText(messageText, '\n')].filter(Boolean).join('\n'),
    );
  }
  return found;
}

/** The lines of a fixture that say `refused: <reason>`: line -> reason. */
function refusals(name: string): Map<number, string> {
  const lines = readFileSync(fixture(name), 'utf8').split('\n');
  return new Map(
    lines.flatMap((line, index) => {
      const [, reason] = /\/\/ refused:? ?(.*)$/.exec(line) ?? [];
      return reason === undefined ? [] : [[index + 1, reason] as const];
    }),
  );
}

describe.each([
  ['stage-3 decorators', false],
  ['experimentalDecorators', true],
])('under %s the compiler', (_, experimentalDecorators) => {
  const found = compile(experimentalDecorators);

  it('accepts every kind of task, and gives its arguments the types of the schema', () => {
    expect(found.get(fixture('fine.ts'))).toBeUndefined();
  });

  it('refuses what is not a task with the reason, in the line of the mistake, and nothing else', () => {
    const expected = refusals('mistakes.ts');
    const messages = found.get(fixture('mistakes.ts'));
    expect([...(messages?.keys() ?? [])].sort((a, b) => a - b)).toEqual([...expected.keys()]);
    for (const [line, reason] of expected) expect(messages?.get(line), `line ${line}`).toContain(reason);
  });

  it('says the reason in its first lines', () => {
    const messages = found.get(fixture('mistakes.ts')) ?? [];
    const long = [...messages].filter(([, message]) => message.split('\n').length > 5);
    expect(long).toEqual([]);
  });

  it('refuses a decorator without its parentheses', () => {
    const messages = found.get(fixture('bare.ts'));
    expect([...(messages?.keys() ?? [])]).toEqual([...refusals('bare.ts').keys()]);
    const [message] = messages?.values() ?? [];
    expect(message).toContain(
      experimentalDecorators
        ? "Did you mean to call it first and write '@monitoredBackgroundTask()'?"
        : "has no properties in common with type 'TaskOptions<undefined>'",
    );
  });

  it('sees nothing wrong in the package itself', () => {
    expect([...found.keys()].sort()).toEqual([fixture('bare.ts'), fixture('mistakes.ts')].sort());
  });
});
