/**
 * Names in the document: unique, and made of characters that every generated client can use.
 */

/** Hands out each name once: a second caller who wants it gets it with a number behind it. */
export function uniqueNames(): (wanted: string) => string {
  const taken = new Set<string>();
  return (wanted) => {
    let name = wanted;
    for (let n = 2; taken.has(name); n++) name = `${wanted}_${n}`;
    taken.add(name);
    return name;
  };
}

/** `text` with whatever cannot stand in an identifier of a common programming language replaced. */
export function identifier(text: string): string {
  return text.replace(/[^A-Za-z0-9_]+/g, '_');
}
