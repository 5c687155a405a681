/**
 * The studio on two cores: a made-up run of 10,000 steps with 200,000 responses. How soon its pages open, how fast filters
 * answer once all is indexed, how soon a step that is written is seen, what it takes; and what it costs a training beside it.
 *
 *     node bench/studio.ts [--steps 10000] [--folder bench/out/studio]
 */
import { spawn } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { besideTraining } from './beside.ts';

const { values } = parseArgs({
  options: { steps: { type: 'string', default: '10000' }, folder: { type: 'string', default: 'bench/out/studio' } },
});
const steps = Number(values.steps);
const run = join(values.folder, 'long');
const PROMPTS = 2;
const ROLLOUTS = 10;

/** A thought of some length, as models have them. */
const thought = (seed: number): string =>
  Array.from(
    { length: 24 },
    (_, i) => ['the', 'red', 'car', 'left', 'of', 'a', 'tree', 'near'][(seed * 7 + i * i) % 8],
  ).join(' ');

function response(seed: number) {
  const accuracy = seed % 3 === 0 ? 3 : 0;
  const box = [seed % 300, seed % 200, (seed % 300) + 80, (seed % 200) + 90];
  return {
    text: `<think> ${thought(seed)}</think><answer>[{"bbox_2d":[${box.join(',')}]}]</answer>`,
    ...{
      stop: 'eos',
      length: 60,
      logProb: -12.5,
      reward: 2.5 + accuracy,
      advantage: accuracy / 3,
      boxes: [box],
      points: [],
    },
    terms: { thinking: 1, format: 2, accuracy, nonRepeat: 1 },
    masked: false,
  };
}

function makeRun(): void {
  if (existsSync(join(run, 'events.jsonl'))) return;
  for (const each of ['groups', 'images', 'evaluations']) mkdirSync(join(run, each), { recursive: true });
  writeFileSync(join(run, 'config.yaml'), `paradigm: visurf\nsteps: ${steps}\nmodel: base\nseed: 0\n`);
  const events = [
    { type: 'start', step: 0, time: 0, format: 1, configHash: '', environment: {}, weights: {} },
  ] as object[];
  for (let step = 1; step <= steps; step++) {
    const metrics = Object.fromEntries(
      Array.from({ length: 30 }, (_, i) => [i === 0 ? 'reward' : `metric${i}`, Math.sin(step / (i + 20))]),
    );
    events.push({
      type: 'step',
      step,
      time: 1_000 * step,
      metrics,
      seconds: { rollout: 0.6, update: 0.4 },
      memory: 1e9,
    });
    const groups = Array.from({ length: PROMPTS }, (_, p) => {
      const id = `sample-${(step * PROMPTS + p) % 4000}`;
      const label = {
        ...response(3),
        place: 'member',
        form: 'compact',
        active: (step + p) % 5 === 0,
        rewardBefore: 5,
        weight: 1,
        reachedBy: [],
      };
      return {
        step,
        id,
        problem: 'the red car',
        solution: '[]',
        label,
        rollouts: Array.from({ length: ROLLOUTS }, (_, r) => response(step * 31 + p * 7 + r)),
      };
    });
    writeFileSync(
      join(run, 'groups', `${String(step).padStart(6, '0')}.jsonl`),
      groups.map((group) => `${JSON.stringify(group)}\n`).join(''),
    );
  }
  writeFileSync(join(run, 'samples.jsonl'), '');
  writeFileSync(join(run, 'events.jsonl'), events.map((event) => `${JSON.stringify(event)}\n`).join(''));
}

makeRun();
const started = performance.now();
const program = spawn(process.execPath, ['packages/visurf/src/main.ts', 'studio', values.folder, '--port', '0'], {
  stdio: ['ignore', 'pipe', 'inherit'],
  env: { ...process.env, XDG_CACHE_HOME: join(values.folder, `cache-${process.pid}`) },
});
const link = await new Promise<string>((resolve) => {
  program.stdout.once('data', (data: Buffer) => resolve(data.toString().trim()));
});
/** What is read of answers. */
interface Answer {
  readonly indexed: { readonly done: number };
}

const ask = async (path: string): Promise<{ ms: number; answer: Answer }> => {
  const from = performance.now();
  const answer = (await (await fetch(`${link}api/${path}`)).json()) as Answer;
  return { ms: performance.now() - from, answer };
};
/** Seconds of processor time and MB of the process. */
const used = (): { cpu: number; mb: number } => {
  const stat = readFileSync(`/proc/${program.pid}/stat`, 'utf8').split(' ');
  const status = readFileSync(`/proc/${program.pid}/status`, 'utf8');
  return { cpu: (Number(stat[13]) + Number(stat[14])) / 100, mb: Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) / 1024 };
};

const results: Record<string, number> = { listening: performance.now() - started };
const [first] = (await (await fetch(`${link}api/runs`)).json()) as { id: string }[];
const id = first?.id ?? '';
const opening = performance.now();
results.run = (await ask(`runs/${id}`)).ms;
results.curves = (await ask(`runs/${id}/curves?points=800`)).ms;
results.newestGroups = (await ask(`runs/${id}/groups?limit=50`)).ms;
results.firstView = performance.now() - opening;
const indexing = performance.now();
while ((await ask(`runs/${id}/groups?limit=1`)).answer.indexed.done < steps)
  await new Promise((resolve) => setTimeout(resolve, 500));
results.indexedSeconds = (performance.now() - indexing) / 1000;
results.indexedCpuSeconds = used().cpu;
for (const filter of ['active', 'zero', 'full', 'cut', 'solved', 'broken'])
  results[`filter.${filter}`] = (await ask(`runs/${id}/groups?filter=${filter}&limit=50`)).ms;
results['sort.spread'] = (await ask(`runs/${id}/groups?sort=spread&limit=50`)).ms;
results.court = (await ask(`runs/${id}/court`)).ms;
results['histogram'] = (await ask(`runs/${id}/histogram?what=reward`)).ms;
results.search = (await ask(`runs/${id}/groups?text=never%20said&limit=50`)).ms;

const live = await fetch(`${link}api/live`);
const reader = live.body!.getReader() as ReadableStreamDefaultReader<Uint8Array>;
await reader.read();
const written = performance.now();
appendFileSync(
  join(run, 'events.jsonl'),
  `${JSON.stringify({ type: 'warning', step: steps, time: Date.now(), message: 'x' })}\n`,
);
for (;;) {
  const { value } = await reader.read();
  if (new TextDecoder().decode(value).includes('news')) break;
}
results.liveStep = performance.now() - written;
await reader.cancel();
results.peakMb = used().mb;
const idle = used().cpu;
await new Promise((resolve) => setTimeout(resolve, 10_000));
results.idleCpuPercent = 10 * (used().cpu - idle);
program.kill('SIGTERM');
const rounded = Object.fromEntries(Object.entries(results).map(([name, value]) => [name, Math.round(10 * value) / 10]));
const beside = await besideTraining(cpus().length);
const measured = { steps, responses: steps * PROMPTS * ROLLOUTS, cpu: cpus()[0]?.model, ...rounded, beside };
writeFileSync('docs/results/studio.json', `${JSON.stringify(measured, undefined, 2)}\n`);
console.log(measured);
