/** Models that cannot be used, and models that break while they are trained. */

import { readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { expectRefusal, visurf } from './cli.ts';
import { copyModel, eventsOf, expectNoTraining, makeFolder, usual } from './training.ts';

/** Replaces a part of a file. */
function edit(file: string, from: string, to: string): void {
  const text = readFileSync(file, 'utf8');
  expect(text).toContain(from);
  writeFileSync(file, text.replace(from, to));
}

function putNaN(file: string, tensor: string): void {
  const weights = readFileSync(file);
  const length = Number(weights.readBigUInt64LE(0));
  const header = JSON.parse(weights.toString('utf8', 8, 8 + length)) as Record<string, { data_offsets: number[] }>;
  weights.writeFloatLE(NaN, 8 + length + header[tensor]!.data_offsets[0]!);
  writeFileSync(file, weights);
}

const pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 983280\n';

test.each<readonly [string, (model: string) => void, readonly (string | RegExp)[]]>([
  ['without weights', (m) => rmSync(`${m}/model.safetensors`), ['has no weights', 'Hugging Face layout']],
  ['cut off', (m) => truncateSync(`${m}/model.safetensors`, 500_000), ['model.safetensors is truncated', 'Copy']],
  ['that is a Git LFS pointer', (m) => writeFileSync(`${m}/model.safetensors`, pointer), ['git lfs pull']],
  [
    'with NaN',
    (m) => putNaN(`${m}/model.safetensors`, 'lm_head.weight'),
    ['lm_head.weight holds values that are not finite', 'earlier checkpoint'],
  ],
  [
    'of another shape',
    (m) => edit(`${m}/config.json`, '"vocab_size": 352', '"vocab_size": 360'),
    [/shape \[352, 64\].*\[360, 64\]/],
  ],
  [
    'of another family',
    (m) => edit(`${m}/config.json`, '"qwen2_5_vl"', '"llava"'),
    ['model_type: "llava" is not supported'],
  ],
  ['with a config that is not JSON', (m) => writeFileSync(`${m}/config.json`, '{'), ['config.json: malformed JSON']],
  ['without a tokenizer', (m) => rmSync(`${m}/tokenizer.json`), ['no tokenizer.json', 'whole checkpoint']],
  ['without a chat template', (m) => rmSync(`${m}/chat_template.jinja`), ['no chat template', 'chat_template.jinja']],
  [
    'with layers that its weights cannot have',
    (m) => edit(`${m}/config.json`, '"num_hidden_layers": 3', '"num_hidden_layers": 1000000000'),
    [/num_hidden_layers/],
  ],
  [
    'with more layers than tensors',
    (m) => edit(`${m}/config.json`, '"num_hidden_layers": 3', '"num_hidden_layers": 4000'),
    ['config.json names 4000 layers, the weights hold'],
  ],
  [
    'with a chat template without end',
    (m) =>
      writeFileSync(
        `${m}/chat_template.jinja`,
        '{% for i in range(60000) %}{% for j in range(60000) %}{% endfor %}{% endfor %}',
      ),
    ['the chat template refuses the messages: it takes more than'],
  ],
  [
    'whose tokenizer has an expression without end',
    (m) => {
      edit(`${m}/tokenizer_config.json`, '"Qwen2Tokenizer"', '"PreTrainedTokenizerFast"');
      edit(`${m}/tokenizer.json`, '"Regex": "', '"Regex": "(.+)+@@|');
    },
    [/tokenizer\.json: the regular expression ".*" takes more than/],
  ],
  [
    'whose tokenizer has more tokens than the embedding',
    (m) => edit(`${m}/tokenizer.json`, '"id": 345', '"id": 3450'),
    [/has the id \d+, the embedding of the model has 352 rows/],
  ],
  [
    'that scales images up beyond all measure',
    (m) =>
      edit(
        `${m}/processor_config.json`,
        '"shortest_edge": 3136',
        '"shortest_edge": 99999999999, "longest_edge": 999999999999',
      ),
    [/minPixels \(\d+\)/],
  ],
  [
    'without image settings',
    (m) => rmSync(`${m}/processor_config.json`),
    ['no preprocessor_config.json', 'image settings'],
  ],
])('a model %s', async (_, spoil, messages) => {
  const setting = { args: ['model=$/model'], prepare: (folder: string) => spoil(copyModel(folder)) };
  await expectNoTraining(setting, '/model', ...messages);
});

test('a directory that is no model, a file, and nothing at all', async () => {
  await expectNoTraining({ args: ['model=$'] }, 'no config.json', 'Hugging Face layout');
  await expectNoTraining({ args: ['model=$/a.png'] }, 'a.png: is not a directory', 'Hugging Face layout');
  await expectNoTraining({ args: ['model=$/none'] }, 'none: no such directory', 'Hugging Face layout');
});

test('the other commands refuse a spoilt model, too', async () => {
  const folder = await makeFolder({
    prepare: (made) => putNaN(join(copyModel(made), 'model.safetensors'), 'model.norm.weight'),
  });
  const model = ['--model', join(folder, 'model')];
  const says = [join(folder, 'model'), 'model.norm.weight holds values that are not finite'];
  expectRefusal(await visurf('generate', ...model, '--prompt', 'red', '--json'), ...says);
  expectRefusal(await visurf('eval', ...model, '--data', join(folder, 'train.jsonl'), '--json'), ...says);
  expect(readdirSync(join(folder, 'model'))).not.toContain('eval');
});

// The first update throws the weights out of the range of float32.
test.each([
  ['sft', /^error: step 2, samples good: the loss is NaN\n.*lower optimizer\.learningRate/m],
  ['visurf', /^error: step 2: the model's probabilities are NaN\n.*Lower optimizer\.learningRate/m],
])('NaN in the loss of %s is the end, and no obstacle to the next attempt', async (paradigm, message) => {
  const folder = await makeFolder({ config: paradigm === 'sft' ? usual.replace('group: 2, ', '') : usual });
  const args = ['train', join(folder, 'config.yaml'), `paradigm=${paradigm}`, 'steps=3', 'optimizer.name=sgd'];
  expectRefusal(await visurf(...args, 'optimizer.learningRate=1e38', '--json'), message);
  expect(eventsOf(join(folder, 'run')).at(-1)).toMatchObject({ type: 'end', step: 1, reason: 'failed' });
  expectRefusal(await visurf(...args, 'optimizer.learningRate=1e-6'), 'there already is a run here, of 1 steps');
  const again = join(folder, 'again');
  const { code } = await visurf(...args, 'optimizer.learningRate=1e-6', `output=${again}`);
  expect(code).toBe(0);
  expect(eventsOf(again).map(({ type }) => type)).toEqual(['start', 'step', 'step', 'step', 'checkpoint', 'end']);
});
