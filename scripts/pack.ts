/**
 * Packs what is published: built JavaScript and declarations, because Node.js does not strip types under node_modules.
 *
 *   node scripts/pack.ts [FOLDER] [--own]    writes one tarball per package, `dist/` unless said
 *
 * Beside them, the addons that are compiled for machines like this one (prebuild.ts); `--own`: only that of this checkout.
 *
 * A packed manifest is the checkout's with `dist` for `src` in `exports` and `bin`, and with the `scripts` of its
 * `publishConfig`, which are for users of the package alone.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { buildPage } from '../packages/studio/src/page.ts';
import { PREBUILT, prebuild } from './prebuild.ts';

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly exports: Readonly<Record<string, string>>;
  readonly bin?: Readonly<Record<string, string>>;
  readonly files: readonly string[];
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly publishConfig: { readonly scripts?: Readonly<Record<string, string>> };
}

interface Package {
  /** Relative to the root. */
  readonly folder: string;
  readonly manifest: Manifest;
}

const root = resolve(import.meta.dirname, '..');
const { values, positionals } = parseArgs({ allowPositionals: true, options: { own: { type: 'boolean' } } });
const output = resolve(positionals[0] ?? join(root, 'dist'));
const work = join(output, 'work');
const json = (value: unknown): string => `${JSON.stringify(value, undefined, 2)}\n`;
const readJson = (file: string): unknown => JSON.parse(readFileSync(join(root, file), 'utf8'));

const { devDependencies } = readJson('package.json') as { devDependencies: Record<string, string> };
const nodeTypes = devDependencies['@types/node'];

/** The package `visurf` and those of the checkout that it needs. */
function published(): Package[] {
  const { workspaces } = readJson('package.json') as { workspaces: string[] };
  const files = workspaces.flatMap((pattern) => globSync(`${pattern}/package.json`, { cwd: root }));
  const all = files.map((file) => ({ folder: dirname(file), manifest: readJson(file) as Manifest }));
  const found = new Set<Package>();
  const visit = (name: string): void => {
    const each = all.find(({ manifest }) => manifest.name === name);
    if (!each || found.has(each)) return;
    found.add(each);
    Object.keys(each.manifest.dependencies ?? {}).forEach(visit);
  };
  visit('visurf');
  return [...found];
}

/** Compiles the sources of all packages at once to `work/js/FOLDER/src`. */
function compile(packages: readonly Package[]): void {
  const config = {
    extends: join(root, 'tsconfig.json'),
    compilerOptions: {
      ...{ target: 'esnext', noEmit: false, noEmitOnError: true, declaration: true },
      ...{ rewriteRelativeImportExtensions: true, rootDir: root, outDir: join(work, 'js') },
      typeRoots: [join(root, 'node_modules/@types')],
    },
    include: packages.map(({ folder }) => join(root, folder, 'src')),
    exclude: ['*.test.ts', 'testkit.ts', 'testing'].map((name) => join(root, '**', name)),
  };
  writeFileSync(join(work, 'tsconfig.json'), json(config));
  run(join(root, 'node_modules/.bin/tsc'), '-p', join(work, 'tsconfig.json'));
}

/** Puts together what the tarball will hold. @returns the folder */
function stage({ folder, manifest }: Package): string {
  const target = join(work, 'packages', folder);
  const built = join(target, 'dist');
  cpSync(join(work, 'js', folder, 'src'), built, { recursive: true });
  for (const file of globSync('**/*.d.ts', { cwd: built })) nameDeclarations(join(built, file));
  for (const source of Object.values(manifest.exports)) {
    nameLibraries(join(target, source.replace('./src/', './dist/').replace(/\.ts$/, '.d.ts')));
  }
  if (manifest.name === '@visurf/studio') cpSync(page, join(built, 'page'), { recursive: true });
  for (const name of manifest.files.filter((each) => each !== 'dist')) {
    cpSync(join(root, folder, name), join(target, name), { recursive: true });
  }
  cpSync(join(root, 'LICENSE'), join(target, 'LICENSE'));
  cpSync(join(root, 'docs/packages.md'), join(target, 'README.md'));
  writeFileSync(join(target, 'package.json'), json(packedManifest(manifest)));
  return target;
}

function packedManifest(manifest: Manifest): object {
  const { scripts, ...publishConfig } = manifest.publishConfig;
  const built = (source: string, extension: string): string =>
    source.replace('./src/', './dist/').replace(/\.ts$/, extension);
  const exports = Object.entries(manifest.exports).map(([name, source]) => [
    name,
    { types: built(source, '.d.ts'), default: built(source, '.js') },
  ]);
  const bin = Object.entries(manifest.bin ?? {}).map(([name, source]) => [name, built(source, '.js')]);
  return {
    ...manifest,
    exports: Object.fromEntries(exports) as object,
    // For compilers that do not look at exports, as TypeScript 5 has it in commonjs projects.
    ...(manifest.exports['.'] && {
      main: built(manifest.exports['.'], '.js'),
      types: built(manifest.exports['.'], '.d.ts'),
    }),
    ...(manifest.bin && { bin: Object.fromEntries(bin) as object }),
    ...(scripts && { scripts }),
    ...(manifest.name === '@visurf/torch' && { optionalDependencies: { [PREBUILT]: manifest.version } }),
    // Declarations name its types.
    dependencies: { ...manifest.dependencies, '@types/node': nodeTypes },
    publishConfig,
    devDependencies: undefined,
  };
}

/** The package of prebuilt addons, which npm leaves out on machines of another kind. @returns the folder */
async function stagePrebuilt({ name, version }: Manifest): Promise<string> {
  const target = join(work, 'packages', 'prebuilt');
  mkdirSync(target, { recursive: true });
  const minors = await prebuild(target, values.own ?? false);
  const manifest = {
    ...{ name: PREBUILT, version, license: 'Apache-2.0', publishConfig: { access: 'public' } },
    description: `The addon of ${name} for libtorch ${minors.join(', ')}`,
    ...{ os: [process.platform], cpu: [process.arch], ...(process.platform === 'linux' && { libc: ['glibc'] }) },
    files: ['*'],
  };
  writeFileSync(join(target, 'package.json'), json(manifest));
  cpSync(join(root, 'LICENSE'), join(target, 'LICENSE'));
  return target;
}

/** The compiler rewrites the extensions of imports in JavaScript, and leaves those in declarations. */
function nameDeclarations(file: string): void {
  const text = readFileSync(file, 'utf8');
  writeFileSync(file, text.replaceAll(/((?:from |import\(|import )["']\.{1,2}\/[^"']+)\.ts(["'])/g, '$1.js$2'));
}

/** What declarations name beside each other's: a project without settings of its own knows it, too. */
function nameLibraries(file: string): void {
  const references = '/// <reference lib="esnext" />\n/// <reference types="node" />\n';
  writeFileSync(file, references + readFileSync(file, 'utf8'));
}

/** Runs a program; what it says is shown where it fails, and then this one ends, too. */
function run(program: string, ...args: readonly string[]): void {
  const { status, error, stdout, stderr } = spawnSync(program, args, { cwd: root, encoding: 'utf8' });
  if (status === 0) return;
  console.error(error?.message ?? `${stdout}${stderr}`);
  process.exit(1);
}

rmSync(work, { recursive: true, force: true });
mkdirSync(work, { recursive: true });
const packages = published();
const page = await buildPage(join(work, 'page'));
compile(packages);
const torch = packages.find(({ manifest }) => manifest.name === '@visurf/torch')!;
const folders = [...packages.map(stage), await stagePrebuilt(torch.manifest)];
run('npm', 'pack', ...folders, '--pack-destination', output);
rmSync(work, { recursive: true });
for (const file of globSync('*.tgz', { cwd: output }).sort()) console.log(join(output, file));
