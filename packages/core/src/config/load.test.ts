import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { parse } from 'yaml';
import { expect, test } from 'vitest';
import { UserError } from '../errors.ts';
import { PARADIGMS } from '../schedule/paradigm.ts';
import { resolveSteps } from './schema.ts';
import { changedKeys, configHash } from './changed.ts';
import { configToYaml, loadConfig, mayChange, parseConfig } from './load.ts';

const directory = mkdtempSync(path.join(tmpdir(), 'visurf-config-'));
const minimal = 'model: base\noutput: runs/a\nsteps: 10\ndata:\n  train: train.jsonl\n';

function write(text: string, name = 'a.yaml'): string {
  const file = path.join(directory, name);
  writeFileSync(file, text);
  return file;
}

function messageFor(text: string, overrides: string[] = []): string {
  try {
    loadConfig(write(text), overrides);
  } catch (error) {
    if (error instanceof UserError) return error.message.replaceAll(directory, '');
    throw error;
  }
  throw new Error('was accepted');
}

test('an alias whose anchor was replaced is a mistake of the file', () => {
  const aliases = minimal.replace('train: train.jsonl', 'train: &b { file: t.jsonl }\n  validation: *b');
  expect(messageFor(aliases)).toContain('Unresolved alias');
  expect(messageFor(`${minimal}rollout: &b { group: 3 }\ntask: *b\n`, ['rollout={group: 4}'])).toContain(
    'Unresolved alias',
  );
});

test('which changes a configuration admits', () => {
  const config = parseConfig({ ...parse(minimal), paradigm: 'data-mixing', promptsPerStep: 2, optimizer: { states: '8bit' } }); // prettier-ignore
  const admitted = (...overrides: string[]): boolean => mayChange(config, overrides);
  expect(admitted('train.lora.rank=16', 'steps=3')).toBe(true);
  expect(admitted('optimizer.name=sgd', 'optimizer.states=full')).toBe(true);
  expect(admitted('optimizer.name=sgd')).toBe(false);
  expect(admitted('promptsPerStep=1')).toBe(false);
});

test('a minimal file gets every default, and absolute paths', () => {
  const config = loadConfig(write(minimal));
  expect(config.model).toBe(path.join(directory, 'base'));
  expect(config.data.train).toBe(path.join(directory, 'train.jsonl'));
  expect(config.paradigm).toBe('visurf');
  expect(config.rollout.group).toBe(8);
  expect(config.objective.aggregate).toEqual({ tokens: 'sum', over: 'sequence', normalizer: 512 });
  expect(config.sft.aggregate).toEqual({ tokens: 'mean', over: 'batch', normalizer: 1 });
  expect(config.data.prompt).toBeUndefined();
});

test('overrides are YAML values; their paths are relative to the working directory', () => {
  const config = loadConfig(
    write(minimal),
    [
      'optimizer.learningRate=1e-5',
      'optimizer.betas=[0.9, 0.99]',
      'label.smooth=accuracy',
      'label.eliminate=on',
      'model=m',
    ],
    { cwd: '/work' },
  );
  expect(config.optimizer).toMatchObject({ learningRate: 1e-5, betas: [0.9, 0.99] });
  expect(config.label).toMatchObject({ smooth: 'accuracy', eliminate: 'on' });
  expect(config.model).toBe('/work/m');
});

test('the resolved configuration reads back as itself', () => {
  const config = loadConfig(write(`${minimal}  prompt: "find {Question}"\n`));
  const again = loadConfig(write(configToYaml(config), 'resolved.yaml'));
  expect(again).toEqual(config);
  expect(configHash(again)).toBe(configHash(config));
  expect(parseConfig(parse(configToYaml(config)))).toEqual(config);
});

test('a prompt file is read', () => {
  write('Where is {Question}?\n', 'prompt.txt');
  expect(loadConfig(write(`${minimal}  prompt: prompt.txt\n`)).data.prompt).toBe('Where is {Question}?');
  expect(messageFor(`${minimal}  prompt: none.txt\n`)).toBe(
    '/a.yaml:6: /none.txt: no such file\n  A prompt is a text with {Question} in it, or a file that holds one.',
  );
});

test('unknown keys name file, line and the nearest key', () => {
  expect(messageFor(`${minimal}optimizer:\n  lerningRate: 1\n`)).toBe(
    '/a.yaml:7: unknown key optimizer.lerningRate\n  Did you mean optimizer.learningRate?',
  );
  expect(messageFor(`${minimal}sed: 3\n`)).toContain('Did you mean seed?');
  expect(messageFor(`${minimal}objective: {clip: {hihg: 0.3}}\n`)).toContain('Did you mean objective.clip.high?');
  expect(messageFor(`${minimal}task:\n  weigths: {}\n`)).toContain(
    '/a.yaml:7: unknown key task.weigths\n  Did you mean task.weights?',
  );
  expect(messageFor(minimal, ['rollout.grup=3'])).toContain('override rollout.grup=3: unknown key rollout.grup');
});

test('several mistakes come in one message', () => {
  const message = messageFor(`${minimal}steps2: 1\nrollout:\n  group: -1\nprecision: float8\n`);
  expect(message).toContain('3 mistakes in the configuration');
  expect(message).toContain('/a.yaml:6: unknown key steps2');
  expect(message).toContain('/a.yaml:8: rollout.group');
  expect(message).toContain('/a.yaml:9: precision');
});

test.each([
  ['paradigm: rlvr\nrollout: {group: 1}\n', '/a.yaml:7: rollout.group: RL compares'],
  ['rollout:\n  temperature: 0.7\n', '/a.yaml:6: rollout: the loss takes rollouts'],
  ['objective: {baseline: leave-one-out}\n', '/a.yaml:6: objective.baseline: leave-one-out goes with std: none'],
  ['promptsPerStep: 1\nparadigm: data-mixing\n', 'mix.share: of 1 prompts a step 1 are for SFT'],
  ['paradigm: sft-then-rlvr\n', '/a.yaml:6: paradigm: sft-then-rlvr needs sftSteps'],
  ['paradigm: sft-then-rlvr\nsftSteps: 10\n', 'sftSteps must be less than steps (10)'],
  ['objective: {aggregate: {over: batch}}\n', 'tokens: sum goes with over: sequence'],
  ['paradigm: sft\nsft: {aggregate: {normalizer: 3}}\n', 'only tokens: sum has a normalizer'],
  ['eval: {every: 5}\n', 'evaluation needs data.validation'],
])('rules over several keys: %j', (text, message) => {
  expect(messageFor(minimal + text)).toContain(message);
});

test('sampling is free when allowed', () => {
  expect(() => loadConfig(write(`${minimal}rollout: {topK: 5, allowTruncatedSampling: true}\n`))).not.toThrow();
});

test('broken YAML, missing keys, missing file, bad overrides', () => {
  expect(messageFor('model: [a\noutput: b\n')).toMatch(/^\/a.yaml:\d: /);
  expect(messageFor('model: a\nmodel: b\n')).toBe('/a.yaml:2: Map keys must be unique');
  expect(messageFor('- a\n')).toBe('/a.yaml:1: must hold keys and values');
  expect(messageFor('model: a\noutput: b\nsteps: 1\n')).toContain('missing key data');
  expect(messageFor('')).toContain('missing key model');
  expect(() => loadConfig('/nowhere.yaml')).toThrow('/nowhere.yaml: no such file');
  expect(messageFor(minimal, ['steps'])).toContain('override steps: not of the form key=value');
  expect(messageFor(minimal, ['output=gs://lab/x'])).toContain('gs://lab/x: is no address in an object store');
  expect(messageFor(minimal, ['rollout.ahead=2'])).toContain('expected one of 0|1');
  expect(messageFor(minimal, ['steps.a=1'])).toContain('steps has no keys below it');
  expect(messageFor(`${minimal}  task: nothing\n`)).toContain('/a.yaml:6: there is no task named "nothing"');
});

test('changed keys leave out what a resumed run may change', () => {
  const before = loadConfig(write(minimal));
  const after = loadConfig(write(minimal), ['steps=20', 'checkpoint.every=3', 'seed=1', 'optimizer.betas=[0.1, 0.2]']);
  const changed = changedKeys(before, after).filter(({ effect }) => effect !== 'harmless');
  expect(changed.map(({ key }) => key)).toEqual(['optimizer.betas', 'seed']);
});

test('what is written to do harm is a mistake of the file, or of the override', () => {
  const says = 'holds itself';
  for (const [text, message] of [
    ['tasks: &a {click: *a}', says],
    ['plugins: &a [*a]', says],
    ['eval: &a {<<: *a}', says],
    ['model2: "a\\0b"', 'NUL'],
    ['rollout: {serverCommand: ""}', 'rollout.serverCommand'],
    ['tasks: {__proto__: {a: 1}}', 'unknown key __proto__'],
    ['tasks: {constructor: {a: 1}}', 'no task named "constructor"'],
    ['task: {weights: {toString: 1}}', 'unknown key task.weights.toString'],
    // Tags make no sets, dates and bytes, whose keys nobody would look at.
    ['eval: !!set {a, b}', 'unknown key eval.a'],
    ['seed: !!binary aGVsbG8=', 'received string'],
    ['seed: !!timestamp 2001-12-14', 'received string'],
    [`x: &a [${'y,'.repeat(9)}]\nz: &b [${'*a,'.repeat(99)}]\nw: [${'*b,'.repeat(99)}]`, 'resource exhaustion'],
    [Array.from({ length: 5000 }, (_, i) => `${' '.repeat(i)}a:`).join('\n'), 'nested too deep'],
  ] as const)
    expect([text, messageFor(`${minimal}${text}\n`)]).toEqual([text, expect.stringContaining(message)]);
  for (const [override, message] of [
    ['tasks=&a {click: *a}', says],
    ['tasks.__proto__.x=1', 'unknown key __proto__'],
    ['constructor.prototype.x=1', 'unknown key constructor'],
    ['data.task=constructor', 'no task named "constructor"'],
    ['threads=1000000000', '<=1024'],
    ['optimizer.betas=[1, 1]', '<1'],
    ['data.train="a\\0b"', 'NUL'],
  ] as const)
    expect(messageFor(minimal, [override])).toContain(message);
  expect(Object.prototype).not.toHaveProperty('x');
});

test('a hundred of as many mistakes as there may be are named', () => {
  const keys = Array.from({ length: 20_000 }, (_, i) => `k${i}: 1\n`).join('');
  const message = messageFor(minimal + keys);
  expect(message).toContain('/a.yaml:6: unknown key k0');
  expect(message).toContain('19900 more unknown keys');
  expect(message.length).toBeLessThan(20_000);
});

test('any text is read, or refused with a UserError', () => {
  const key = fc.constantFrom('model', 'data', 'rollout', 'task', 'steps', 'x', '? ', '- ', '&a', '*a', '<<');
  const value = fc.oneof(fc.string(), fc.constantFrom('[1', '{a: b', '|', '1e999', '.nan', '!!js', '*a', '{train: a}'));
  fc.assert(
    fc.property(fc.array(fc.tuple(key, value)), (pairs) => {
      const file = write(pairs.map((pair) => pair.join(': ')).join('\n'), 'fuzz.yaml');
      try {
        loadConfig(file);
      } catch (error) {
        expect(error).toBeInstanceOf(UserError);
      }
    }),
  );
});

test('a model may be named as on the hub; a directory of that name comes first', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'config-'));
  const file = path.join(folder, 'c.yaml');
  writeFileSync(file, 'model: owner/model\noutput: out\nsteps: 1\ndata: {train: t.jsonl}\n');
  expect(loadConfig(file).model).toBe('owner/model');
  expect(loadConfig(file, ['model=other/model']).model).toBe('other/model');
  mkdirSync(path.join(folder, 'owner', 'model'), { recursive: true });
  expect(loadConfig(file).model).toBe(path.join(folder, 'owner', 'model'));
  expect(loadConfig(file, ['model=./other/model'], { cwd: folder }).model).toBe(path.join(folder, 'other', 'model'));
  rmSync(folder, { recursive: true });
});

test('what the paradigm does not use of a file is left out, with a warning', () => {
  const warnings: string[] = [];
  const file = write(`${minimal}sftSteps: 3\nlabel: {weight: 2}\nparadigm: sft\n`);
  const config = loadConfig(file, [], { onWarning: (message) => warnings.push(message) });
  expect([config.sftSteps, config.label.weight]).toEqual([undefined, 1]);
  expect(warnings).toEqual([`${file}: the paradigm sft does not use sftSteps, label.weight`]);
});

test('an override or a value that the paradigm does not use is refused, with the paradigms that use it', () => {
  expect(messageFor(`${minimal}paradigm: sft\n`, ['rollout.group=8'])).toBe(
    'override rollout.group=8: the paradigm sft does not use rollout.group; used by: visurf, rlvr, sft-then-rlvr, interleaved, progressive, data-mixing, s-grpo, luffy, chord',
  );
  const several = messageFor(`${minimal}paradigm: rlvr\nlabel:\n  smoth: true\n`, [
    'label.smooth=true',
    'sft.weighting=uniform',
  ]);
  expect(several).toContain('3 mistakes');
  expect(several).toContain('label.smooth; used by: visurf, s-grpo, luffy');
  expect(several).toContain('/a.yaml:8: unknown key label.smoth (Did you mean label.smooth?)');
  expect(several).toContain('override sft.weighting=uniform: the paradigm rlvr does not use sft.weighting');
  expect(() => parseConfig({ ...(parse(minimal) as object), sftSteps: 3 })).toThrow('does not use sftSteps');
});

test('aliases stand for what they name, also where it is a path', () => {
  const config = loadConfig(write(`${minimal.replace('train: ', 'train: &t ')}  validation: *t\n`));
  expect(config.data.validation).toBe(path.join(directory, 'train.jsonl'));
  expect(messageFor(`${minimal}seed: *x\n`)).toContain('/a.yaml');
});

test('the normalizer is the longest response unless said, and what is saved says which', () => {
  const of = (text: string) => loadConfig(write(minimal + text));
  const normalizers = ({ objective, sft }: ReturnType<typeof of>) =>
    [objective, sft].map(({ aggregate }) => aggregate.normalizer);
  expect(normalizers(of('rollout: {maxNewTokens: 48}\n'))).toEqual([48, 1]);
  expect(normalizers(of('rollout: {maxNewTokens: 48}\nobjective: {aggregate: {normalizer: auto}}\n'))).toEqual([48, 1]);
  expect(normalizers(of('objective: {aggregate: {normalizer: 18}}\n'))).toEqual([18, 1]);
  expect(normalizers(of('objective: {aggregate: {tokens: mean, normalizer: auto}}\n'))).toEqual([1, 1]);
  const sft = 'paradigm: sft\nsft: {aggregate: {tokens: sum, over: sequence}}\nrollout: {maxNewTokens: 48}\n';
  expect(of(sft).sft.aggregate.normalizer).toBe(48);
  for (const text of ['rollout: {maxNewTokens: 48}\n', 'objective: {aggregate: {tokens: mean}}\n', sft]) {
    const config = of(text);
    const saved = write(configToYaml(config), 'saved.yaml');
    expect(changedKeys(loadConfig(saved), config)).toEqual([]);
    expect(configToYaml(loadConfig(saved))).toBe(configToYaml(config));
  }
  expect(configToYaml(of(''))).toMatch(/objective:\n(.*\n)*? {4}normalizer: 512\n/);
  expect(messageFor(`${minimal}objective: {aggregate: {normalizer: 0}}\n`)).toContain('objective.aggregate.normalizer');
  expect(messageFor(`${minimal}objective: {aggregate: {normalizer: all}}\n`)).toContain(
    'objective.aggregate.normalizer',
  );
});

test('label.smooth: on is the default rule, off is off, and anything else is refused', () => {
  const of = (value: string) => loadConfig(write(`${minimal}label: {smooth: ${value}}\n`)).label.smooth;
  expect(['true', 'false', 'reward', 'accuracy', 'off'].map(of)).toEqual([
    'reward',
    'off',
    'reward',
    'accuracy',
    'off',
  ]);
  expect(messageFor(`${minimal}label: {smooth: sometimes}\n`)).toContain('"reward"|"accuracy"|"off"');
});

test('a paradigm has defaults of its own, which what is written overrides', () => {
  const of = (text: string) => loadConfig(write(minimal + text));
  expect(of('paradigm: dft\n').sft.weighting).toBe('probability');
  expect(of('paradigm: chord\n').mix).toMatchObject({ curve: 'cosine', weight: { start: 0.9, end: 0.05 } });
  expect(of('paradigm: chord\nmix: {weight: {start: 0.5}}\n').mix.weight).toEqual({ start: 0.5, end: 0.05 });
  expect(of('paradigm: luffy\n').objective.labelShaping).toBe(0.1);
  const uncontrolled = { align: 'off', eliminate: 'off', smooth: 'off' };
  expect(of('paradigm: s-grpo\n').label).toMatchObject({ ...uncontrolled, inject: 'on-failure' });
  expect(of('paradigm: s-grpo\nlabel: {inject: always}\n').label).toMatchObject({ ...uncontrolled, inject: 'always' });
  expect(of('').label).toMatchObject({ align: 'format', eliminate: 'on', smooth: 'reward', inject: 'always' });
});

test.each(PARADIGMS)('%s: what a run saves reads back, and holds what the paradigm uses alone', (paradigm) => {
  const config = loadConfig(
    write(`${minimal}paradigm: ${paradigm}\n${paradigm === 'sft-then-rlvr' ? 'sftSteps: 2\n' : ''}`),
  );
  const saved = configToYaml(config);
  expect(loadConfig(write(saved, 'saved.yaml'))).toEqual(config);
  expect('label' in (parse(saved) as object)).toBe(paradigm !== 'rlvr');
});

test('every task of several has its parameters, each under its own key', () => {
  const config = loadConfig(write(`${minimal}task: {boxError: 3}\ntasks:\n  click: {weights: {thinking: 0.25}}\n`));
  expect(config.task).toMatchObject({ boxError: 3 });
  expect(config.tasks).toEqual({ click: { weights: { thinking: 0.25, format: 1, accuracy: 1, nonRepeat: 0 } } });
  expect(messageFor(`${minimal}tasks: {click: {weight: 1}}\n`)).toContain('Did you mean tasks.click.weights?');
  expect(messageFor(`${minimal}tasks: {clock: {}}\n`)).toContain('there is no task named "clock"');
  expect(messageFor(`${minimal}tasks: {grounding: {}}\n`)).toContain('belong under task');
});

test('steps or epochs, and not both; on the command line a key without a value is taken out', () => {
  const open = minimal.replace('steps: 10', 'epochs: 1.5');
  expect(loadConfig(write(open))).toMatchObject({ steps: Infinity, epochs: 1.5 });
  expect(messageFor(`${minimal}epochs: 2\n`)).toBe(
    '/a.yaml:6: steps and epochs both say how long training is\n' +
      '  Leave one of them out; on the command line, epochs= or steps= takes it out of the file.',
  );
  expect(messageFor(open, ['steps=3'])).toContain('steps and epochs both');
  expect(loadConfig(write(open), ['epochs=', 'steps=3'])).toMatchObject({ steps: 3 });
  expect(loadConfig(write(minimal), ['steps=', 'epochs=0.25']).epochs).toBe(0.25);
  expect(messageFor(minimal, ['steps='])).toContain(
    'missing key steps\n  Add it: steps (batches of prompts), or epochs',
  );
  for (const epochs of ['0', '-1', '.inf', 'many'])
    expect(messageFor(minimal, ['steps=', `epochs=${epochs}`])).toContain('epochs: ');
  expect(loadConfig(write(`${minimal}train: {lora: {rank: 4}}\n`), ['train.lora=']).train.lora).toBeUndefined();
});

test('epochs come to steps: ceil(epochs x samples / promptsPerStep)', () => {
  const steps = (epochs: number, samples: number, promptsPerStep: number) => {
    const { epochs: left, steps: made } = resolveSteps(
      loadConfig(write(minimal), ['steps=', `epochs=${epochs}`, `promptsPerStep=${promptsPerStep}`]),
      samples,
    );
    expect(left).toBeUndefined();
    return made;
  };
  expect(steps(1, 6, 2)).toBe(3);
  expect(steps(1, 7, 2)).toBe(4);
  expect(steps(0.5, 6, 2)).toBe(2);
  expect(steps(0.01, 6, 2)).toBe(1);
  // In binary 0.07 x 100 is a little more than 7.
  expect(steps(0.07, 100, 1)).toBe(7);
  const whole = fc.integer({ min: 1, max: 1e5 });
  fc.assert(
    fc.property(whole, whole, fc.integer({ min: 1, max: 512 }), (hundredths, samples, prompts) => {
      const exact = (BigInt(hundredths) * BigInt(samples) + BigInt(100 * prompts) - 1n) / BigInt(100 * prompts);
      expect(steps(hundredths / 100, samples, prompts)).toBe(Number(exact));
    }),
    { numRuns: 30 },
  );
  const settled = loadConfig(write(minimal));
  expect(resolveSteps(settled, 5)).toBe(settled);
});
