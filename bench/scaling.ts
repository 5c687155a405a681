/** How the cost of a step grows with the group, the image, the response and the batch; one process per point. */
import { comparisons } from './comparisons.ts';
import { countWork, type Counts } from './counts.ts';
import { measureLimits } from './limits.ts';
import { describeMachine } from './machine.ts';
import type { Level } from '../packages/torch/src/levels.ts';
import { alternate, type Program, type Turns } from './measure.ts';
import type { Point, ScalingResult, Series } from './report/result.ts';
import { gridOf, prepare, SHAPES, type Shape } from './workloads.ts';

/** The model of (b) with the prompts of (c). */
const base: Shape = {
  ...SHAPES.b!,
  image: SHAPES.c!.image,
  promptsPerStep: 1,
  group: 8,
  maxNewTokens: 64,
  microBatchPrompts: 1,
  peerSequences: { float32: 4, bfloat16: 4, tuned: 4 },
};

/** Pixels of images with 100, 250, 500, 1,000 and 2,000 tokens. */
const images = [
  { width: 280, height: 280 },
  { width: 700, height: 280 },
  { width: 700, height: 560 },
  { width: 1120, height: 700 },
  { width: 1400, height: 1120 },
];

interface Plan extends Omit<Series, 'points'> {
  readonly side: 'ours' | 'peer';
  readonly warmup: number;
  readonly repeats: number;
  readonly points: readonly { readonly at: number; readonly shape: Shape }[];
}

const groups = (from: Shape, sizes: readonly number[]) =>
  sizes.map((group) => ({ at: group, shape: { ...from, group } }));

const often = { warmup: 1, repeats: 2 };
const once = { warmup: 0, repeats: 1 };

const plans: readonly Plan[] = [
  { program: 'visurf', varied: 'group', model: 'b', side: 'ours', ...often, points: groups(base, [2, 4, 8, 16, 32]) },
  { program: 'TRL', varied: 'group', model: 'b', side: 'peer', ...once, points: groups(base, [8, 32]) },
  { program: 'visurf', varied: 'group', model: 'c', side: 'ours', ...once, points: groups(SHAPES.c!, [8, 32]) },
  {
    ...{ program: 'visurf', varied: 'image tokens', model: 'b', side: 'ours', ...often },
    points: images.map((image) => ({ at: (image.width * image.height) / 28 ** 2, shape: { ...base, image } })),
  },
  {
    ...{ program: 'visurf', varied: 'response tokens', model: 'b', side: 'ours', ...often },
    points: [16, 32, 64, 128, 256].map((at) => ({ at, shape: { ...base, maxNewTokens: at } })),
  },
  {
    ...{ program: 'visurf', varied: 'prompts', model: 'b', side: 'ours', ...often },
    points: [1, 2, 4, 8].map((at) => ({ at, shape: { ...base, promptsPerStep: at } })),
  },
];

/**
 * @param wanted program whose series are measured; unset: both
 * @param kept an earlier result, for the series of the other
 */
export async function measureSeries(
  {
    out,
    level,
    threads,
    wanted,
    say,
  }: { out: string; level: Level; threads: number; wanted?: string | undefined; say: (text: string) => void },
  kept: ScalingResult | undefined,
): Promise<ScalingResult> {
  const machine = describeMachine();
  const limits = measureLimits(threads, machine, level);
  const series: Series[] = [];
  for (const plan of plans) {
    const { program, varied, model } = plan;
    const old = kept?.series.find((each) => each.program === program && each.varied === varied && each.model === model);
    if (wanted !== undefined && wanted !== program) {
      if (old) series.push(old);
      continue;
    }
    say(`scaling of ${program} with ${varied}, model (${model})`);
    const points: Point[] = [];
    for (const { at, shape } of plan.points) {
      const { file, workload } = prepare(shape, out, 'scaling');
      const pair = comparisons(file, threads, shape).find(({ id }) => id === 'step')!;
      const count = (promptTokens: number): Counts => countWork(workload, gridOf(shape.image), promptTokens);
      points.push(await measurePoint(at, pair[plan.side], { ...plan, level, threads }, count));
      say(`  ${at}: ${points.at(-1)!.seconds.join(', ')} s`);
    }
    series.push({ program, varied, model, points });
  }
  return { name: 'scaling', machine, threads, limits, series };
}

/** One point: a program of its own that takes `turns.repeats` steps. */
export async function measurePoint(
  at: number,
  program: Program,
  turns: Pick<Turns, 'level' | 'warmup' | 'repeats' | 'threads'>,
  count: (promptTokens: number) => Counts,
): Promise<Point> {
  const [{ steps } = { steps: [] }] = await alternate([program], { ...turns, onStep: () => undefined });
  return {
    at,
    seconds: steps.map(({ seconds }) => seconds.total ?? NaN),
    peakMb: Math.max(...steps.map(({ peakMb }) => peakMb)),
    operations: count(steps[0]?.promptTokens ?? NaN).step,
  };
}
