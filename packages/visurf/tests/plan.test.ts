/** plan: what a run will need, and what to change when that is too much. */

import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { expectRefusal, fixtures, tinyModel, visurf, visurfJson } from './cli.ts';
import { bad, good, makeFolder } from './training.ts';

interface Plan {
  readonly memory: {
    readonly peak: number;
    readonly phase: string;
    readonly parts: readonly { readonly part: string; readonly bytes: number }[];
    readonly phases: Record<string, number>;
  };
  readonly time: { readonly generation: number; readonly update: number; readonly step: number };
  readonly total: number;
  readonly parameters: { readonly all: number; readonly trainable: number };
  readonly workload: Record<string, number>;
  readonly available: number;
  readonly fits: boolean;
  readonly dominant: string;
  readonly advice: readonly { readonly change: string; readonly peak: number }[];
}

/** Enough responses that activations are most of it. */
const long = ['promptsPerStep=16', 'train.microBatch.prompts=16', 'rollout.group=16', 'rollout.maxNewTokens=256'];

test('memory, time and the workload of a configuration; nothing is written', async () => {
  const folder = await makeFolder({ lines: [good, { ...good, id: 'other' }] });
  const plan = await visurfJson<Plan>('plan', join(folder, 'config.yaml'), ...long, 'steps=7', '--memory', '100');
  const { peak, parts, phases, phase } = plan.memory;
  expect(parts.reduce((sum, { bytes }) => sum + bytes, 0)).toBeCloseTo(peak, 0);
  expect(phases[phase]).toBe(peak);
  expect(plan).toMatchObject({ fits: true, available: 100e9, dominant: 'activations of the decoder' });
  expect(plan.parameters).toEqual({ all: 243_824, trainable: 243_824 });
  // 40 x 40 pixels become 4 x 4 patches; the group and the label are trained on.
  expect(plan.workload).toMatchObject({
    prompts: 16,
    patches: 16,
    group: 16,
    responses: 17,
    responseTokens: 256,
    images: 1,
  });
  expect(plan.time.step).toBeCloseTo(plan.time.generation + plan.time.update, 9);
  expect(plan.total).toBeCloseTo(7 * plan.time.step, 9);
  expect(existsSync(join(folder, 'run'))).toBe(false);
});

test('what does not fit: where it goes, and changes that would do', async () => {
  const config = join(await makeFolder({}), 'config.yaml');
  const { code, stdout } = await visurf('plan', config, ...long, '--memory', '1', '--gflops', '100');
  expect(code).toBe(0);
  expect(stdout).toMatch(/^activations of the decoder +\d/m);
  expect(stdout).toMatch('It does not fit: 1.0 GB are available. Most goes to: activations of the decoder.');
  expect(stdout).toMatch(/^train\.microBatch\.prompts=1 +0\.\d+ GB +fits$/m);
  const changed = await visurfJson<Plan>('plan', config, ...long, 'train.microBatch.prompts=1', '--memory', '1');
  expect(changed.fits).toBe(true);
});

test('shorter answers, and another machine, are planned as asked', async () => {
  const config = join(await makeFolder({}), 'config.yaml');
  const planned = (...options: string[]): Promise<Plan> => visurfJson('plan', config, ...long, ...options);
  const slow = await planned('--gflops', '10', '--response-tokens', '64');
  const fast = await planned('--gflops', '1000', '--response-tokens', '64');
  expect(slow.workload.responseTokens).toBe(64);
  expect(fast.time.update).toBeLessThan(slow.time.update / 10);
});

test('what training would refuse is refused', async () => {
  const folder = await makeFolder({ lines: [good, bad({ image: 'nowhere.png' })] });
  const config = join(folder, 'config.yaml');
  expectRefusal(await visurf('plan', config), 'nowhere.png');
  expectRefusal(await visurf('plan', config, 'train.microbatch.prompts=1'), 'Did you mean train.microBatch');
  expectRefusal(await visurf('plan', join(folder, 'none.yaml')), 'none.yaml');
  expectRefusal(await visurf('plan', config, 'model=nowhere'), 'nowhere');
  expectRefusal(await visurf('plan', config, '--memory', '0'), 'a number above 0');
});

test('processes of this machine: what each needs, and what they exchange, as measured here', async () => {
  const config = join(await makeFolder({}), 'config.yaml');
  const args = ['plan', config, ...long, '--processes', '2'];
  const { processes, workload, available, time } = await visurfJson<ProcessPlan>(...args, '--memory', '8');
  expect([processes, workload['prompts'], available]).toEqual([2, 16, 4e9]);
  expect(time.communication).toBeGreaterThan(0);
  expect(time.step).toBeCloseTo(time.generation + time.update + time.communication, 9);
  const { stdout } = await visurf(...args, '--gflops', '100');
  expect(stdout).toMatch(/a step: .*exchange [\d.]+ s\)/);
  expect(stdout).toMatch(/are available for each of 2 processes/);
  expectRefusal(await visurf(...args, '--machine', 'h100'), '--cards N');
  expectRefusal(await visurf('plan', config, '--machine', 'h100', '--gflops', '9'), 'has rates of its own');
  expectRefusal(await visurf('plan', config, '--processes', '100000'), /100000 processes are more than .*\d+ at most/);
});

interface ProcessPlan extends Plan {
  readonly processes: number;
  readonly time: Plan['time'] & { readonly communication: number };
}

test('servers beside cards: how many, and how many would do', async () => {
  const config = join(await makeFolder({}), 'config.yaml');
  const servers = ['train.lora.rank=4', 'rollout.backend=vllm', 'rollout.servers=[http://127.0.0.1:1]'];
  const { stdout } = await visurf('plan', config, ...long, ...servers, '--machine', 'h100');
  expect(stdout).toMatch(/^rollouts by 1 server: [\d.]+ s a step; (with \d+ servers? they|no number)/m);
  const here = await visurf('plan', config, ...long, ...servers, '--gflops', '100');
  expect(here.stdout).toContain('Warning: rollouts are sampled by servers, whose time is not planned here.');
});

test('the modules of an adapter are those of its tensors: its expression, of another language, is not run', async () => {
  const folder = await makeFolder({});
  const adapter = join(folder, 'adapter');
  cpSync(join(fixtures, 'tiny-qwen2_5-vl/adapters/vision'), adapter, { recursive: true });
  const args = ['plan', join(folder, 'config.yaml'), `model=${adapter}`, `base=${tinyModel}`, '--gflops', '100'];
  const planned = await visurfJson<Plan>(...args);
  expect(planned.parameters.trainable).toBeLessThan(planned.parameters.all / 10);
  const file = join(adapter, 'adapter_config.json');
  for (const target_modules of ['(?P<all>.*)', '(([a-z._0-9]+)+)+!', null]) {
    writeFileSync(file, JSON.stringify({ ...(JSON.parse(readFileSync(file, 'utf8')) as object), target_modules }));
    expect((await visurfJson<Plan>(...args)).parameters).toEqual(planned.parameters);
  }
});

test('epochs are counted with the data', async () => {
  const config = join(await makeFolder({ lines: [good, { ...good, id: 'other' }] }), 'config.yaml');
  const changes = ['steps=', 'epochs=3', 'promptsPerStep=4', '--gflops', '100'];
  expect(await visurfJson<{ steps: number }>('plan', config, ...changes)).toMatchObject({ steps: 2 });
});

interface CardPlan extends Plan {
  readonly time: Plan['time'] & {
    readonly communication: number;
    readonly phases: readonly { readonly name: string; readonly seconds: number; readonly binds: string }[];
  };
  readonly host: { readonly peak: number; readonly available: number };
  readonly assumptions: readonly string[];
  readonly costPer1000Steps?: number;
  readonly efficiency: Readonly<Record<string, number>>;
  readonly warnings: readonly string[];
}

test('a machine with a card: its memory, phases and what binds them, whatever this one has', async () => {
  const folder = await makeFolder({});
  const config = join(folder, 'config.yaml');
  const planned = (machine: string, ...more: string[]): Promise<CardPlan> =>
    visurfJson('plan', config, ...long, 'precision=bfloat16', '--machine', machine, ...more);
  const { time, memory, available, host, assumptions } = await planned('h100');
  expect(available).toBe(80e9);
  expect(time.phases.reduce((sum, { seconds }) => sum + seconds, 0)).toBeCloseTo(time.step, 9);
  for (const { binds } of time.phases) expect(['bandwidth', 'launches', 'operations']).toContain(binds);
  expect(memory.phases[memory.phase]).toBe(memory.peak);
  expect(host.peak).toBeLessThan(host.available);
  expect(assumptions.length).toBeGreaterThan(0);
  // Nothing of this host: the same twice, to the byte.
  expect(await planned('h100')).toEqual(await planned('h100', '--device', 'cuda'));

  const file = join(folder, 'machine.yaml');
  writeFileSync(file, 'memory: 0.1\nbandwidth: 300\nbfloat16: 100\nfloat32: 30\nlaunch: 50\nprice: 3.6\n');
  const small = await planned(file);
  expect(small.fits).toBe(false);
  expect(small.costPer1000Steps).toBeCloseTo(small.time.step, 9);
  const { stdout } = await visurf('plan', config, ...long, '--machine', file);
  expect(stdout).toMatch(/^decoding: products +.* launches$/m);
  expect(stdout).toContain('takes longest, bound by launches: more rows at once');
});

test('cards and nodes: every field, for a card; the same step costs as many cards for as long as it takes', async () => {
  const config = join(await makeFolder({}), 'config.yaml');
  const planned = (...more: string[]): Promise<CardPlan> =>
    visurfJson('plan', config, ...long, '--machine', 'h100', ...more);
  const [one, two] = [await planned(), await planned('--cards', '4', '--nodes', '2', '--network', '400G')];
  for (const { time, efficiency, costPer1000Steps, fits, advice, assumptions, memory } of [one, two]) {
    expect(time.generation + time.update + time.communication).toBeCloseTo(time.step, 9);
    expect(Object.keys(efficiency)).toEqual(['1', '8', '64', '1024']);
    expect(Math.max(...Object.values(efficiency))).toBe(1);
    expect([fits, memory.peak > 0, advice.length > 0, assumptions.length > 0]).toEqual(Array(4).fill(true));
    expect(costPer1000Steps).toBeGreaterThan(0);
  }
  expect(one.time.communication).toBe(0);
  expect(two.time.communication).toBeGreaterThan(0);
  expect(two.memory.peak).toBeLessThan(one.memory.peak);
  expect(two.costPer1000Steps! / two.time.step).toBeCloseTo((8 * one.costPer1000Steps!) / one.time.step, 9);
  // Eight cards of two nodes of four.
  expect(two.efficiency['8']).toBeCloseTo(one.time.step / 8 / two.time.step, 9);
  expect(one.warnings).toEqual([]);
  expect((await planned('--cards', '20')).warnings).toEqual([expect.stringContaining('4 of 20 cards have no prompt')]);
  expectRefusal(await visurf('plan', config, '--machine', 'h100', '--network', 'fast'), '--network', '400G');
  expectRefusal(await visurf('plan', config, '--cards', '2'), '--machine b200 |');
  expectRefusal(await visurf('plan', config, '--machine', 'h100', '--cards', '0'), '--cards');
});

test('a card that nobody describes is refused', async () => {
  const config = join(await makeFolder({}), 'config.yaml');
  expectRefusal(await visurf('plan', config, '--machine', 'h1000'), 'Did you mean h100?', '--machine FILE.yaml');
  if ((await visurfJson<{ cards: { cards: unknown[] } }>('doctor')).cards.cards.length > 0) return;
  expectRefusal(await visurf('plan', config, '--device', 'cuda'), 'no card here', '--machine b200 |');
});
