/**
 * Steps of published shapes on one GPU, ours beside TRL's, one after the other on the same card: random weights, images
 * of a thousand tokens. Needs a card; Python with TRL is `ORACLE_PYTHON` (oracle/python.sh unless said).
 *
 *     node bench/card.ts --model 3b --lora 16 --prompts 16 --group 8 --tokens 256 --steps 2 --peer
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
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
    steps: { type: 'string', default: '2' },
    device: { type: 'string', default: 'cuda' },
    peer: { type: 'boolean', default: false },
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
  readonly cardMb: number;
  readonly steps: readonly Step[];
}

async function measure(
  name: string,
  command: readonly string[],
): Promise<Measured | { program: string; failed: string }> {
  const before = await used();
  let most = before;
  const timer = setInterval(() => void used().then((now) => (most = Math.max(most, now))), 300);
  const peer = new Peer(name, command, { PYTORCH_ALLOC_CONF: 'expandable_segments:True' });
  try {
    const { peer: program } = await peer.ready();
    const steps: Step[] = [];
    for (let i = 0; i < Number(values.steps); i++) {
      const step = await peer.step();
      process.stderr.write(`${name} ${JSON.stringify(step)}\n`);
      steps.push(step);
    }
    return { program, cardMb: most - before, steps };
  } catch (error) {
    process.stderr.write(`${name} ${String(error)}\n`);
    return { program: name, failed: String(error) };
  } finally {
    clearInterval(timer);
    await peer.stop();
  }
}

mkdirSync(values.folder, { recursive: true });
const workload = await prepare();
const shared = ['--workload', workload, '--threads', '8', '--precision', values.precision, '--lora', values.lora];
if (values.checkpointed) shared.push('--checkpointed');
const profile = values.profile ? ['--cpu-prof', `--cpu-prof-dir=${values.profile}`] : [];
const ours = [
  process.execPath,
  ...profile,
  join(root, 'bench/ours.ts'),
  '--kind',
  'rlvr',
  '--device',
  values.device,
  ...shared,
];
const trl = [
  process.env.ORACLE_PYTHON ?? python,
  join(root, 'bench/peer_trl.py'),
  ...shared,
  '--sequences',
  values.sequences,
];
const measured = [await measure('visurf', ours), ...(values.peer ? [await measure('TRL', trl)] : [])];
const result = { options: { ...values, folder: undefined }, measured };
if (values.output) writeFileSync(values.output, JSON.stringify(result, undefined, 1));
