/** Which code a process runs, to be compared with that of others: other code may exchange other things, or in another order. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const require = createRequire(import.meta.url);
const { version } = require('../../package.json') as { version: string };
/** Of this package, and of the library below it. */
const FOLDERS = [path.join(import.meta.dirname, '..'), path.dirname(require.resolve('@visurf/torch'))];

const isCode = (file: string): boolean => /\.m?[jt]s$/.test(file) && !/\.(test|d)\.\w+$/.test(file);

/** The version, and what tells two checkouts of it apart: the beginning of a hash over every file of code. */
export function codePrint(folders: readonly string[] = FOLDERS): string {
  const hash = createHash('sha256');
  for (const folder of folders) {
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
    for (const file of files.filter(isCode).sort()) {
      hash.update(`${file}\0`).update(readFileSync(path.join(folder, file))).update('\0'); // prettier-ignore
    }
  }
  return `${version} (${hash.digest('hex').slice(0, 8)})`;
}
