/**
 * How a server answers: `node bench/serve.ts [--json] [--tokens 32] [--rounds 5]`. A random checkpoint of 81 million parameters
 * behind `visurf serve`: how long `/health` takes while the model answers; tokens per second of 1, 4 and 8 clients; how
 * long one waits who comes while a long answer is given (`late`; `alone`: with nobody else there); and how long the event
 * loop is held while such a model trains in a thread.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { loadConfig, train } from '@visurf/core';
import { generateDataset } from '@visurf/mini-grounding';
import { shapesFor, writeCheckpoint, type ConfigJson } from './checkpoint.ts';

const { values: options } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    tokens: { type: 'string', default: '32' },
    // Times that everything is measured.
    rounds: { type: 'string', default: '5' },
  },
});
const root = fileURLToPath(new URL('..', import.meta.url));
const tiny = JSON.parse(readFileSync(join(root, 'oracle/fixtures/tiny-qwen2_5-vl/model/config.json'), 'utf8')) as {
  text_config: ConfigJson;
  vision_config: ConfigJson;
};
const model: ConfigJson = {
  ...tiny,
  text_config: {
    ...{ ...tiny.text_config, layer_types: undefined },
    rope_parameters: { rope_type: 'default', rope_theta: 1e6, mrope_section: [8, 12, 12] },
    ...{ hidden_size: 512, num_hidden_layers: 9, num_attention_heads: 8, num_key_value_heads: 2 },
    ...{ intermediate_size: 2048, vocab_size: 32_000 },
  },
  vision_config: {
    ...{ ...tiny.vision_config, out_hidden_size: 512, hidden_size: 384, depth: 6, num_heads: 6 },
    ...{ intermediate_size: 1024, fullatt_block_indexes: [2, 5] },
  },
};

const folder = mkdtempSync(join(tmpdir(), 'visurf-bench-serve-'));
const directory = join(folder, 'model');
const LENGTH = Number(options.tokens);
const ROUNDS = Number(options.rounds);

interface Answer {
  readonly seconds: number;
  readonly tokens: number;
}

async function ask(url: string, maxTokens: number, picture: string): Promise<Answer> {
  const started = performance.now();
  const image_url = { url: `data:image/png;base64,${picture}` };
  const content = [
    { type: 'image_url', image_url },
    { type: 'text', text: 'the red circle' },
  ];
  const body = { model: 'model', messages: [{ role: 'user', content }], max_tokens: maxTokens };
  const response = await fetch(`${url}/v1/chat/completions`, {
    ...{ method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json' } },
  });
  if (!response.ok) throw new Error(await response.text());
  const { usage } = (await response.json()) as { usage: { completion_tokens: number } };
  return { seconds: (performance.now() - started) / 1000, tokens: usage.completion_tokens };
}

const said = (what: string, value: unknown): void => console.error(`${what}:`, value);

interface Health {
  readonly health: readonly number[];
  /** By how much a timer of this idle program came late meanwhile: what the machine, not the server, is to blame for. */
  readonly own: readonly number[];
}

/** Milliseconds of requests to `/health`, one every 20 ms until the work is done: median, 99 of 100, longest. */
async function healthDuring(url: string, work: Promise<unknown>): Promise<Health> {
  const done = new AbortController();
  const ended = work.finally(() => done.abort());
  const [times, late]: [number[], number[]] = [[], []];
  while (!done.signal.aborted) {
    const started = performance.now();
    await (await fetch(`${url}/health`)).text();
    const answered = performance.now();
    times.push(answered - started);
    await setTimeout(20);
    late.push(performance.now() - answered - 20);
  }
  await ended;
  return { health: quantiles(times), own: quantiles(late) };
}

/** Tokens of all clients, who ask at once, by the time until the last is answered. */
async function rateOf(url: string, clients: number, picture: string): Promise<number> {
  const started = performance.now();
  const answers = await Promise.all(Array.from({ length: clients }, () => ask(url, LENGTH, picture)));
  const tokens = answers.reduce((sum, each) => sum + each.tokens, 0);
  return tokens / ((performance.now() - started) / 1000);
}

function quantiles(times: readonly number[], shares: readonly number[] = [0.5, 0.99, 1]): readonly number[] {
  const sorted = times.toSorted((a, b) => a - b);
  return shares.map((share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN);
}

async function served(picture: string) {
  const args = ['serve', '--model', directory, '--port', '0'];
  const server = spawn(join(root, 'visurf'), args, { stdio: ['ignore', 'pipe', 'pipe'] });
  try {
    const url = await new Promise<string>((resolve, reject) => {
      let output = '';
      const hear = (chunk: Buffer): void => {
        const found = /http:\/\/[\d.]+:\d+/.exec((output += chunk.toString()))?.[0];
        if (found) resolve(found);
      };
      server.stdout.on('data', hear);
      server.stderr.on('data', hear);
      server.once('close', () => reject(new Error(output)));
    });
    // The first answers of a program take longer than all that follow.
    for (const clients of [1, 8]) await rateOf(url, clients, picture);
    const { health, own } = await healthDuring(
      url,
      Promise.all(Array.from({ length: 8 }, () => ask(url, LENGTH, picture))),
    );
    said('milliseconds of /health, of a timer of this program', [health, own]);
    const rates: Record<string, readonly number[]> = {};
    for (const clients of [1, 4, 8]) {
      const rounds: number[] = [];
      for (let round = 0; round < ROUNDS; round++) rounds.push(await rateOf(url, clients, picture));
      rates[clients] = quantiles(rounds, [0.5, 0, 1]);
      said(`tokens a second, ${clients} clients: median, least, most`, rates[clients]);
    }
    const waits = { alone: [] as number[], late: [] as number[], long: [] as number[] };
    for (let round = 0; round < ROUNDS; round++) {
      waits.alone.push((await ask(url, 16, picture)).seconds);
      const long = ask(url, 4 * LENGTH, picture);
      await setTimeout(200);
      waits.late.push((await ask(url, 16, picture)).seconds);
      waits.long.push((await long).seconds);
    }
    const medians = Object.entries(waits).map(([name, seconds]) => [name, quantiles(seconds, [0.5])[0]] as const);
    return { rates, health, own, ...(Object.fromEntries(medians) as Record<keyof typeof waits, number>) };
  } finally {
    server.kill('SIGTERM');
  }
}

/** Milliseconds that a timer of 10 ms comes late while a model trains in a thread. */
async function trained(): Promise<readonly number[]> {
  const keys = [`model=${directory}`, `data.train=${folder}/data/train.jsonl`, `output=${folder}/run`];
  const shape = ['steps=2', 'promptsPerStep=2', 'rollout.group=4', 'rollout.maxNewTokens=16'];
  const done = new AbortController();
  const config = loadConfig(undefined, [...keys, ...shape]);
  const work = train(config, { worker: true }).finally(() => done.abort());
  const late: number[] = [];
  while (!done.signal.aborted) {
    const started = performance.now();
    await setTimeout(10);
    late.push(performance.now() - started - 10);
  }
  await work;
  return quantiles(late);
}

try {
  writeCheckpoint(directory, model, 'F32');
  const parameters = shapesFor(model).reduce((sum, [, shape]) => sum + shape.reduce((a, b) => a * b, 1), 0);
  await generateDataset(join(folder, 'data'), { seed: 1, images: { train: 4, validation: 0, test: 0 } });
  const picture = readFileSync(join(folder, 'data/images/train-00000.png')).toString('base64');
  const result = { parameters, ...(await served(picture)), training: await trained() };
  if (options.json) console.log(JSON.stringify(result));
  else console.log(result);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
