/**
 * Loaded through tsx by `taskFile.ts`, so that the `import()` below goes through tsx as well: all task files then share one
 * module graph, with one copy of their helpers, instead of having one each.
 */
export function importModule(url: string): Promise<object> {
  return import(url);
}
