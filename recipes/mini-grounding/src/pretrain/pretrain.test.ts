import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { loadLocalPolicy } from '@visurf/core/internals';
import { live, SafetensorsFile } from '@visurf/torch';
import { afterAll, expect, test } from 'vitest';

import { PLAN, type PretrainPlan } from './plan.ts';
import { pretrain } from './pretrain.ts';

const directory = mkdtempSync(join(tmpdir(), 'mini-pretrain-'));
afterAll(() => {
  rmSync(directory, { recursive: true });
});

const tiny: PretrainPlan = {
  ...PLAN,
  warmupSteps: 1,
  stages: [
    { name: 'see', updates: 8, images: 4, learningRate: 1e-3 },
    { name: 'read', updates: 4, images: 2, learningRate: 1e-3 },
  ],
};

function weights(name: string): Map<string, number[]> {
  using file = new SafetensorsFile(join(directory, name, 'model.safetensors'));
  return new Map(file.names.map((key) => [key, file.get(key).toArray()]));
}

test('a pretraining that was killed ends with the same weights as one that was not, and losses fall', async () => {
  const sights: number[] = [];
  await pretrain(join(directory, 'whole'), { plan: tiny, onUpdate: ({ report }) => sights.push(report.sight ?? NaN) });
  expect(sights).toHaveLength(12);
  expect(Math.max(...sights.slice(5, 8))).toBeLessThan(Math.min(...sights.slice(0, 2)));

  for (const [stage, done] of [
    ['see', 2],
    ['read', 3],
  ] as const) {
    const kill = (): Promise<number> =>
      pretrain(join(directory, 'killed'), {
        plan: tiny,
        checkpointEvery: 1,
        onUpdate: (event) => {
          if (event.stage.name === stage && event.done === done) throw new Error('killed');
        },
      });
    await expect(kill()).rejects.toThrow('killed');
  }
  await pretrain(join(directory, 'killed'), { plan: tiny, checkpointEvery: 1 });
  expect(weights('killed')).toEqual(weights('whole'));
});

test('the checkpoint is one that the library loads, and nothing else is left', () => {
  expect(readdirSync(join(directory, 'killed')).sort()).toEqual([
    'chat_template.jinja',
    'config.json',
    'generation_config.json',
    'model.safetensors',
    'preprocessor_config.json',
    'tokenizer.json',
    'tokenizer_config.json',
  ]);
  const { handles } = live();
  using policy = loadLocalPolicy(join(directory, 'killed'));
  expect(policy.encoder.decode(policy.encoder.encodeText('<answer>[{"bbox_2d":[7,20,112,40]}]</answer>'))).toBe(
    '<answer>[{"bbox_2d":[7,20,112,40]}]</answer>',
  );
  expect(live().handles).toBeGreaterThan(handles);
});
