/** What is written of a checkpoint: every tensor in the dtype that files of the family have it in, and what is left out. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { callOp, openSafetensors, scope } from '@visurf/torch';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { exportModel } from '../../export/export.ts';
import { modelFiles } from '../../export/huggingface.ts';
import { mergeModels } from '../../export/merge.ts';
import { chosenModules } from '../../model/lora.ts';
import { loadLocalPolicy } from '../../policy.ts';
import { openConfiguration } from '../../testing/configurations.ts';

const modelOf = (name: string): string => openConfiguration(name).model;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'visurf-qwen3_5-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const precise = /\.linear_attn\.(A_log|norm\.weight)$/;

/** Tensors of both directories are the same, in their names, dtypes and values. */
function expectSame(found: string, expected: string): void {
  using mine = openSafetensors(found);
  using theirs = openSafetensors(expected);
  const read = theirs.names.filter((name) => !name.startsWith('mtp.'));
  expect(mine.names.toSorted()).toEqual(read.toSorted());
  for (const name of read) {
    expect(mine.dtypeOf(name), name).toBe(theirs.dtypeOf(name));
    expect(
      scope(() => callOp('equal', mine.get(name), theirs.get(name))),
      name,
    ).toBe(true);
  }
}

test('what is left out is said', () => {
  const noteOf = (name: string): string | undefined => {
    using policy = loadLocalPolicy(modelOf(name));
    return exportModel(policy, join(folder, name)).note;
  };
  expect(noteOf('qwen3_5-hub')).toContain('without 3 tensors of layers that guess one token further (mtp.*)');
  expect(noteOf('qwen3_5-old')).toBeUndefined();
});

test('a trained checkpoint, whose tensors are all in float32, becomes one as it is published', () => {
  using policy = loadLocalPolicy(modelOf('qwen3_5-hub'));
  const written = modelFiles(policy.model, policy.directory);
  for (const [name, write] of Object.entries(written)) write(join(folder, name));
  using trained = loadLocalPolicy(folder);
  const { directory, note } = exportModel(trained, join(folder, 'half'), { dtype: 'bfloat16' });
  expect(note).toBeUndefined();
  expectSame(directory, modelOf('qwen3_5-hub'));
  using weights = openSafetensors(directory);
  expect(weights.names.filter((name) => weights.dtypeOf(name) === 'float32').every((name) => precise.test(name))).toBe(
    true,
  );
});

test('two models that are merged, one without the layers that are left out', () => {
  using policy = loadLocalPolicy(modelOf('qwen3_5-hub'));
  const other = exportModel(policy, join(folder, 'other')).directory;
  const { directory, note } = mergeModels([modelOf('qwen3_5-hub'), other], { method: 'linear', weight: 0.5 }, join(folder, 'merged')); // prettier-ignore
  expectSame(directory, modelOf('qwen3_5-hub'));
  expect(note).toContain('mtp.*');
});

test('LoRA adapts every linear layer of the decoder, by its name in the file', () => {
  using policy = loadLocalPolicy(modelOf('qwen3_5-hub'));
  const all = chosenModules(policy.model, { vision: false });
  const names = (layer: number): string[] =>
    all.flatMap((path) => (path.startsWith(`model.layers.${layer}.`) ? path.split('.').slice(3).join('.') : []));
  const mlp = ['gate_proj', 'up_proj', 'down_proj'].map((name) => `mlp.${name}`);
  const linear = ['in_proj_qkv', 'in_proj_z', 'in_proj_b', 'in_proj_a', 'out_proj'].map(
    (name) => `linear_attn.${name}`,
  );
  const full = ['q_proj', 'k_proj', 'v_proj', 'o_proj'].map((name) => `self_attn.${name}`);
  expect(names(0).toSorted()).toEqual([...mlp, ...linear].toSorted());
  expect(names(3).toSorted()).toEqual([...mlp, ...full].toSorted());
  expect(chosenModules(policy.model, { vision: false, targets: ['in_proj_qkv'] })).toHaveLength(3);
});
