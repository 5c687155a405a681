/**
 * Renews the hashes of the stored results after a change to how they are made: `node src/results/renew.ts CHECKOUT`, with a
 * checkout of the code that wrote them, and the data of both (`data.ts`). A result is renewed where that code says that it is
 * the result of its configuration. What differs between the configurations of both is listed, and for the caller to judge.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';

interface Known {
  readonly file: string;
  readonly hash: string;
  /** Every leaf of the configuration as JSON, by dotted key. */
  readonly keys: Readonly<Record<string, string>>;
}

/** Runs in a checkout, with its own code. */
const LIST = `
const { globSync } = await import('node:fs');
const load = (file) => import(process.cwd() + '/packages/core/src/' + file);
const { jobsOf } = await load('compare/jobs.ts').catch(() => load('jobs.ts'));
const { loadComparison } = await load('compare/definition.ts');
const jobs = [];
for (const file of globSync('recipes/mini/comparisons/*.yaml').sort()) {
  const comparison = loadComparison(file);
  const { sampled, seeds } = comparison;
  for (const { run, seed, file, hash, config } of await jobsOf(comparison)) {
    jobs.push({ run, file, hash, config, sampled: seed === seeds[0] ? sampled : undefined });
  }
}
console.log(JSON.stringify(jobs));`;

interface Listed extends Pick<Known, 'file' | 'hash'> {
  readonly run: string;
  readonly config: object;
  readonly sampled?: { readonly answers: number; readonly data: readonly string[] };
}

const sha256 = (content: unknown): string => createHash('sha256').update(JSON.stringify(content)).digest('hex');

function leaves(values: object, prefix = ''): [string, string][] {
  return Object.entries(values).flatMap(([key, value]: [string, unknown]) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? leaves(value, `${prefix}${key}.`)
      : [[prefix + key, JSON.stringify(value)] as [string, string]],
  );
}

/** The results of a checkout's comparisons, by file. */
function knownTo(checkout: string): Map<string, Known> {
  const options = { cwd: checkout, maxBuffer: 1 << 28, encoding: 'utf8' } as const;
  const listed = JSON.parse(
    execFileSync(process.execPath, ['--input-type=module', '--eval', LIST], options),
  ) as Listed[];
  return new Map(
    listed.flatMap(({ run, file: absolute, hash, config, sampled }): [string, Known][] => {
      const file = relative(checkout, absolute);
      const keys = Object.fromEntries(leaves(config).map(([key, value]) => [key, value.replace(checkout, '.')]));
      const many = file.replace(/[^/]+$/, `${run}-sampled.json`);
      const known = { file, hash, keys };
      return [
        [file, known],
        ...(sampled
          ? [[many, { ...known, file: many, hash: sha256([hash, sampled.answers, sampled.data]) }] as const]
          : []),
      ] as [string, Known][];
    }),
  );
}

const here = resolve(import.meta.dirname, '../../../..');
const [checkout] = process.argv.slice(2);
if (checkout === undefined) throw new Error('name a checkout of the code that wrote the results');
const before = knownTo(resolve(checkout));
const changes = new Map<string, string[]>();
let renewed = 0;
for (const { file, hash, keys } of knownTo(here).values()) {
  const stored = join(here, file);
  const old = before.get(file);
  if (!old || !existsSync(stored)) continue;
  const text = readFileSync(stored, 'utf8');
  const { hash: found } = JSON.parse(text) as { hash: string };
  if (found !== old.hash) {
    console.log(`${file}: ${found === hash ? 'is renewed already' : 'is not that of the checkout'}`);
    continue;
  }
  for (const key of new Set([...Object.keys(old.keys), ...Object.keys(keys)])) {
    if (old.keys[key] === keys[key]) continue;
    const change = `${key}: ${old.keys[key] ?? 'not there'} -> ${keys[key] ?? 'not there'}`;
    changes.set(change, [...(changes.get(change) ?? []), file]);
  }
  writeFileSync(stored, text.replace(found, hash));
  renewed++;
}
for (const [change, files] of changes) {
  const all =
    files.length === renewed ? 'all' : files.map((file) => file.replace('recipes/mini/results/', '')).join(' ');
  console.log(`${change}\n  ${all}`);
}
console.log(`${renewed} results renewed`);
