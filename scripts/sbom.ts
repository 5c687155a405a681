/**
 * Writes what an installation consists of as CycloneDX 1.6 (JSON): every npm package of the lock file with its version,
 * hash and licence, and what set-up fetches beside them: `make sbom`.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pinned } from '../packages/torch/scripts/fetch.mjs';

const root = join(import.meta.dirname, '..');

interface Locked {
  readonly version?: string;
  readonly integrity?: string;
  readonly license?: string;
  readonly dev?: true;
  readonly optional?: true;
  readonly link?: true;
}

interface Component {
  readonly type: 'library' | 'application';
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly scope: 'required' | 'optional' | 'excluded';
  readonly hashes: readonly { readonly alg: string; readonly content: string }[] | undefined;
  readonly licenses: readonly { readonly expression: string }[];
}

/** `sha512-BASE64`, as CycloneDX has it. */
function hashesOf(integrity: string | undefined): Component['hashes'] {
  const [algorithm, content] = integrity?.split('-', 2) ?? [];
  if (algorithm === undefined || content === undefined) return undefined;
  return [{ alg: algorithm.replace('sha', 'SHA-'), content: Buffer.from(content, 'base64').toString('hex') }];
}

const lockOf = (folder: string): [string, Locked][] => {
  const text = readFileSync(join(root, folder, 'package-lock.json'), 'utf8');
  return Object.entries((JSON.parse(text) as { packages: Record<string, Locked> }).packages);
};

/** Packages whose lock entry names no licence: theirs, from what was installed. */
function licenceOf(place: string, { license }: Locked): string {
  if (license !== undefined) return license;
  try {
    const { license: own } = JSON.parse(readFileSync(join(root, place, 'package.json'), 'utf8')) as {
      license?: string;
    };
    return own ?? 'NOASSERTION';
  } catch {
    return 'NOASSERTION';
  }
}

// Node.js is a package of its own, for machines without one.
const npm = [...lockOf(''), ...lockOf('scripts/node')].flatMap(([place, each]): Component[] => {
  const { version, integrity, dev, optional, link } = each;
  // What lies in this repository is no package of others.
  if (!place.includes('node_modules/') || link || version === undefined || integrity === undefined) return [];
  const name = place.slice(place.lastIndexOf('node_modules/') + 'node_modules/'.length);
  return [
    {
      ...{ type: 'library', name, version, purl: `pkg:npm/${name.replace('@', '%40')}@${version}` },
      scope: dev ? 'excluded' : optional ? 'optional' : 'required',
      hashes: hashesOf(integrity),
      licenses: [{ expression: licenceOf(place, each) }],
    },
  ];
});

/** What set-up fetches from PyPI where a machine lacks it: entries with a hash for every platform, and a licence. */
const python = [...pinned('torch'), ...pinned('cmake'), ...pinned('ninja')].map((entry): Component => {
  const [, name = '', release = ''] = /^([\w-]+)==(\S+)/.exec(entry) ?? [];
  const hashes = [...entry.matchAll(/sha256:(\w+)/g)].map(([, content]) => ({ alg: 'SHA-256', content: content! }));
  const licence = /# (.+)$/m.exec(entry)?.[1] ?? 'NOASSERTION';
  return {
    ...{ type: 'library', name, version: release, purl: `pkg:pypi/${name}@${release}`, scope: 'optional', hashes },
    licenses: [{ expression: licence }],
  };
});

const { version } = JSON.parse(readFileSync(join(root, 'packages/visurf/package.json'), 'utf8')) as { version: string };
const bill = {
  ...{ bomFormat: 'CycloneDX', specVersion: '1.6', version: 1 },
  metadata: { component: { type: 'application', name: 'visurf', version, licenses: [{ expression: 'Apache-2.0' }] } },
  components: [...npm, ...python],
};

const unknown = bill.components
  .filter(({ licenses }) => licenses[0]?.expression === 'NOASSERTION')
  .map(({ name }) => name);
mkdirSync(join(root, 'dist'), { recursive: true });
writeFileSync(join(root, 'dist/sbom.json'), `${JSON.stringify(bill, null, 1)}\n`);
const counts = Map.groupBy(bill.components, ({ licenses }) => licenses[0]!.expression);
console.log(`dist/sbom.json: ${bill.components.length} components`);
for (const [licence, all] of [...counts].sort(([, a], [, b]) => b.length - a.length))
  console.log(`  ${licence}: ${all.length}`);
if (unknown.length > 0) console.log(`without a licence: ${unknown.join(', ')}`);
