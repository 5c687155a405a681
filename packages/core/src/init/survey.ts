/** What a set of samples holds, for people who see it for the first time. */
import { paced } from '../data/paced.ts';
import { boxesIn } from '../data/plausible.ts';
import type { Frames } from '../data/images.ts';
import type { ImageProcessor } from '../model/images.ts';
import type { Sample, Samples } from '../types.ts';

export interface Survey {
  readonly samples: number;
  readonly images: number;
  readonly tasks: Readonly<Record<string, number>>;
  /** Share of the samples of boxes whose answer is that there is nothing; undefined where none asks for boxes. */
  readonly empty: number | undefined;
  /** Samples with objects and without, by what is asked for, the most frequent first. */
  readonly classes: readonly { readonly name: string; readonly present: number; readonly absent: number }[];
  readonly boxes: {
    readonly n: number;
    /** Quantiles of the root of their area, in pixels of the original. */
    readonly side: Quantiles;
    /** The same as the model sees them. */
    readonly seen: Quantiles;
    /** Share that is narrower than half a token of the image. */
    readonly tiny: number;
  };
  /** Width and height of images, as text, and how many have them; the most frequent first. */
  readonly sizes: readonly { readonly size: string; readonly images: number }[];
  readonly area: Quantiles;
  /** Characters of questions. */
  readonly problem: Quantiles;
}

/** Least, lower quarter, middle, upper quarter, greatest. */
export type Quantiles = readonly [number, number, number, number, number];

const quantiles = (values: readonly number[]): Quantiles => {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.round(share * (sorted.length - 1))] ?? NaN;
  return [at(0), at(0.25), at(0.5), at(0.75), at(1)];
};

/** Whether a sample asks where something is, and its answer is that there is nothing; undefined where it asks otherwise. */
export function kindOf({ task, solution }: Pick<Sample, 'task' | 'solution'>): 'present' | 'absent' | undefined {
  if (task !== 'grounding') return undefined;
  return /^\s*\[\s*\]\s*$/.test(solution) ? 'absent' : 'present';
}

/** What a sample asks for: its class, else its question. */
const subjectOf = ({ extra, problem }: Sample): string =>
  typeof extra['class'] === 'string' ? extra['class'] : problem;

export async function survey(
  samples: Samples,
  frames: Frames,
  { shown: showing }: Pick<ImageProcessor, 'shown'>,
  signal?: AbortSignal,
): Promise<Survey> {
  const tasks: Record<string, number> = {};
  const classes = new Map<string, { present: number; absent: number }>();
  const sizes = new Map<string, number>();
  const images = new Set<string>();
  const [side, seen, area, problem]: number[][] = [[], [], [], []];
  let tiny = 0;
  const visit = (sample: Sample): void => {
    tasks[sample.task] = (tasks[sample.task] ?? 0) + 1;
    problem!.push(sample.problem.length);
    const kind = kindOf(sample);
    if (kind) {
      const name = subjectOf(sample);
      const known = classes.get(name) ?? { present: 0, absent: 0 };
      known[kind] += 1;
      classes.set(name, known);
    }
    for (const file of sample.images) {
      const frame = frames.get(file);
      if (!frame || images.has(file)) continue;
      images.add(file);
      const size = `${frame.width} x ${frame.height}`;
      sizes.set(size, (sizes.get(size) ?? 0) + 1);
      area!.push(frame.width * frame.height);
    }
    const frame = sample.images.length === 1 ? frames.get(sample.images[0]!) : undefined;
    if (!frame) return;
    const { size: shown, tokens } = showing(frame);
    // Of the side of what one token shows.
    const half = Math.sqrt((shown.width * shown.height) / tokens) / 2;
    for (const [x0, y0, x1, y1] of boxesIn(sample)) {
      const [width, height] = [x1 - x0, y1 - y0];
      const [across, down] = [(width * shown.width) / frame.width, (height * shown.height) / frame.height];
      side!.push(Math.sqrt(Math.max(0, width * height)));
      seen!.push(Math.sqrt(Math.max(0, across * down)));
      if (Math.min(across, down) < half) tiny += 1;
    }
  };
  await paced(samples, visit, { signal });
  const asked = [...classes.values()];
  const absent = asked.reduce((sum, each) => sum + each.absent, 0);
  const total = asked.reduce((sum, each) => sum + each.absent + each.present, 0);
  return {
    samples: samples.length,
    images: images.size,
    tasks,
    empty: total === 0 ? undefined : absent / total,
    classes: [...classes]
      .map(([name, counts]) => ({ name, ...counts }))
      .sort((a, b) => b.present + b.absent - a.present - a.absent),
    boxes: { n: side!.length, side: quantiles(side!), seen: quantiles(seen!), tiny: tiny / Math.max(1, side!.length) },
    sizes: [...sizes].map(([size, n]) => ({ size, images: n })).sort((a, b) => b.images - a.images),
    area: quantiles(area!),
    problem: quantiles(problem!),
  };
}
