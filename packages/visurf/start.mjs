// @ts-check
/** What the launcher of a checkout runs: an older Node.js, which does not read TypeScript, is told what to do. */
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

if (Number(process.versions.node.split('.')[0]) < 24) {
  const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
  console.error(`visurf is not set up yet: run \`make setup\` in ${root}`);
  process.exitCode = 2;
} else await import('./src/main.ts');
