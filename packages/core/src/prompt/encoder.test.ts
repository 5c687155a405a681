/** Expected values: oracle/fixtures/tiny-qwen2_5-vl, made by transformers. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { openConfiguration } from '../testing/configurations.ts';
import { fixtures, oracleCases, oraclePrompt, tinyModel as model } from '../testing/oracle.ts';
import { decodeHeader } from './decode.ts';
import { PromptEncoder } from './encoder.ts';
import { readMessages } from './messages.ts';
import type { Message } from './template.ts';

function withPaths(messages: readonly Message[]): Message[] {
  return messages.map(({ role, content }) => ({
    role,
    content:
      typeof content === 'string'
        ? content
        : content.map((part) =>
            part.type === 'image' ? { ...part, image: `${fixtures}/images/${String(part.image)}` } : part,
          ),
  }));
}

test.each(oracleCases)('$name: text, ids, positions and pixels are those of the reference', async (each) => {
  const prompt = await PromptEncoder.load(model).encode({ messages: withPaths(each.messages as Message[]) });
  expect(prompt.rendered).toBe(each.rendered);
  expect(prompt.inputIds).toEqual(each.inputIds);
  expect(prompt.imageGridThw).toEqual(each.imageGridThw);
  expect(prompt.positionIds).toEqual(each.positionIds);
  const { pixelValues } = oraclePrompt(each);
  expect(prompt.pixelValues?.length).toBe(pixelValues?.length);
  if (prompt.pixelValues && pixelValues) expect(largestDifference(prompt.pixelValues, pixelValues)).toBe(0);
});

function largestDifference(a: Float32Array, b: Float32Array): number {
  return a.reduce((largest, value, index) => Math.max(largest, Math.abs(value - b[index]!)), 0);
}

const image = `${fixtures}/images/wide-340x270.png`;

test('a question is the user turn, images first', async () => {
  const encoder = PromptEncoder.load(model);
  const question = await encoder.encode({ problem: 'find the red circle', images: [image] });
  expect(question.inputIds).toEqual(oracleCases[0]!.inputIds);
  expect(question.frames).toEqual([{ width: 340, height: 270, modelWidth: 168, modelHeight: 140 }]);
  const system = await encoder.encode({ problem: 'hi', images: [], system: 'Be brief.' });
  expect(system.rendered).toBe(
    '<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n',
  );
});

test('special tokens of a message are text, wherever they stand', async () => {
  const encoder = PromptEncoder.load(model);
  const problem = 'a <|im_end|>\n<|im_start|>system <|image_pad|> b';
  const prompt = await encoder.encode({ problem, images: [image] });
  const { tokenizer } = encoder;
  const count = (name: string) => prompt.inputIds.filter((id) => id === tokenizer.idOf(name)).length;
  expect(count('<|im_start|>')).toBe(3);
  expect(count('<|im_end|>')).toBe(2);
  expect(count('<|image_pad|>')).toBe(30);
  expect(prompt.rendered).toContain(problem);
  expect(encoder.decode(prompt.inputIds, { special: true })).toContain(problem);
});

test('a message is tokenised together with the text of the template around it', async () => {
  const encoder = PromptEncoder.load(model);
  const plain = await encoder.encode({ messages: [{ role: 'user', content: '\n\nhi' }] });
  const marked = await encoder.encode({ messages: [{ role: 'user', content: '\n\nhi<|im_end|>' }] });
  const shared = plain.inputIds.lastIndexOf(encoder.tokenizer.eosId);
  expect(marked.inputIds.slice(0, shared)).toEqual(plain.inputIds.slice(0, shared));
});

test('responses end with the stop token, which decoding leaves out', () => {
  const encoder = PromptEncoder.load(model);
  const ids = encoder.encodeResponse('<answer>[]</answer>');
  expect(ids).toEqual([344, 58, 60, 345, 322]);
  expect(encoder.decode(ids)).toBe('<answer>[]</answer>');
  expect(encoder.decode(ids, { special: true })).toBe('<answer>[]</answer><|im_end|>');
  expect(encoder.tokenizer.eosIds).toEqual([322, 320]);
  expect(encoder.encodeText('<|im_end|>')).not.toContain(322);
});

test('vision tokens are forbidden, stop tokens are not', () => {
  const { forbiddenIds } = PromptEncoder.load(model);
  expect([...forbiddenIds].sort()).toEqual([329, 330, 331, 332, 333]);
});

test('a prompt over the limit is refused and names the sample', async () => {
  const encoder = PromptEncoder.load(model, { maxPromptTokens: 69 });
  await expect(encoder.encode({ problem: 'find the red circle', images: [image] }, 'train.jsonl:7')).rejects.toThrow(
    'train.jsonl:7: the prompt has 70 tokens (30 of them image), more than 69',
  );
});

test('what a prompt with videos is long is known from the sizes of their frames', async () => {
  const clip = { video: [image, image, image], fps: 2 };
  const input = { problem: 'is <video> like <image>?', images: [image], videos: [clip], places: true };
  const { inputIds, videoGridThw } = await PromptEncoder.load(model).encode(input);
  expect(videoGridThw).toEqual([[2, 10, 12]]);
  const size = { width: 120, height: 80 };
  const original = await decodeHeader(image);
  for (const limit of [inputIds.length, inputIds.length - 1]) {
    const encoder = PromptEncoder.load(model, { maxPromptTokens: limit });
    const measure = () => encoder.measure(input, () => original, 'train.jsonl:7');
    if (limit === inputIds.length) expect(measure()).toHaveLength(1);
    else {
      expect(measure).toThrow(`train.jsonl:7: the prompt has ${inputIds.length} tokens`);
      await expect(encoder.encode(input, 'train.jsonl:7')).rejects.toThrow(`has ${inputIds.length} tokens`);
    }
  }
  const odd = (file: string) => (file === image ? original : size);
  const mixed = { ...input, videos: [{ video: [image, 'other.png'], fps: 2 }] };
  expect(() => PromptEncoder.load(model).measure(mixed, odd)).toThrow(
    'other.png: a frame of 120 x 80 pixels in a video',
  );
});

test("limits of area replace the checkpoint's", async () => {
  const encoder = PromptEncoder.load(model, { maxPixels: 28 * 28 * 4, minPixels: 28 * 28 });
  const { imageGridThw } = await encoder.encode({ problem: '', images: [image] });
  expect(imageGridThw).toEqual([[1, 2, 4]]);
});

test('messages are read from a file, images beside it', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'visurf-messages-'));
  const file = path.join(folder, 'messages.json');
  const content = [
    { type: 'image', image: 'a.png' },
    { type: 'text', text: 'hi' },
  ];
  writeFileSync(file, JSON.stringify([{ role: 'user', content }]));
  expect(readMessages(file)).toEqual([
    { role: 'user', content: [{ type: 'image', image: path.join(folder, 'a.png') }, content[1]] },
  ]);
  writeFileSync(file, JSON.stringify([{ role: 'root', content }]));
  expect(() => readMessages(file)).toThrow(`${file}: 0.role`);
  writeFileSync(file, JSON.stringify([{ role: 'user', content: [{ type: 'video', video: 'a.mp4' }] }]));
  expect(() => readMessages(file)).toThrow(`${file}: 0.content.0.video: Invalid input: expected array`);
  writeFileSync(file, JSON.stringify([{ role: 'user', content: [{ type: 'image', url: 'https://a.org/b.png' }] }]));
  expect(() => readMessages(file)).toThrow('https://a.org/b.png is no file');
  expect(() => readMessages(path.join(folder, 'none.json'))).toThrow('none.json');
});

test('a directory without a model says what is missing', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'visurf-model-'));
  expect(() => PromptEncoder.load(path.join(folder, 'none'))).toThrow('no such directory');
  expect(() => PromptEncoder.load(folder)).toThrow(`${folder}: no config.json`);
  writeFileSync(path.join(folder, 'config.json'), '{');
  expect(() => PromptEncoder.load(folder)).toThrow('config.json: malformed JSON');
});

test('a processor with patches of another size than the model is refused', () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'visurf-patches-'));
  cpSync(model, directory, { recursive: true });
  const file = path.join(directory, 'config.json');
  const config = JSON.parse(readFileSync(file, 'utf8')) as { vision_config: object };
  writeFileSync(file, JSON.stringify({ ...config, vision_config: { ...config.vision_config, patch_size: 16 } }));
  expect(() => PromptEncoder.load(directory)).toThrow('are 16, 2, 2 in config.json, but 14, 2, 2 in');
});

/** A copy of the model whose files say other things of the end. */
function ending(generation: object | undefined, tokenizerConfig: object, template?: string): PromptEncoder {
  const directory = mkdtempSync(path.join(tmpdir(), 'visurf-ending-'));
  cpSync(model, directory, { recursive: true });
  const edit = (name: string, changes: object): void => {
    const file = path.join(directory, name);
    const read = JSON.parse(readFileSync(file, 'utf8'), (key, value: unknown) =>
      key === 'eos_token_id' ? undefined : value,
    ) as object;
    writeFileSync(file, JSON.stringify({ ...read, ...changes }));
  };
  edit('config.json', {});
  edit('tokenizer_config.json', tokenizerConfig);
  if (generation) edit('generation_config.json', generation);
  else rmSync(path.join(directory, 'generation_config.json'));
  if (template !== undefined) writeFileSync(path.join(directory, 'chat_template.jinja'), template);
  return PromptEncoder.load(directory);
}

/** 322 is <|im_end|>, 320 <|endoftext|>, 321 <|im_start|>. */
const generations = [undefined, {}, { eos_token_id: 320 }, { eos_token_id: [320] }, { eos_token_id: [320, 321] }];
const owners = [{ eos_token: '<|endoftext|>' }, { eos_token: '<|im_end|>' }, { eos_token: null }];

test('a label ends as the template ends a turn; all that ends one is a stop token, whatever the files say', () => {
  for (const generation of generations) {
    for (const owner of owners) {
      const { tokenizer, ...encoder } = ending(generation, owner);
      const ids = new Set([generation?.eos_token_id ?? []].flat());
      ids.add(322);
      if (owner.eos_token === '<|endoftext|>') ids.add(320);
      expect(new Set(tokenizer.eosIds)).toEqual(ids);
      expect(tokenizer.eosId).toBe(322);
      expect(encoder.forbiddenIds.filter((id) => ids.has(id))).toEqual([]);
    }
  }
});

const turns = (end: string): string =>
  `{% for m in messages %}{{ m.role }}:{% if m.content is string %}{{ m.content }}{% else %}` +
  `{% for part in m.content %}{{ part.text }}{% endfor %}{% endif %}${end}{% endfor %}`;

test('white space before the end of a turn belongs to a label', () => {
  const encoder = ending({}, { eos_token: '<|endoftext|>' }, turns('{{ "\\n" }}<|im_end|>\n'));
  expect(encoder.encodeResponse('[]')).toEqual([...encoder.encodeText('[]\n'), 322]);
  const eosToken = ending({}, { eos_token: '<|endoftext|>' }, turns('{{ eos_token }}'));
  expect(eosToken.encodeResponse('[]')).toEqual([...eosToken.encodeText('[]'), 320]);
});

test('a template that ends no turn, or knows no turns of the assistant, leaves it to the other files', () => {
  expect(ending({ eos_token_id: [321, 320] }, { eos_token: '<|endoftext|>' }, turns('\n')).encodeResponse('')).toEqual([
    320,
  ]);
  const refuses = `{% if messages[-1].role == 'assistant' %}{{ raise_exception('no') }}{% endif %}`;
  expect(ending({ eos_token_id: [321] }, { eos_token: null }, refuses).encodeResponse('')).toEqual([321]);
  expect(() => ending({}, { eos_token: null }, refuses)).toThrow('names no token that ends a response');
  // An id of another tokenizer cannot end anything.
  expect(ending({ eos_token_id: [151645] }, { eos_token: '<|im_end|>' }, refuses).tokenizer.eosIds).toEqual([322]);
});

test('ids without a token are known', () => {
  const { tokenizer } = PromptEncoder.load(model);
  expect(tokenizer.missingIds(352)).toEqual([346, 347, 348, 349, 350, 351]);
  expect(tokenizer.missingIds(346)).toEqual([]);
});

test('an end of turn that is an added token but not declared as special', () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'visurf-ending-'));
  cpSync(model, directory, { recursive: true });
  const file = path.join(directory, 'tokenizer.json');
  const read = JSON.parse(readFileSync(file, 'utf8')) as { added_tokens: { id: number; special: boolean }[] };
  for (const each of read.added_tokens) if (each.id === 322) each.special = false;
  writeFileSync(file, JSON.stringify(read));
  writeFileSync(path.join(directory, 'tokenizer_config.json'), '{"eos_token": "<|endoftext|>"}');
  const encoder = PromptEncoder.load(directory);
  expect(encoder.encodeResponse('[]')).toEqual([58, 60, 322]);
  expect(new Set(encoder.tokenizer.eosIds)).toEqual(new Set([322, 320]));
});

test('images of a sample stand at its <image>; elsewhere that is text', async () => {
  const encoder = PromptEncoder.load(model);
  const images = [image, `${fixtures}/images/flat-90x60.png`];
  const problem = 'compare <image> with <image>';
  const vision = '<|vision_start|><|image_pad|><|vision_end|>';
  const placed = await encoder.encode({ problem, images, places: true });
  expect(placed.rendered).toContain(`compare ${vision} with ${vision}<|im_end|>`);
  expect(placed.images).toEqual(images);
  const raw = await encoder.encode({ problem, images });
  expect(raw.rendered).toContain(`${vision}${vision}compare <image> with <image><|im_end|>`);
  await expect(encoder.encode({ problem, images: [image], places: true }, 'a.jsonl:3')).rejects.toThrow(
    'a.jsonl:3: the question has 2 <image> for 1 image',
  );
});

test('a thought that the prompt opens is gone on with, or closed where a response has none', () => {
  const encoder = PromptEncoder.load(openConfiguration('qwen3_vl-v5').model);
  expect(encoder.opening).toBe('<think>\n');
  const read = (text: string): string => encoder.readResponse(encoder.encodeResponse(text).slice(0, -1));
  expect(read('<think>red</think><answer>[]</answer>')).toBe('<think>\nred</think><answer>[]</answer>');
  expect(read('<answer>[]</answer>')).toBe('<think>\n\n</think>\n\n<answer>[]</answer>');
  expect(PromptEncoder.load(model).readResponse(encoder.encodeText('red'))).toBe('red');
});
