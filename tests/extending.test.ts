/** What docs/extending.md says how to add, added as it says. */
import { createHash } from 'node:crypto';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { checkData, importData, loadConfig, loadPlugin, train, usesKey, UserError } from 'visurf';
import { families, type Family } from '../packages/core/src/families/index.ts';
import { qwen2Vl } from '../packages/core/src/families/qwen2_vl/index.ts';
import { PromptEncoder } from '../packages/core/src/prompt/encoder.ts';
import { stepName } from '../packages/core/src/run/checkpoint.ts';
import { smallModel, wholeStep } from '../packages/core/src/testing/whole-step.ts';
import { otherVl } from './families/other_vl/index.ts';
import { root } from './sources.ts';

const fixtures = join(root, 'oracle/fixtures');
const image = join(fixtures, 'images/small-40x40.png');

interface Response {
  readonly text: string;
  readonly terms: Readonly<Record<string, number>>;
}

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'visurf-extending-'));
  process.env.XDG_STATE_HOME = folder;
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const write = (name: string, lines: readonly object[]): string => {
  writeFileSync(join(folder, name), lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  return join(folder, name);
};

const plugin = (name: string): string => join(root, 'tests/plugins', name);

/** A configuration for the tiny model with plugins. */
function configured(plugins: readonly string[], data: object, changes: object = {}): string {
  const config = join(folder, 'config.yaml');
  writeFileSync(
    config,
    JSON.stringify({
      model: join(fixtures, 'tiny-qwen2_5-vl/model'),
      output: 'run',
      steps: 1,
      promptsPerStep: 1,
      plugins: plugins.map(plugin),
      data: { allowOutside: true, prompt: 'find {Question}', ...data },
      rollout: { group: 2, maxNewTokens: 6 },
      ...changes,
    }),
  );
  return config;
}

interface Recorded {
  readonly label?: Response;
  readonly rollouts: readonly Response[];
}

const groupOf = (run: string, step: number): Recorded =>
  JSON.parse(readFileSync(join(run, `groups/00000${step}.jsonl`), 'utf8').split('\n')[0]!) as Recorded;

/** One step of ViSurf with plugins; the first group that it made. */
async function trained(task: string, plugins: readonly string[], solution: unknown) {
  const data = write('train.jsonl', [{ image, problem: 'circles', solution }]);
  const { run } = await train(loadConfig(configured(plugins, { train: data, task })));
  const { label, rollouts } = groupOf(run, 1);
  return { label: label!, rollouts };
}

test('a reward is one file: a term beside those of the task, for rollouts and label', async () => {
  const { label, rollouts } = await trained('grounding', ['brief.ts'], []);
  for (const { text, terms } of [label, ...rollouts]) {
    expect(terms['brief']).toBeCloseTo(Math.max(0, 1 - text.length / 400), 12);
  }
});

test('a task is one file: it asks, reads, writes and rewards', async () => {
  const { label, rollouts } = await trained('count', ['count.ts'], 3);
  expect(label.text).toBe('<answer>3</answer>');
  expect(label.terms).toMatchObject({ format: 1, accuracy: 1 });
  for (const { terms } of rollouts) expect(terms).toMatchObject({ format: 0, accuracy: 0 });
  const bad = write('bad.jsonl', [{ image, problem: 'circles', solution: 'many' }]);
  await expect(checkData(bad, { task: 'count' })).rejects.toThrow('bad.jsonl:1 (line-1): the solution is no number');
});

test('a reader is one file: its set is checked and trained on as any other', async () => {
  const set = join(folder, 'cars.counts');
  writeFileSync(set, `${image}: 3 circles\n${image}: 0 squares\n`);
  const config = configured(['count.ts', 'counts.ts'], { train: set });
  const { run } = await train(loadConfig(config));
  expect(groupOf(run, 1).label?.text).toMatch(/^<answer>[03]<\/answer>$/);
  expect(await checkData(set, { allowOutside: true })).toMatchObject({ n: 2, tasks: { count: 2 } });
  // Named from where the command runs.
  loadPlugin(relative(process.cwd(), plugin('counts.ts')));
  const output = join(folder, 'imported.jsonl');
  expect(await importData(set, { output, allowOutside: true })).toMatchObject({ n: 2, format: 'counts' });
  expect(readFileSync(output, 'utf8')).toContain('"problem":"circles","solution":3,"task":"count"');
  writeFileSync(set, `${image}: 3 circles\nmany squares\n`);
  const { findings } = await checkData(set);
  expect(findings).toContainEqual(expect.objectContaining({ line: 2, message: 'not of the form IMAGE: NUMBER WHAT' }));
  await expect(train(loadConfig(config, ['output=other', 'data.format=counts']))).rejects.toThrow('cars.counts:2');
});

test('a paradigm is one file: its schedule, defaults and keys; a run holds its hash and resumes', async () => {
  const data = { train: write('train.jsonl', [{ image, problem: 'circles', solution: [] }]) };
  const config = configured(['letting-go.ts'], data, { paradigm: 'letting-go', steps: 2, checkpoint: { every: 1 } });
  const { run } = await train(loadConfig(config));
  expect(groupOf(run, 1).label).toBeDefined();
  expect(groupOf(run, 2).label).toBeUndefined();
  expect(loadConfig(config).label.smooth).toBe('off');
  expect(loadConfig(join(run, 'config.yaml'))).toMatchObject({ paradigm: 'letting-go', label: { smooth: 'off' } });
  expect(usesKey('letting-go', 'label.smooth')).toBe(true);
  expect(() => loadConfig(config, ['sftSteps=1'])).toThrow('the paradigm letting-go does not use sftSteps');
  const { plugins } = JSON.parse(readFileSync(join(run, 'checkpoints', stepName(2), 'experiment.json'), 'utf8')) as {
    plugins: object[];
  };
  const sha256 = createHash('sha256')
    .update(readFileSync(plugin('letting-go.ts')))
    .digest('hex');
  expect(plugins).toEqual([{ name: 'letting-go.ts', sha256 }]);
  const { steps } = await train(loadConfig(config, ['steps=3']), { resume: true });
  expect(steps).toBe(3);
  expect(groupOf(run, 3).label).toBeUndefined();
});

test('a family is one folder and a line in the list', async () => {
  const model = join(folder, 'model');
  cpSync(smallModel(qwen2Vl), model, { recursive: true });
  const file = join(model, 'config.json');
  writeFileSync(file, readFileSync(file, 'utf8').replaceAll('"qwen2_vl"', '"other_vl"'));
  const step = () => wholeStep(model, 'cpu', {});
  await expect(step()).rejects.toThrow(UserError);
  const listed = families as unknown as Family[];
  listed.push(otherVl);
  try {
    expect(PromptEncoder.load(model).coordinates.thousandths).toBe(false);
    const [own, other] = [await step(), await wholeStep(smallModel(qwen2Vl), 'cpu', {})];
    expect(own.groups).toHaveLength(2);
    expect(own.update.loss).toBeTypeOf('number');
    expect(own.groups[0]!.rollouts[0]!.response.logProbs).not.toEqual(other.groups[0]!.rollouts[0]!.response.logProbs);
  } finally {
    listed.pop();
  }
});
