/**
 * What `make pack` has made, tried as users have it: without a compiler, with every minor version of libtorch, with a
 * libtorch that `visurf setup` fetches, built from source, in the languages of TypeScript 5, 6 and 7, under older Node.js.
 *
 *   node scripts/pack-check.ts [PART...]     own, bare, versions, types, node, source; all unless said
 *
 * `own` and `types` fit what `pack.ts --own` makes, too. Downloads go to `.tools/pack-check` and stay there (about 3 GB):
 * libtorch, TypeScript, Node.js.
 */
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { pipInstall } from '../packages/torch/scripts/fetch.mjs';

const root = resolve(import.meta.dirname, '..');
const tools = join(root, '.tools/pack-check');
const node = process.execPath;
const tinyModel = join(root, 'oracle/fixtures/tiny-qwen2_5-vl/model');
const tarballs = globSync('dist/*.tgz', { cwd: root }).map((file) => join(root, file));
if (tarballs.length === 0) throw new Error('dist/ is empty: run `make pack` first');

type Environment = Readonly<Record<string, string | undefined>>;

/** Runs a program, which must succeed unless it may fail. */
function run(cwd: string, environment: Environment, program: string, ...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { cwd, env: environment, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} (${status})\n${stdout}${stderr}`);
  return stdout + stderr;
}

/** What a program says that must fail. */
function refused(cwd: string, environment: Environment, program: string, ...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { cwd, env: environment, encoding: 'utf8' });
  if (status === 0) throw new Error(`${program} ${args.join(' ')} should have failed: ${stdout}`);
  return stderr;
}

function expectText(text: string, pattern: RegExp): void {
  if (!pattern.test(text)) throw new Error(`expected ${pattern}:\n${text}`);
}

const project = mkdtempSync(join(tmpdir(), 'visurf-packed-'));
const home = join(project, 'home');
const programs = join(project, 'programs');
const inherited = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => /^(PIP_|npm_config_|NODE_EXTRA_CA|.*_proxy$|SSL_)/i.test(name)),
);
/** A machine without a compiler and without torch. */
const bare: Environment = { ...inherited, HOME: home, PATH: programs };
const visurf = join(project, 'node_modules/.bin/visurf');

function install(): void {
  mkdirSync(programs);
  mkdirSync(home);
  for (const name of ['sh', 'env']) symlinkSync(`/usr/bin/${name}`, join(programs, name));
  symlinkSync(node, join(programs, 'node'));
  const python = run(root, process.env, 'python3', '-c', 'import sys; print(sys.executable)').trim();
  symlinkSync(python, join(programs, 'python3'));
  writeFileSync(join(project, 'package.json'), '{ "name": "project", "private": true }\n');
  const started = performance.now();
  // Install scripts are held back by newer versions of npm: nothing may depend on them.
  run(project, process.env, 'npm', 'install', '--ignore-scripts', '--no-audit', '--no-fund', ...tarballs);
  say('installed', started);
}

const say = (what: string, started: number): void =>
  console.log(`${what}: ${((performance.now() - started) / 1000).toFixed(0)} s`);

const ask = `const { generate, loadPolicy } = await import('visurf');
using policy = await loadPolicy(${JSON.stringify(tinyModel)});
const { tokens } = await generate(policy, { problem: 'x', images: [] }, { maxNewTokens: 8 });
console.log(JSON.stringify(tokens));`;

/** The command line, both kinds of modules, and a step. */
function works(environment: Environment): string {
  writeFileSync(join(project, 'ask.mjs'), ask);
  writeFileSync(join(project, 'ask.cjs'), `require('visurf'); (async () => { ${ask} })();`);
  writeFileSync(
    join(project, 'scenes.mjs'),
    `import { generateDataset } from '@visurf/mini-grounding';
    await generateDataset('data', { seed: 1, images: { train: 2, validation: 0, test: 0 } });`,
  );
  const doctor = run(project, environment, visurf, 'doctor');
  const said = run(project, environment, node, 'ask.mjs');
  if (run(project, environment, node, 'ask.cjs') !== said) throw new Error('commonjs says something else');
  if (!existsSync(join(project, 'data'))) run(project, environment, node, 'scenes.mjs');
  rmSync(join(project, 'run'), { recursive: true, force: true });
  const keys = [`model=${tinyModel}`, 'data.train=data/train.jsonl', 'steps=1', 'promptsPerStep=1', 'rollout.group=2'];
  run(project, environment, visurf, 'train', ...keys, 'rollout.maxNewTokens=4', 'output=run');
  return `${/libtorch +(\S+)/.exec(doctor)?.[1] ?? doctor}: ${said.trim()}`;
}

/** With the libtorch that the checkout was built for, and no compiler. */
function own(): void {
  const started = performance.now();
  say(`libtorch of the checkout, ${works({ ...bare, LIBTORCH: stamp().libtorch })}`, started);
}

/** Without anything, then with what set-up fetches. */
function setUp(): void {
  expectText(
    refused(project, bare, visurf, 'doctor') + refused(project, bare, node, '-e', "require('visurf')"),
    /npx visurf setup/,
  );
  const started = performance.now();
  expectText(run(project, bare, visurf, 'setup'), /with the prebuilt addon/);
  say(`libtorch, fetched: ${works(bare)}`, started);
}

/** Every libtorch that there is an addon for; those of other versions are the CPU's part of a build for CUDA. */
async function everyVersion(): Promise<void> {
  const lines = readFileSync(join(root, 'scripts/prebuilt-headers.txt'), 'utf8').split('\n');
  const lock = readFileSync(join(root, 'packages/torch/scripts/requirements.txt'), 'utf8').split(/\n(?=[\w-]+==)/);
  const needs = lock.filter((entry) => /^nvidia-cuda-(cupti|runtime)==/.test(entry));
  for (const line of lines.filter((each) => each.startsWith('torch=='))) {
    const started = performance.now();
    const version = /==(\S+)/.exec(line)![1]!;
    const folder = join(tools, `libtorch-${version}`);
    if (!existsSync(join(folder, 'torch/lib/libtorch_cpu.so'))) {
      mkdirSync(folder, { recursive: true });
      const file = join(folder, 'requirements.txt');
      writeFileSync(file, [line, ...needs].join('\n'));
      const only = ['--no-deps', '--only-binary', ':all:', '--python-version', '3.11', '--implementation', 'cp'];
      const asked = ['--target', folder, ...only, '--require-hashes', '-r', file];
      await pipInstall(`libtorch ${version}`, join(root, '.tools/venv'), ...asked);
      for (const name of globSync('torch/lib/lib{torch_cuda,torch_python,torch_nvshmem,c10_cuda}*', { cwd: folder })) {
        rmSync(join(folder, name));
      }
    }
    say(`libtorch ${works({ ...bare, LIBTORCH: join(folder, 'torch') })}`, started);
  }
}

/** The addon is compiled where no prebuilt one is. */
function fromSource(): void {
  const started = performance.now();
  rmSync(globSync('node_modules/@visurf/torch-*', { cwd: project }).map((name) => join(project, name))[0]!, {
    recursive: true,
  });
  const environment = { ...process.env, HOME: home, LIBTORCH: stamp().libtorch };
  run(project, environment, visurf, 'setup');
  say(`from source: ${works(environment)}`, started);
}

interface Stamp {
  readonly libtorch: string;
}

const stamp = (): Stamp => JSON.parse(readFileSync(join(root, 'packages/torch/build/stamp.json'), 'utf8')) as Stamp;

const TYPESCRIPTS = ['7', '6', '5.9', '5.4'];
const MODULES = [
  ['nodenext, ESM', 'typed.mts', '--module', 'nodenext'],
  ['nodenext, commonjs', 'typed.cts', '--module', 'nodenext'],
  ['bundler', 'typed.ts', '--module', 'esnext', '--moduleResolution', 'bundler'],
  ['commonjs', 'typed.ts', '--module', 'commonjs'],
] as const;
/** What zod's declarations ask of commonjs projects, and newer versions have without being told; `tsc --init` writes it. */
const interop = (version: string, name: string): readonly string[] =>
  version.startsWith('5.') && name === 'commonjs' ? ['--esModuleInterop'] : [];
/** Before 5.8 TypeScript does not know that Node.js requires ES modules. */
const UNKNOWN = new Set(['5.4 nodenext, commonjs']);

const typed = `import { defineReward, generate, loadConfig, loadPolicy, predict, train, UserError } from 'visurf';
import type { Policy, Predicted } from 'visurf';
import { BASE_MODEL } from '@visurf/mini-grounding';
export async function ask(directory: string): Promise<readonly (readonly number[])[]> {
  const policy: Policy = await loadPolicy(directory);
  const { boxes }: Predicted = await predict(policy, { problem: 'the red car', images: ['a.png'] });
  const { text } = await generate(policy, { problem: BASE_MODEL, images: [] });
  if (text === '') throw new UserError('nothing', { remedy: 'x' });
  return boxes;
}
export const run = (): unknown => train(loadConfig('config.yaml'));
export { defineReward };
// @ts-expect-error The declarations are read: a policy is no number.
export const wrong: number = loadPolicy('x');
`;

/** Declarations of the packages are checked, too: nothing is skipped. */
function types(): void {
  const folder = join(tools, 'typescript');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{ "private": true }\n');
  const wanted = TYPESCRIPTS.map((version) => `typescript-${version}@npm:typescript@${version}`);
  run(folder, process.env, 'npm', 'install', '--no-audit', '--no-fund', ...wanted);
  for (const kind of ['mts', 'cts', 'ts']) writeFileSync(join(project, `typed.${kind}`), typed);
  for (const version of TYPESCRIPTS) {
    for (const [name, file, ...options] of MODULES) {
      if (UNKNOWN.has(`${version} ${name}`)) continue;
      const started = performance.now();
      const tsc = join(folder, `node_modules/typescript-${version}/bin/tsc`);
      const strict = ['--noEmit', '--strict', '--target', 'es2022', ...interop(version, name)];
      run(project, process.env, node, tsc, ...strict, ...options, file);
      say(`TypeScript ${version}, ${name}`, started);
    }
  }
}

/** One sentence, and exit code 2. */
function olderNode(): void {
  const folder = join(tools, 'node');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{ "private": true }\n');
  const name = `node-${process.platform}-${process.arch}`;
  run(
    folder,
    process.env,
    'npm',
    'install',
    '--no-audit',
    '--no-fund',
    ...['18', '20', '22'].map((each) => `node-${each}@npm:${name}@${each}`),
  );
  for (const version of ['18', '20', '22']) {
    const older = join(folder, `node_modules/node-${version}/bin/node`);
    for (const program of [
      join(project, 'node_modules/visurf/dist/main.js'),
      join(root, 'packages/visurf/start.mjs'),
    ]) {
      const said = refused(project, bare, older, program, 'doctor');
      if (said.trim().split('\n').length !== 1) throw new Error(said);
      expectText(said, /Node\.js 24 or newer|make setup/);
    }
    console.log(`Node.js ${version}: told in one sentence`);
  }
}

const PARTS = { own, bare: setUp, versions: everyVersion, types, node: olderNode, source: fromSource };
const { positionals } = parseArgs({ allowPositionals: true });
try {
  install();
  for (const [name, part] of Object.entries(PARTS))
    if (positionals.length === 0 || positionals.includes(name)) await part();
} finally {
  rmSync(project, { recursive: true, force: true });
}
