/** Whatever is read from outside is used, or refused with a message for its user: "a failure of visurf" is reached by none of it. */
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { openSafetensors, TorchError } from '@visurf/torch';
import { afterAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { loadConfig } from './config/load.ts';
import { readPointing } from './benchmarks/answers.ts';
import { readDataset } from './data/dataset.ts';
import { solutionOf } from './data/formats/answer.ts';
import { parseXml } from './data/formats/xml.ts';
import { UserError } from './errors.ts';
import { readListing } from './hub/files.ts';
import { parseModelConfig } from './families/config.ts';
import { loadModelConfig } from './families/config.ts';
import { PromptEncoder } from './prompt/encoder.ts';
import { limited } from './patterns.ts';
import { ChatTemplate, messagesSchema, type Message } from './prompt/template.ts';
import { readEvents, type StepEvent } from './run/events.ts';
import { ServerFault, type Endpoint } from './servers/http.ts';
import { protocols } from './servers/open.ts';
import type { Asked } from './servers/protocol.ts';
import { requirePrompt, requireResponses } from './servers/said.ts';
import { taskDefinition, taskNames } from './tasks/registry.ts';
import { templateFault } from './tasks/template.ts';
import { fuzz, pick, spoiledBytes, spoiledText, spoiledValue } from './testing/fuzz.ts';
import { fixtures, tinyModel } from './testing/oracle.ts';
import { budget } from './testing/reliability.ts';
import type { Frame } from './types.ts';

const root = mkdtempSync(path.join(tmpdir(), 'visurf-untrusted-'));
afterAll(() => rmSync(root, { recursive: true }));
const place = (name: string): string => path.join(root, name);
const here = 'packages/core/src/untrusted.test.ts';
const long = { timeout: 3_600_000 };

copyFileSync(path.join(fixtures, 'images/small-40x40.png'), place('a.png'));

const CONFIG = {
  ...{ model: 'm', output: 'o', steps: 3, seed: 1, device: 'cpu', precision: 'float32', paradigm: 'visurf' },
  data: { train: 't.jsonl', validation: '10%', task: 'grounding', prompt: '{Question}', maxPixels: 1000 },
  task: { weights: { thinking: 0.5 }, boxError: 3 },
  tasks: { click: { weights: { format: 1 } } },
  rollout: { group: 4, temperature: 1, maxNewTokens: 8 },
  label: { align: 'format', smooth: 'reward' },
  objective: { clip: { low: 0.1, high: 0.3 }, kl: { coefficient: 0.1 }, aggregate: { tokens: 'mean', over: 'batch' } },
  optimizer: { learningRate: 1e-5, betas: [0.9, 0.99], decay: 'cosine' },
  train: { lora: { rank: 2, targets: ['q_proj'] }, microBatch: { prompts: 2 } },
  eval: { every: 2 },
  checkpoint: { keep: 2 },
};

test('configurations', long, async () => {
  const file = place('c.yaml');
  await fuzz({
    ...{ parser: 'configuration', test: here, count: budget(400, 100_000) },
    make: (next) =>
      next() < 0.5
        ? spoiledText(stringify(CONFIG), next)
        : `${stringify(spoiledValue(CONFIG, next))}${next() < 0.1 ? spoiledText('tasks: {a: {b: [1, *a]}}\n', next) : ''}`,
    read: (text) => {
      writeFileSync(file, text);
      loadConfig(file);
    },
  });
});

test('overrides', long, async () => {
  const file = place('o.yaml');
  writeFileSync(file, stringify(CONFIG));
  const overrides = [
    'rollout.group=3',
    'train.lora={rank: 3}',
    'optimizer.betas=[0.1, 0.2]',
    'data.task=click',
    'epochs=',
  ];
  await fuzz({
    ...{ parser: 'change of a configuration on the command line', test: here, count: budget(400, 50_000) },
    make: (next) => spoiledText(pick(next, overrides), next),
    read: (text) => loadConfig(file, [text]),
  });
});

const ROWS = [
  { id: 'a', image: 'a.png', problem: 'x', solution: [{ bbox_2d: [1, 2, 30, 31], point_2d: [3, 4] }], thinking: 'so' },
  { id: 'b', image: ['a.png'], problem: '<image>x', solution: [{ bbox_2d: [1, 2, 3, 4] }], task: 'box', box: 1 },
  { id: 'c', problem: 'how many', solution: '7', task: 'math', question_type: 'free_form', answer_type: 'integer' },
  { id: 'd', image: 'a.png', problem: 'here', solution: [{ bbox_2d: [1, 2, 3, 4] }], task: 'click' },
  { id: 'e', image: 'a.png', problem: 'odd?', solution: 'yes', task: 'anomaly', category: 'bolt' },
  { id: 'f', image: 'a.png', problem: 'what', solution: ['red', 'crimson'], task: 'answer' },
];

test('rows of data', long, async () => {
  const file = place('rows.jsonl');
  const line = (row: unknown): string => JSON.stringify(row);
  await fuzz({
    ...{ parser: 'row of training data', test: here, count: budget(300, 50_000) },
    make: (next) => {
      const rows = ROWS.map((row) => (next() < 0.5 ? row : spoiledValue(row, next)));
      const text = rows.map(line).join('\n');
      return next() < 0.3 ? spoiledText(text, next) : text;
    },
    read: async (text) => {
      writeFileSync(file, text);
      await readDataset(file, { task: 'grounding', truths: () => ({ parseTruth: () => undefined }) });
    },
  });
});

/** What a text may consist of, and which of our expressions would look at again and again. */
const RUNS = [' ', '\n', '\t ', '<answer>', '```', '</box>', '{', 'a', '{a ', '#', '=', '%', '<!--', '"\\', ','];

test.each<[string, string, (text: string) => unknown]>([
  ['answer to a benchmark', '<answer>', (text) => readPointing(text, FRAMES[0]!, 'official')],
  ['label of a set', '```json', solutionOf],
  ['label with a box', '<box>(1,2),(3,4)</box>', solutionOf],
  ['template of a prompt', '{Question', (text) => templateFault(text, ['Question'])],
  ['XML file', '<annotation ', parseXml],
])('a long %s is read in the time that its length asks for', (_, start, read) => {
  for (const run of RUNS) {
    const text = start + run.repeat(200_000) + 'x';
    const all = (): void => {
      try {
        read(text);
      } catch (error) {
        if (!(error instanceof UserError)) throw error;
      }
    };
    limited(all, { expressions: [run], characters: 0 });
  }
});

const FRAMES: readonly Frame[] = [{ width: 40, height: 40, modelWidth: 28, modelHeight: 28 }];

test.each(taskNames())('labels and answers of the task %s', long, async (name) => {
  const definition = taskDefinition(name);
  const task = definition.create(definition.parameters.parse({}), []);
  const { id, problem, solution, ...extra } = ROWS.find((row) => (row.task ?? 'grounding') === name)!;
  const source = { file: 'f.jsonl', line: 1 };
  const sampleOf = (text: string, more: Record<string, unknown>) => ({
    ...{ id, images: ['a.png'], problem, solution: text, task: name, extra: more, source },
  });
  const good = typeof solution === 'string' ? solution : JSON.stringify(solution);
  const truth = task.parseTruth(sampleOf(good, extra), FRAMES);
  const answer = `<think>so</think><answer>${good}</answer>`;
  await fuzz({
    ...{ parser: `label of the task ${name}`, test: here, count: budget(300, 100_000) },
    make: (next) => ({
      text: next() < 0.5 ? spoiledText(good, next) : JSON.stringify(spoiledValue(solution, next, 0.5)),
      more: (next() < 0.3 ? spoiledValue(extra, next) : extra) as Record<string, unknown>,
    }),
    read: ({ text, more }) => {
      const read = task.parseTruth(sampleOf(text, { ...more }), FRAMES);
      task.terms({ text: answer, stop: 'eos' }, read, FRAMES);
    },
  });
  await fuzz({
    ...{
      parser: `answer to the task ${name}`,
      test: 'packages/core/src/untrusted.test.ts',
      count: budget(500, 1_000_000),
    },
    make: (next) => spoiledText(next() < 0.2 ? spoiledText(good, next) : answer, next),
    read: (text) => {
      const said = { text, stop: 'eos' } as const;
      const evaluation = task.evaluate(said, truth, FRAMES);
      const { boxes, points } = task.parse(text, FRAMES);
      task.recognise(text);
      const numbers = [...Object.values(task.terms(said, truth, FRAMES)), ...Object.values(task.metrics([evaluation]))];
      const wrong = [...numbers, ...boxes.flat(), ...points.flat()].filter((value) => !Number.isFinite(value));
      expect([text, wrong]).toEqual([text, []]);
    },
  });
});

test('chat templates', long, async () => {
  const source =
    '{% set n = namespace(i=0) %}{% for m in messages %}{% if m.content is string %}{{ m.role }}: {{ m.content | trim }}' +
    '{% else %}{% for p in m.content %}{% if p.type == "image" %}<img>{% set n.i = n.i + 1 %}{% else %}{{ p["text"] }}' +
    '{% endif %}{% endfor %}{% endif %}<end>{{ range(3) | join(",") }}{% endfor %}{% macro a(x=1) %}{{ x ~ "b" }}{% endmacro %}' +
    '{{ a(2) }}{% if add_generation_prompt %}assistant{% endif %}';
  const messages: Message[] = [
    { role: 'system', content: 'a' },
    { role: 'user', content: [{ type: 'image', image: 'x' }, { type: 'text', text: 'b<end>' }] }, // prettier-ignore
  ];
  const directory = mkdtempSync(place('template-'));
  await fuzz({
    ...{ parser: 'chat template', test: here, count: budget(400, 100_000), limit: 10_000 },
    make: (next) => spoiledText(source, next),
    read: (text) => {
      writeFileSync(path.join(directory, 'chat_template.jinja'), text);
      const template = ChatTemplate.load(directory);
      template.render(messages, (each) => each.includes('<end>'));
      expect(typeof template.turnEnd).toBe('string');
    },
  });
});

test('conversations', long, async () => {
  const messages = [
    {
      role: 'user',
      content: [
        { type: 'image_url', image_url: { url: 'a' } },
        { type: 'text', text: 'b' },
      ],
    },
  ];
  await fuzz({
    ...{ parser: 'conversation', test: here, count: budget(500, 50_000) },
    make: (next) => spoiledValue(messages, next, 0.5),
    read: (value) => messagesSchema.safeParse(value),
  });
});

test('config.json of a model', long, async () => {
  const config = JSON.parse(readFileSync(path.join(tinyModel, 'config.json'), 'utf8')) as unknown;
  const directory = mkdtempSync(place('model-'));
  expect(() => parseModelConfig(config)).not.toThrow();
  await fuzz({
    ...{ parser: 'config.json', test: here, count: budget(400, 100_000) },
    make: (next) =>
      next() < 0.3 ? spoiledText(JSON.stringify(config), next) : JSON.stringify(spoiledValue(config, next)),
    read: (text) => {
      writeFileSync(path.join(directory, 'config.json'), text);
      loadModelConfig(directory);
    },
  });
});

const TOKENIZER = ['tokenizer.json', 'tokenizer_config.json', 'preprocessor_config.json', 'generation_config.json'];

test('files of tokenizers and processors', long, async () => {
  const directory = mkdtempSync(place('prompt-'));
  const names = [...TOKENIZER, 'config.json', 'chat_template.jinja', 'chat_template.json'];
  const texts = new Map<string, string>();
  for (const name of names) {
    try {
      texts.set(name, readFileSync(path.join(tinyModel, name), 'utf8'));
    } catch {
      // The fixture has the chat template in one place.
    }
  }
  await fuzz({
    ...{ parser: 'set of files of a tokenizer and processor', test: here, count: budget(40, 5_000), limit: 20_000 },
    make: (next) => {
      const spoiled = pick(
        next,
        TOKENIZER.filter((name) => texts.has(name)),
      );
      const text = texts.get(spoiled)!;
      const made = next() < 0.5 ? spoiledText(text, next) : JSON.stringify(spoiledValue(JSON.parse(text), next, 0.02));
      return { spoiled, made };
    },
    read: ({ spoiled, made }) => {
      for (const [name, text] of texts) writeFileSync(path.join(directory, name), name === spoiled ? made : text);
      PromptEncoder.load(directory);
    },
  });
});

test('headers of safetensors', long, async () => {
  const directory = mkdtempSync(place('weights-'));
  const bytes = readFileSync(path.join(tinyModel, 'model.safetensors'));
  const length = Number(bytes.readBigUInt64LE());
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString()) as Record<string, unknown>;
  const some = Object.fromEntries(Object.entries(header).slice(0, 6));
  const build = (text: string): Buffer => {
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(Buffer.byteLength(text)));
    return Buffer.concat([size, Buffer.from(text), bytes.subarray(8 + length, 8 + length + 40_000)]);
  };
  await fuzz({
    ...{ parser: 'safetensors file', test: here, count: budget(500, 200_000) },
    make: (next) => {
      if (next() < 0.4) return Buffer.from(spoiledBytes(build(JSON.stringify(some)).subarray(0, 3000), next));
      return build(next() < 0.5 ? spoiledText(JSON.stringify(some), next) : JSON.stringify(spoiledValue(some, next)));
    },
    read: (file) => {
      writeFileSync(path.join(directory, 'model.safetensors'), file);
      try {
        using weights = openSafetensors(directory);
        for (const name of weights.names) weights.get(name).dispose();
      } catch (error) {
        // What loadModel says to its user in words of its own.
        if (error instanceof TorchError) throw new UserError(error.message);
        throw error;
      }
    },
  });
});

test('listings of a hub', long, async () => {
  const listing = ['config.json', 'tokenizer.json', 'model-00001-of-00002.safetensors', 'chat_template.jinja'].map(
    (name, i) => ({
      ...{ type: 'file', path: name, size: 100 * i, oid: 'a'.repeat(40) },
      ...(i === 2 && { lfs: { oid: 'b'.repeat(64), size: 12, pointerSize: 130 } }),
    }),
  );
  const names = /^[\w.-]+$/;
  await fuzz({
    ...{ parser: 'listing of a hub', test: here, count: budget(1000, 200_000) },
    make: (next) => spoiledValue(listing, next, 0.5),
    read: (value) => {
      for (const { path: name, size, oid, sha256 } of readListing(value, true, 'owner/model')) {
        expect(name).toMatch(names);
        expect(oid).toMatch(sha256 ? /^[0-9a-f]{64}$/ : /^[0-9a-f]{40}$/);
        expect(Number.isSafeInteger(size) && size >= 0).toBe(true);
      }
    },
  });
});

/** What servers say where all is well, by path. */
const SAID = {
  vllm: {
    '/v1/models': { data: [{ id: 'm', max_model_len: 100 }, { id: 'a', parent: 'm' }] }, // prettier-ignore
    '/v1/chat/completions': {
      prompt_token_ids: [5, 6],
      choices: [0, 1].map((index) => ({
        ...{
          index,
          finish_reason: 'stop',
          token_ids: [7, 1],
          logprobs: { content: [{ logprob: -1 }, { logprob: -2 }] },
        },
      })),
    },
    '/v1/load_lora_adapter': 'Success',
  },
  sglang: {
    '/model_info': { model_path: 'm' },
    '/server_info': { max_req_input_len: 100 },
    '/v1/models': { data: [{ id: 'm' }, { id: 'a', parent: 'm' }] },
    '/generate': [0, 1].map(() => ({
      meta_info: {
        ...{ prompt_tokens: 2, finish_reason: { type: 'stop' }, weight_version: 'w' },
        output_token_logprobs: [[-1, 7, 'a'], [-2, 1, 'b']], // prettier-ignore
        input_token_logprobs: [[null, 5, 'c'], [-3, 6, 'd']], // prettier-ignore
      },
    })),
    '/load_lora_adapter': { success: true },
    '/update_weights_from_disk': { success: true, message: 'Succeeded' },
  },
} as const;

test.each(['vllm', 'sglang'] as const)('answers of %s', long, async (backend) => {
  const protocol = protocols[backend];
  const asked = {
    ...{ prompt: { inputIds: [5, 6], rendered: '' }, conversation: { messages: [], variables: {} }, pictures: [] },
    ...{ group: 2, maxNewTokens: 2, vocabulary: 10, stopIds: [1], forbiddenIds: [3], visionIds: [4], seed: 0 },
    sampling: { temperature: 1, topP: 1, topK: 0, repetitionPenalty: 1 },
  } as unknown as Asked;
  const weights = { kind: 'adapter', name: 'w', directory: '/w' } as const;
  const conversation = async (answers: Readonly<Record<string, unknown>>): Promise<void> => {
    const endpoint = { url: 'http://server', call: ({ path: at }: { path: string }) => Promise.resolve(answers[at]) };
    const there = endpoint as unknown as Endpoint;
    const { model } = await protocol.served(there);
    for (const kind of ['adapter', 'whole'] as const) await protocol.load(there, { ...weights, kind }, 1).catch(served);
    const said = await protocol.answer(there, asked, { model, weights, seconds: 1 });
    requirePrompt(said, asked, endpoint.url);
    requireResponses(said, asked);
  };
  const served = (error: unknown): void => {
    // What the pool asks again, or says in words of its own.
    if (error instanceof ServerFault) throw new UserError(error.message);
    throw error;
  };
  if (backend === 'vllm') await conversation(SAID.vllm);
  await fuzz({
    ...{ parser: `answer of a server (${protocol.title})`, test: here, count: budget(1000, 200_000) },
    make: (next) => ({ ...(spoiledValue(SAID[backend], next, 0.3) as Readonly<Record<string, unknown>> | null) }),
    read: (answers) => conversation(answers).catch(served),
  });
});

test('logs of runs', long, async () => {
  const events = [
    { type: 'start', step: 0, time: 1, configHash: 'a', environment: { node: 'v24' }, format: 1 },
    { type: 'step', step: 1, time: 2, metrics: { loss: 1 }, seconds: { update: 1 } },
    { type: 'end', step: 1, time: 3, reason: 'done' },
  ];
  const file = place('events.jsonl');
  await fuzz({
    ...{ parser: 'log of a run', test: here, count: budget(400, 50_000) },
    make: (next) => {
      const text = events
        .map((event) => `${JSON.stringify(next() < 0.5 ? event : spoiledValue(event, next))}\n`)
        .join('');
      return next() < 0.5 ? text : spoiledText(text, next);
    },
    read: (text) => {
      writeFileSync(file, text);
      for (const event of readEvents(file)) {
        expect([typeof event.type, Number.isSafeInteger(event.step)]).toEqual(['string', true]);
        const { metrics = {}, seconds = {} } = event as Partial<StepEvent>;
        if (event.type === 'step')
          expect([...Object.values(metrics), ...Object.values(seconds)].every(Number.isFinite)).toBe(true);
      }
    },
  });
});
