/**
 * How long a run needs until its first step, by the number of samples: a JSONL file of so many lines that share 40 tiny
 * pictures is written to a temporary folder, and `train` makes one step of a tiny model with it, in a process of its own;
 * then the same again, as a second start. Fills in the table of docs/data.md.
 *
 *     node bench/startup.ts --lines 200000 --json
 */
import { execFileSync } from 'node:child_process';
import { createWriteStream, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  options: {
    lines: { type: 'string', default: '200000' },
    pictures: { type: 'string', default: '40' },
    json: { type: 'boolean', default: false },
    train: { type: 'string' },
  },
});

/** What one start takes. */
interface Start {
  /** Until `train` has made its step and has ended. */
  readonly wall: number;
  /** Of the processor, in all threads. */
  readonly processor: number;
  /** Bytes of memory at most. */
  readonly peak: number;
}

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');

if (options.train !== undefined) await start(options.train);
else await measure(Number(options.lines), Number(options.pictures));

/** The process that is measured. */
async function start(folder: string): Promise<void> {
  const { parseConfig, train } = await import('@visurf/core');
  const config = parseConfig({
    model: path.join(root, 'oracle/fixtures/tiny-qwen2_5-vl/model'),
    output: path.join(folder, `run-${process.pid}`),
    steps: 1,
    promptsPerStep: 2,
    data: { train: path.join(folder, 'train.jsonl') },
    rollout: { group: 2, maxNewTokens: 4 },
  });
  const began = performance.now();
  await train(config);
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
  const found: Start = {
    wall: (performance.now() - began) / 1000,
    processor: (userCPUTime + systemCPUTime) / 1e6,
    peak: maxRSS * 1024,
  };
  console.log(JSON.stringify(found));
}

async function measure(lines: number, pictures: number): Promise<void> {
  const folder = mkdtempSync(path.join(tmpdir(), 'visurf-startup-'));
  try {
    await write(folder, lines, pictures);
    const starts = [1, 2].map((): Start => {
      const args = [fileURLToPath(import.meta.url), '--train', folder];
      return JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' })) as Start;
    });
    if (options.json) console.log(JSON.stringify({ lines, pictures, starts }));
    else
      for (const [i, { wall, processor, peak }] of starts.entries()) {
        const [seconds, work] = [wall, processor].map((each) => each.toFixed(1));
        console.log(`start ${i + 1}: ${seconds!} s, ${work!} s of processor time, ${(peak / 1e6).toFixed(0)} MB`);
      }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function write(folder: string, lines: number, pictures: number): Promise<void> {
  const { default: sharp } = await import('sharp');
  mkdirSync(path.join(folder, 'images'));
  for (let i = 0; i < pictures; i++) {
    const background = { r: (i * 37) % 256, g: (i * 91) % 256, b: (i * 53) % 256 };
    const drawn = sharp({ create: { width: 64, height: 48, channels: 3, background } });
    await drawn.png().toFile(path.join(folder, 'images', `${i}.png`));
  }
  const stream = createWriteStream(path.join(folder, 'train.jsonl'));
  for (let i = 0; i < lines; i++) {
    const [x, y] = [i % 30, (i >> 3) % 20];
    const solution = i % 5 === 0 ? [] : [{ bbox_2d: [x, y, x + 20, y + 16] }];
    const sample = {
      id: `s${i}`,
      image: `images/${i % pictures}.png`,
      problem: `the object number ${i % 97}`,
      solution,
    };
    if (!stream.write(`${JSON.stringify(sample)}\n`)) await once(stream, 'drain');
  }
  stream.end();
  await once(stream, 'finish');
}
