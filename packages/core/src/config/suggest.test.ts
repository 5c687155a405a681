import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { stringify } from 'yaml';
import { afterAll, expect, test } from 'vitest';
import { UserError } from '../errors.ts';
import { LEAVES } from './keys.ts';
import { loadConfig, parseConfig } from './load.ts';
import { peerHint, peerNames } from './peers.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'suggest-'));
afterAll(() => rmSync(folder, { recursive: true }));

const minimal = { model: 'base', output: 'o', steps: 10, data: { train: 't.jsonl' } };

/** The remedy of the only mistake, from a file and from overrides. */
function remedyFor(changes: object, overrides: string[] = []): string | undefined {
  const file = path.join(folder, 'a.yaml');
  writeFileSync(file, stringify({ ...minimal, ...changes }));
  try {
    loadConfig(file, overrides);
  } catch (error) {
    if (error instanceof UserError && !error.message.includes('mistakes')) return error.remedy;
    throw error;
  }
  throw new Error('was accepted');
}

const keys = new Set(LEAVES.flatMap(({ key }) => key.split('.').map((_, i, parts) => parts.slice(0, i + 1).join('.'))));

test('every name of another trainer is unknown here, and leads to a key that exists, or to what takes its place', () => {
  expect(new Set(peerNames).size).toBe(peerNames.length);
  for (const name of peerNames) {
    expect(keys.has(name), name).toBe(false);
    const { key, note } = peerHint(name.split('.'))!;
    expect(key === undefined ? note : keys.has(key), name).toBeTruthy();
    const [first = '', ...rest] = name.split('.');
    const value = rest.reduceRight<unknown>((inner, part) => ({ [part]: inner }), 1);
    const remedy = remedyFor({ [first]: value });
    expect(remedy, name).toContain(key ?? note);
  }
});

test.each([
  ['lr=1e-5', 'Did you mean optimizer.learningRate?'],
  ['optimizer.lr=1e-5', 'Did you mean optimizer.learningRate?'],
  ['learningRate=1e-5', 'Did you mean optimizer.learningRate?'],
  ['num_generations=8', 'Did you mean rollout.group?'],
  ['rollout.n=8', 'Did you mean rollout.group?'],
  ['beta=0.04', 'Did you mean objective.kl.coefficient?'],
  ['optimizer.beta=0.9', 'Did you mean optimizer.betas?'],
  ['lora_r=8', 'Did you mean train.lora.rank?'],
  ['warmup_ratio=0.1', 'Did you mean optimizer.warmupSteps? It counts steps: ratio x steps.'],
  ['num-train-epochs=2', 'Did you mean epochs? It takes the place of steps.'],
  ['resume_from_checkpoint=true', 'A run goes on with --resume on the command line.'],
  ['rollout.top_p=0.9', 'Did you mean rollout.topP?'],
  ['top_p=0.9', 'Did you mean rollout.topP?'],
  ['precision=bf16', 'Did you mean bfloat16?'],
  ['device=gpu', 'Did you mean cuda?'],
  ['optimizer.name=adam', 'Did you mean adamw?'],
  ['preset=dr_grpo', 'Did you mean drgrpo?'],
  ['paradigm=visrf', 'Did you mean visurf?'],
  ['paradigm=SFT_then_RLVR', 'Did you mean sft-then-rlvr?'],
  ['paradigm=grpo', 'grpo is a variant of RLVR: paradigm: rlvr with preset: grpo.'],
  ['paradigm=Dr-GRPO', 'drgrpo is a variant of RLVR: paradigm: rlvr with preset: drgrpo.'],
])('%s', (override, remedy) => {
  expect(remedyFor({}, [override])).toBe(remedy);
});

test.each(['paradigm=dpo', 'paradigm=ppo', 'paradigm=3', 'wandb_project=x', 'deepspeed=x', 'foo=1', 'n=8', 'name=x'])(
  'nothing is near %s',
  (override) => {
    expect(remedyFor({}, [override])).toBeUndefined();
  },
);

test('sections of another trainer are looked into', () => {
  const verl = { actor_rollout_ref: { rollout: { n: 8 }, actor: { optim: { lr: 1e-6 }, fsdp: true } } };
  expect(remedyFor(verl)).toBe(
    'rollout.n: Did you mean rollout.group? actor.optim.lr: Did you mean optimizer.learningRate?',
  );
  expect(remedyFor({ trainer: { total_epochs: 2 } })).toMatch(/^total_epochs: Did you mean epochs/);
  expect(remedyFor({ optimiser: { learningRate: 1 } })).toBe('Did you mean optimizer?');
  expect(() => parseConfig({ ...minimal, task: { lr: 1 } })).toThrow(/unknown key task.lr$/);
});
