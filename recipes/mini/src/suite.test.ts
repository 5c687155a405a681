/** One training on six tasks, from data to metrics, on an untrained model. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { loadConfig, train } from '@visurf/core';
import { parseModelConfig, VisionLanguageModel } from '@visurf/core/internals';
import { initialize, modelConfig, writeCheckpointFiles } from '@visurf/mini-grounding/kit';
import { saveSafetensors } from '@visurf/torch';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { generateSuite } from './dataset.ts';
import { miniatureOf, planOf } from './pretrain/plan.ts';
import { TASK_SETS } from './questions.ts';

const folder = mkdtempSync(join(tmpdir(), 'mini-suite-'));
afterAll(() => rmSync(folder, { recursive: true }));
beforeAll(async () => {
  const miniature = miniatureOf(planOf('base'));
  writeCheckpointFiles(join(folder, 'base'), miniature);
  const model = new VisionLanguageModel(parseModelConfig(modelConfig(miniature)));
  initialize(model, 1, miniature.vocabulary.numberIds);
  saveSafetensors(join(folder, 'base/model.safetensors'), model.namedParameters());
  model.dispose();
  await generateSuite(join(folder, 'data'), { seed: 1, pictures: { train: 2, validation: 2, test: 0 } });
});

test('every sample is trained and measured by its own task', async () => {
  const config = loadConfig(
    join(import.meta.dirname, '../config.yaml'),
    [
      'model=base',
      'output=run',
      ...['train', 'validation'].map((split) => `data.${split}=data/${split}.jsonl`),
      ...[
        'steps=2',
        'promptsPerStep=7',
        'rollout.group=2',
        'rollout.maxNewTokens=4',
        'optimizer.warmupSteps=1',
        'eval.every=2',
      ],
    ],
    { cwd: folder },
  );
  expect(config.tasks.box).toMatchObject({ boxError: 3 });
  const { metrics } = await train(config);
  const sets = new Set(Object.keys(metrics).map((name) => name.split('.')[0]));
  expect([...sets].sort()).toEqual([...TASK_SETS, 'reward'].sort());
  expect(metrics).toMatchObject({ 'referring.nAcc': 0, 'clicking.accuracy': 0, 'sums.accuracy': 0 });

  const steps = readdirSync(join(folder, 'run/groups')).map((name) =>
    readFileSync(join(folder, 'run/groups', name), 'utf8'),
  );
  const labels = steps
    .flatMap((text) => text.trim().split('\n'))
    .map((line) => JSON.parse(line) as { id: string; label: { text: string; terms: { accuracy: number } } })
    .map(({ id, label }) => ({ set: id.split('-')[0], ...label }));
  expect(new Set(labels.map(({ set }) => set))).toEqual(new Set(TASK_SETS));
  for (const { set, text, terms } of labels) {
    expect(terms.accuracy).toBeGreaterThan(0);
    if (set === 'sums') expect(text).toMatch(/^\\boxed\{\d+\}$/);
    if (set === 'clicking') expect(text).toMatch(/^<answer>\[\{"point_2d":\[\d+,\d+\]\}\]<\/answer>$/);
    if (set === 'defects') expect(text).toMatch(/^<answer>(yes|no)<\/answer>$/);
  }
});

const BASE = join(import.meta.dirname, '../base');
const labelsOf = (run: string, step: number): string[] =>
  readFileSync(join(folder, run, `groups/00000${step}.jsonl`), 'utf8')
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { label: { text: string } }).label.text);

test.each(['sft', 'visurf'])(
  '%s writes labels in the form that the base speaks, from the first step on',
  async (paradigm) => {
    const config = (output: string) =>
      loadConfig(join(import.meta.dirname, '../config.yaml'), [`output=${output}`, 'threads=1'], {
        cwd: folder,
        shared: [
          ...[
            `model=${BASE}`,
            `paradigm=${paradigm}`,
            'data.train=data/train.jsonl',
            'data.validation=data/validation.jsonl',
            'eval.every=0',
            'checkpoint.every=1',
          ],
          ...['steps=2', 'promptsPerStep=7', 'rollout.group=2', 'optimizer.warmupSteps=1'],
        ],
      });
    await train(config(`${paradigm}-whole`));
    const lists = [1, 2]
      .flatMap((step) => labelsOf(`${paradigm}-whole`, step))
      .filter((text) => text.includes('bbox_2d'));
    expect(lists.length).toBeGreaterThan(2);
    for (const text of lists) expect(text).toMatch(/\[\{"bbox_2d":\[\d+,\d+,\d+,\d+\]\}\]/);

    const stop = new AbortController();
    const onEvent = ({ kind }: { kind: string }) => kind === 'step' && stop.abort();
    await train(config(`${paradigm}-stopped`), { signal: stop.signal, onEvent });
    await train(config(`${paradigm}-stopped`), { resume: true });
    for (const step of [1, 2])
      expect(labelsOf(`${paradigm}-stopped`, step)).toEqual(labelsOf(`${paradigm}-whole`, step));
  },
);
