/**
 * The published packages, as a user has them: packed, installed in an empty project on a machine without a compiler, and
 * asked. What needs downloads or minutes is in scripts/pack-check.ts.
 */

import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fixtures, root, temporaryFolder, tinyModel } from './cli.ts';

interface Case {
  readonly responses: { tokens: number[]; logProbs: number[] }[];
  readonly greedy: { 'repetitionPenalty1.05': { tokens: number[] } };
}

const cases = JSON.parse(readFileSync(join(fixtures, 'tiny-qwen2_5-vl/cases.json'), 'utf8')) as Record<string, Case>;
const reference = cases['one-image']!;
const image = join(fixtures, 'images/wide-340x270.png');
const stamp = JSON.parse(readFileSync(join(root, 'packages/torch/build/stamp.json'), 'utf8')) as { libtorch: string };

const project = mkdtempSync(join(tmpdir(), 'visurf-project-'));
const node = process.execPath;
const torch = join(project, 'node_modules/@visurf/torch');
const prebuilt = join(project, `node_modules/@visurf/torch-${process.platform}-${process.arch}`);
/** What npm links for the package. */
const command = join(project, 'node_modules/.bin/visurf');
/** Programs of a machine that compiles nothing. */
const programs = join(project, 'programs');
const bare = { HOME: project, PATH: programs, LIBTORCH: stamp.libtorch };
afterAll(() => rmSync(project, { recursive: true }));

/** Runs a program in the project. */
function run(program: string, args: readonly string[], environment: NodeJS.ProcessEnv = bare) {
  const { status, stdout, stderr } = spawnSync(program, args, { cwd: project, env: environment, encoding: 'utf8' });
  return { status, stdout, stderr };
}

function succeed(program: string, args: readonly string[], environment?: NodeJS.ProcessEnv): string {
  const { status, stdout, stderr } = run(program, args, environment);
  expect(status, `${program} ${args.join(' ')}:\n${stdout}${stderr}`).toBe(0);
  return stdout;
}

/** The program of the page for users. */
const page = readFileSync(join(root, 'docs/packages.md'), 'utf8');
const example = /```ts\n([^]*?)```/.exec(page)![1]!;

const answer = `
import { generate, loadPolicy } from "visurf";

const [model, image] = process.argv.slice(2);
using policy = await loadPolicy(model);
const question = { problem: 'find the red circle', images: [image] };
console.log(JSON.stringify(await generate(policy, question, { maxNewTokens: 12, repetitionPenalty: 1.05 })));
`;

beforeAll(() => {
  const pack = [join(root, 'scripts/pack.ts'), join(project, 'packed'), '--own'];
  const packed = succeed(node, pack, process.env).trim().split('\n');
  const names = packed.map((file) => basename(file).replace(/-[\d.]+\.tgz$/, ''));
  expect(names).toEqual(expect.arrayContaining(['visurf', 'visurf-core', 'visurf-torch']));
  writeFileSync(join(project, 'package.json'), '{ "name": "project", "private": true, "type": "module" }\n');
  succeed('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', ...packed], process.env);
  mkdirSync(programs);
  for (const name of ['sh', 'env']) symlinkSync(`/usr/bin/${name}`, join(programs, name));
  symlinkSync(node, join(programs, 'node'));
}, 900_000);

test('a program that imports visurf loads a model and answers', () => {
  writeFileSync(join(project, 'answer.js'), answer);
  const said = JSON.parse(succeed(node, ['answer.js', tinyModel, image])) as { tokens: number[] };
  expect(said.tokens).toEqual(reference.greedy['repetitionPenalty1.05'].tokens);
});

test('the program of the page for users runs, and its types are right', () => {
  writeFileSync(join(project, 'example.ts'), example);
  const [streamed = '', whole, label] = succeed(node, ['example.ts']).split('\n');
  expect(streamed).toMatch(/<answer>.*<\/answer>$/);
  expect(whole).toBe(`the same at once: ${streamed} (eos)`);
  expect(label).toMatch(/^log-probability of the label: -\d+\.\d$/);

  const mistake = '// @ts-expect-error A string has no such method.\ntext.toFixed();\n';
  writeFileSync(join(project, 'typed.ts'), example + mistake);
  // Nothing but what says that it is a program of today: declarations bring the rest.
  const compilerOptions = { strict: true, noEmit: true, module: 'nodenext', target: 'esnext' };
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['typed.ts'] }));
  succeed(node, [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.json']);
});

test('the command line answers', () => {
  const { tokens, logProbs } = reference.responses[0]!;
  const question = ['--model', tinyModel, '--image', image, '--prompt', 'find the red circle'];
  const args = ['score', ...question, '--response-ids', tokens.join(','), '--json'];
  const scored = JSON.parse(succeed(command, args)) as { logProbs: number[] };
  for (const [t, value] of scored.logProbs.entries()) expect(Math.abs(value - logProbs[t]!)).toBeLessThan(1e-4);
  expect(succeed(command, ['demo', '--help'])).toContain('--quick');
});

test('doctor finds libtorch, and a step is trained', () => {
  expect(succeed(command, ['doctor'])).toContain(stamp.libtorch);
  writeFileSync(
    join(project, 'scenes.mjs'),
    `import { generateDataset } from '@visurf/mini-grounding';
    await generateDataset('data', { seed: 1, images: { train: 2, validation: 0, test: 0 } });`,
  );
  succeed(node, ['scenes.mjs']);
  const keys = [`model=${tinyModel}`, 'data.train=data/train.jsonl', 'steps=1', 'promptsPerStep=1', 'rollout.group=2'];
  succeed(command, ['train', ...keys, 'rollout.maxNewTokens=4', 'output=run']);
  expect(readFileSync(join(project, 'run/events.jsonl'), 'utf8')).toContain('"step":1');
});

test('commonjs projects have it, too', () => {
  const program = `const { predict, loadPolicy } = require('visurf'); console.log(typeof predict, typeof loadPolicy)`;
  writeFileSync(join(project, 'common.cjs'), program);
  expect(succeed(node, ['common.cjs'])).toBe('function function\n');
});

test('an older Node.js is told in one sentence', () => {
  const main = readFileSync(join(project, 'node_modules/visurf/dist/main.js'), 'utf8');
  // As an older one would run it: what it says of itself is all that is looked at.
  const older = `Object.defineProperty(process.versions, 'node', { value: '20.1.0' });\n`;
  writeFileSync(join(project, 'node_modules/visurf/dist/older.js'), main.replace(/^#!.*\n/, older));
  const { status, stderr } = run(node, ['node_modules/visurf/dist/older.js', '--version']);
  expect([status, stderr.trim().split('\n').length]).toEqual([2, 1]);
  expect(stderr).toContain('needs Node.js 24 or newer');
});

test('a model in a thread answers, too', () => {
  writeFileSync(join(project, 'thread.js'), answer.replace('loadPolicy(model)', 'loadPolicy(model, { worker: true })'));
  const said = JSON.parse(succeed(node, ['thread.js', tinyModel, image])) as { tokens: number[] };
  expect(said.tokens).toEqual(reference.greedy['repetitionPenalty1.05'].tokens);
});

test('the library of the checkout is not what answered', () => {
  const places = `console.log(import.meta.resolve('visurf'), import.meta.resolve('@visurf/torch'))`;
  const found = succeed(node, ['--input-type=module', '--eval', places]);
  expect(found).not.toContain(root);
  expect(found).toContain('/dist/index.js');
});

test('without a libtorch, installation says what to do, and so does the import', () => {
  // Neither a Python nor LIBTORCH.
  const environment = { PATH: programs, HOME: project };
  const { status, stderr } = run(node, [join(torch, 'scripts/build.mjs'), '--existing'], environment);
  expect([status, stderr]).toEqual([
    0,
    expect.stringContaining('no libtorch was found: `npx visurf setup` fetches one'),
  ]);
  expect(run(node, ['answer.js'], environment).stderr).toMatch(/no libtorch here: [^]*run `npx visurf setup`/);
});

/** A folder like a libtorch of another version. */
function libtorchOf(version: string): string {
  const folder = join(project, `libtorch-${version}`);
  const [major, minor, patch] = version.split('.');
  const lines = Object.entries({ MAJOR: major, MINOR: minor, PATCH: patch });
  mkdirSync(join(folder, 'include/torch/headeronly'), { recursive: true });
  const header = lines.map(([name, value]) => `#define TORCH_VERSION_${name} ${value}\n`).join('');
  writeFileSync(join(folder, 'include/torch/headeronly/version.h'), header);
  return folder;
}

test('a libtorch of another version is compared before it is loaded', () => {
  const { stderr } = run(node, ['answer.js'], { ...bare, LIBTORCH: libtorchOf('2.99.1') });
  expect(stderr).toMatch(/no prebuilt addon for libtorch 2\.99\.1 \(.*\), only for 2\.\d+: run `npx visurf setup`/);
});

test('a libtorch that is not what its headers say, and one that does not open', () => {
  const [minor = ''] = readdirSync(prebuilt).filter((name) => /^2\.\d+$/.test(name));
  const liar = libtorchOf(`${minor}.0`);
  expect(run(node, ['answer.js'], { ...bare, LIBTORCH: liar }).stderr).toMatch(
    /libtorch in .* does not load: .*libtorch_cpu/,
  );
  cpSync(join(prebuilt, minor), join(prebuilt, '2.99'), { recursive: true });
  const real = libtorchOf('2.99.1');
  symlinkSync(join(stamp.libtorch, 'lib'), join(real, 'lib'));
  expect(run(node, ['answer.js'], { ...bare, LIBTORCH: real }).stderr).toContain(
    'holds 2.99.1: run `npx visurf setup`',
  );
});

test('without prebuilt addons it is built, for which there must be a compiler', () => {
  const alone = temporaryFolder();
  cpSync(torch, alone, { recursive: true });
  const { status, stderr } = run(node, [join(alone, 'scripts/build.mjs'), '--existing']);
  expect([status, stderr]).toEqual([1, expect.stringContaining('neither c++, g++ nor clang++')]);
});
