/**
 * Steps of published shapes on one GPU, ours or TRL's or both, one after the other on the same card: random weights,
 * images of a thousand tokens. The first step of each is what it does once (libtorch's choices of kernels) and does not
 * count. Or a miniature trained there and on the CPU, from the same configuration. Needs a card; Python with TRL is
 * `ORACLE_PYTHON` (oracle/python.sh unless said). `--output` is written after every figure: what is cut off keeps them.
 *
 *     node bench/card.ts --model 3b --lora 16 --prompts 16 --group 8 --tokens 256 --steps 3 --only ours
 *     node bench/card.ts --model 3b --lora 16 --prompts 16 --group 8 --tokens 256 --steps 3 --only trl
 *     node bench/card.ts --miniature
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';

import sharp from 'sharp';

import { shapesOf3B, shapesOf7B, writeCheckpoint, type ConfigJson } from './checkpoint.ts';
import { Peer, type Step } from './peer.ts';
import { python, writeWorkload } from './workloads.ts';

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: '3b' },
    folder: { type: 'string', default: 'bench/out/card' },
    lora: { type: 'string', default: '0' },
    checkpointed: { type: 'boolean', default: false },
    precision: { type: 'string', default: 'bfloat16' },
    prompts: { type: 'string', default: '16' },
    group: { type: 'string', default: '8' },
    tokens: { type: 'string', default: '256' },
    micro: { type: 'string', default: '1' },
    sequences: { type: 'string', default: '8' },
    steps: { type: 'string', default: '3' },
    device: { type: 'string', default: 'cuda' },
    only: { type: 'string', default: 'both' },
    miniature: { type: 'boolean', default: false },
    profile: { type: 'string' },
    output: { type: 'string' },
  },
});

const root = fileURLToPath(new URL('..', import.meta.url));
const tiny = JSON.parse(
  readFileSync(join(root, 'oracle/fixtures/tiny-qwen2_5-vl/model/config.json'), 'utf8'),
) as ConfigJson;
/** The tokenizer is the tests' tiny one, and so are the ids of what is not text. */
const ids = Object.fromEntries(Object.entries(tiny).filter(([key]) => key.endsWith('_token_id')));
const shapes: Readonly<Record<string, ConfigJson>> = {
  tiny,
  '3b': { ...shapesOf3B, ...ids },
  '7b': { ...shapesOf7B, ...ids },
};

async function prepare(): Promise<string> {
  const config = shapes[values.model];
  if (!config) throw new Error(`--model is one of ${Object.keys(shapes).join(', ')}`);
  const model = join(values.folder, values.model);
  if (!existsSync(join(model, 'model.safetensors.index.json'))) writeCheckpoint(model, config, 'BF16');
  const processor = join(model, 'processor_config.json');
  const size = { longest_edge: 1_000_000, shortest_edge: 3136 };
  const { image_processor, ...rest } = JSON.parse(readFileSync(processor, 'utf8')) as { image_processor: ConfigJson };
  writeFileSync(processor, JSON.stringify({ ...rest, image_processor: { ...image_processor, size } }));
  const samples = [];
  for (let i = 0; i < Number(values.prompts); i++) {
    const image = join(values.folder, `${i}.png`);
    const [width, height] = values.model === 'tiny' ? [112, 112] : [1120, 700];
    const raw = Buffer.from(
      Uint8Array.from({ length: width * height * 3 }, (_, at) => (at * 2_654_435_761 * (i + 1)) >>> 16),
    );
    await sharp(raw, { raw: { width, height, channels: 3 } })
      .png({ compressionLevel: 1 })
      .toFile(image);
    samples.push({ image, problem: 'find the red circle in the' });
  }
  return writeWorkload(join(values.folder, `${values.model}.json`), {
    model,
    samples,
    group: Number(values.group),
    maxNewTokens: Number(values.tokens),
    microBatchPrompts: Number(values.micro),
  });
}

/** Megabytes of the card in use, all programs together. */
async function used(): Promise<number> {
  const query = ['--query-gpu=memory.used', '--format=csv,noheader,nounits'];
  const { stdout } = await promisify(execFile)('nvidia-smi', query).catch(() => ({ stdout: 'NaN' }));
  return Number(stdout.split('\n')[0]);
}

interface Measured {
  readonly program: string;
  readonly steps: Step[];
  cardMb?: number;
  failed?: string;
}

const measured: Measured[] = [];
const save = (result: object): void => {
  if (!values.output) return;
  const options = { ...values, folder: undefined, output: undefined };
  writeFileSync(values.output, JSON.stringify({ options, ...result }, undefined, 1));
};

async function measure(name: string, command: readonly string[]): Promise<void> {
  const before = await used();
  const result: Measured = { program: name, steps: [] };
  measured.push(result);
  const noted = async (): Promise<void> => {
    result.cardMb = Math.max(result.cardMb ?? 0, (await used()) - before);
  };
  const timer = setInterval(() => void noted(), 300);
  const peer = new Peer(name, command, { PYTORCH_ALLOC_CONF: 'expandable_segments:True' });
  try {
    const { peer: program } = await peer.ready();
    for (let i = 0; i < Number(values.steps); i++) {
      const step = await peer.step();
      process.stderr.write(`${program}, step ${i + 1} ${JSON.stringify(step)}\n`);
      result.steps.push(step);
      save({ measured });
    }
  } catch (error) {
    process.stderr.write(`${name} ${String(error)}\n`);
    result.failed = String(error);
  } finally {
    clearInterval(timer);
    await peer.stop();
    save({ measured });
  }
}

async function measureSteps(): Promise<void> {
  const workload = await prepare();
  const shared = ['--workload', workload, '--threads', '8', '--precision', values.precision, '--lora', values.lora];
  if (values.checkpointed) shared.push('--checkpointed');
  const profile = values.profile ? ['--cpu-prof', `--cpu-prof-dir=${values.profile}`] : [];
  const program = [process.execPath, ...profile, join(root, 'bench/ours.ts'), '--kind', 'rlvr'];
  const trl = [process.env.ORACLE_PYTHON ?? python, join(root, 'bench/peer_trl.py')];
  if (values.only !== 'trl') await measure('visurf', [...program, '--device', values.device, ...shared]);
  if (values.only !== 'ours') await measure('TRL', [...trl, ...shared, '--sequences', values.sequences]);
}

interface Trained {
  readonly device: string;
  readonly seconds: number;
  readonly metrics?: unknown;
}

/** 40 updates of recipes/mini-grounding by its configuration, and what its test split says then. */
async function measureMiniature(): Promise<void> {
  const said = async (...args: string[]): Promise<string> =>
    (await promisify(execFile)(process.execPath, args, { cwd: root, maxBuffer: 1 << 26 })).stdout;
  const program = join(root, 'packages/visurf/src/main.ts');
  const data = resolve(values.folder, 'mini-grounding');
  const sizes = ['--train', '640', '--validation', '20', '--test', '100'];
  await said(join(root, 'recipes/mini-grounding/src/generate.ts'), data, ...sizes);
  const short = ['steps=40', 'optimizer.warmupSteps=5', 'eval.every=0'];
  const trained: Trained[] = [];
  for (const device of [values.device, 'cpu']) {
    const output = resolve(values.folder, `mini-grounding-${device}`);
    rmSync(output, { recursive: true, force: true });
    const paths = [`output=${output}`, `data.train=${data}/train.jsonl`, `data.validation=${data}/validation.jsonl`];
    const config = join(root, 'recipes/mini-grounding/config.yaml');
    const start = performance.now();
    await said(program, 'train', config, ...paths, ...short, `device=${device}`);
    const seconds = (performance.now() - start) / 1000;
    trained.push({ device, seconds });
    save({ trained });
    const test = ['eval', '--model', output, '--data', `${data}/test.jsonl`, '--device', device, '--json'];
    const { metrics } = JSON.parse(await said(program, ...test)) as { metrics: unknown };
    trained[trained.length - 1] = { device, seconds, metrics };
    process.stderr.write(`${JSON.stringify(trained.at(-1))}\n`);
    save({ trained });
  }
}

mkdirSync(values.folder, { recursive: true });
await (values.miniature ? measureMiniature() : measureSteps());
