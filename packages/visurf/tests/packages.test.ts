/**
 * The published packages, as a user has them: packed, installed in an empty project, where the addon is compiled, and
 * asked. About a minute on two cores, most of it the compiler's.
 */

import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fixtures, root, tinyModel } from './cli.ts';

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
afterAll(() => rmSync(project, { recursive: true }));

/** Runs a program in the project. */
function run(program: string, args: readonly string[], environment: NodeJS.ProcessEnv = process.env) {
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
  const packed = succeed(node, [join(root, 'scripts/pack.ts'), join(project, 'packed')])
    .trim()
    .split('\n');
  const names = packed.map((file) => basename(file).replace(/-[\d.]+\.tgz$/, ''));
  expect(names).toEqual(expect.arrayContaining(['visurf', 'visurf-core', 'visurf-torch']));
  writeFileSync(join(project, 'package.json'), '{ "name": "project", "private": true, "type": "module" }\n');
  const environment = { ...process.env, LIBTORCH: stamp.libtorch };
  succeed('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', ...packed], environment);
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
  succeed(join(root, 'node_modules/.bin/tsc'), ['-p', 'tsconfig.json']);
});

test('the command line answers', () => {
  const { tokens, logProbs } = reference.responses[0]!;
  const question = ['--model', tinyModel, '--image', image, '--prompt', 'find the red circle'];
  const args = ['score', ...question, '--response-ids', tokens.join(','), '--json'];
  const scored = JSON.parse(succeed('npx', ['--no-install', 'visurf', ...args])) as { logProbs: number[] };
  for (const [t, value] of scored.logProbs.entries()) expect(Math.abs(value - logProbs[t]!)).toBeLessThan(1e-4);
  expect(succeed('npx', ['--no-install', 'visurf', 'demo', '--help'])).toContain('--quick');
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

test('without a libtorch, the install step says what to do', () => {
  // Neither a Python nor LIBTORCH.
  const environment = { PATH: project, HOME: project };
  const bare = join(project, 'bare');
  cpSync(torch, bare, { recursive: true, filter: (source) => source !== join(torch, 'build') });
  const { status, stderr } = run(node, [join(bare, 'scripts/build.mjs'), '--existing'], environment);
  expect(status).toBe(1);
  expect(stderr).toContain('LIBTORCH is not set, and no Python here can import torch 2.9 or newer');
  expect(stderr).toMatch(/what to do: .*pip install torch.*set LIBTORCH/);
});

test('without the addon, or with one that does not load, the import says what to do', () => {
  const addon = join(torch, 'build/visurf_torch.node');
  renameSync(addon, `${addon}.aside`);
  expect(run(node, ['answer.js']).stderr).toMatch(/addon is not built .*`npm rebuild @visurf\/torch`/);
  writeFileSync(addon, 'no library');
  expect(run(node, ['answer.js']).stderr).toMatch(/addon does not load[^]*`npm rebuild @visurf\/torch`/);
  renameSync(`${addon}.aside`, addon);
});
