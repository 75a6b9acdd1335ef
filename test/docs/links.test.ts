import { existsSync, readdirSync, statSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { expect, test } from 'vitest';
import { checkout, Document } from './document.ts';

const folders = readdirSync(join(checkout, 'tasks')).map((name) => `tasks/${name}/README.md`);
const paths = [
  'README.md',
  'CHANGELOG.md',
  'tasks/README.md',
  ...folders,
  ...readdirSync(join(checkout, 'docs')).map((name) => `docs/${name}`),
].filter((path) => path.endsWith('.md') && existsSync(join(checkout, path)));

test.for(paths)('Every link of %s within the repository leads somewhere', (path) => {
  const document = new Document(path);
  const broken = document.links.filter((link) => !/^[a-z]+:/.test(link) && !leadsSomewhere(document, link));
  expect(broken).toEqual([]);
});

/** To a file or folder, and when it names a heading, to that. */
function leadsSomewhere(from: Document, link: string): boolean {
  const [file, heading] = link.split('#') as [string, string?];
  const path = file === '' ? from.path : normalize(join(dirname(from.path), file));
  if (!existsSync(join(checkout, path))) return false;
  if (heading === undefined) return true;
  return statSync(join(checkout, path)).isFile() && new Document(path).anchors.includes(heading);
}
