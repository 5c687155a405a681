/** What a training refuses about a configuration and its model, a plan refuses in the same words. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterAll, expect, test } from 'vitest';

import { parseConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { messageOf, UserError } from '../errors.ts';
import { plan } from '../plan.ts';
import { fixtures, tinyModel } from '../testing/oracle.ts';
import { train } from '../train.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'visurf-refusals-'));
afterAll(() => rmSync(folder, { recursive: true }));
const data = path.join(folder, 'train.jsonl');
const image = path.join(fixtures, 'images/small-40x40.png');
writeFileSync(data, `${JSON.stringify({ id: 'a', image, problem: 'it', solution: [{ bbox_2d: [1, 2, 30, 31] }] })}\n`);

const adapter = { model: path.join(fixtures, 'tiny-qwen2_5-vl/adapters/language'), base: tinyModel };
const servers = { group: 2, servers: ['http://127.0.0.1:1'] };

const configOf = (changes: object): Config =>
  parseConfig({
    ...{ model: tinyModel, output: path.join(folder, 'run'), steps: 1, promptsPerStep: 1 },
    ...{ data: { train: data, allowOutside: true }, rollout: { group: 2, maxNewTokens: 4 } },
    ...changes,
  });

test('answers that are longer than a run allows are not planned', async () => {
  await expect(plan(configOf({}), { gflops: 1, responseTokens: 4 })).resolves.toBeDefined();
  const longer = plan(configOf({}), { gflops: 1, responseTokens: 5 });
  await expect(longer).rejects.toThrow('--response-tokens: answers of 5 tokens are longer than the 4 that are allowed');
});

test.each<[string, object]>([
  ['answers beyond its positions', { rollout: { group: 2, maxNewTokens: 1_000_000 } }],
  ['evaluations beyond its positions', { eval: { maxNewTokens: 1_000_000 } }],
  ['an adapter of another rank', { ...adapter, train: { lora: { rank: 3 } } }],
  ['an adapter of other layers', { ...adapter, train: { lora: { targets: ['down_proj'] } } }],
  ['layers that are not there', { train: { lora: { targets: ['qq_proj'] } } }],
  ['all weights for a server that takes adapters', { rollout: { backend: 'vllm', ...servers } }],
  ['adapters of the tower for a server', { rollout: { backend: 'vllm', ...servers }, train: { lora: { vision: true } } }], // prettier-ignore
])('%s', async (_, changes) => {
  const config = configOf(changes);
  const refusal = async (made: Promise<unknown>): Promise<string> => {
    const error: unknown = await made.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(UserError);
    return messageOf(error);
  };
  expect(await refusal(plan(config, { gflops: 1 }))).toBe(await refusal(train(config)));
});
