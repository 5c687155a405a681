/** The rows of a source: samples, what is no sample, and what must be known of all of them before any is used. */
import { UserError } from '../errors.ts';
import { wantsToSee } from '../tasks/registry.ts';
import type { Sample, Samples } from '../types.ts';
import type { Finding } from './findings.ts';
import type { Images } from './images.ts';
import type { LineIndex } from './line-index.ts';
import { paced, type PaceOptions } from './paced.ts';
import { LineSamples, pickSamples, type LineParser } from './samples.ts';
import { Numbers, Texts } from './texts.ts';
import { filesOf } from './videos.ts';

/** Samples by their task, as far as the task wants to see them before it is used. */
export type TaskSamples = ReadonlyMap<string, Samples>;

export interface ReadRows {
  readonly samples: Samples;
  readonly findings: Finding[];
  /** Places of the samples that tasks want to see, by name of the task. */
  readonly told: ReadonlyMap<string, ArrayLike<number>>;
}

interface CollectOptions extends PaceOptions {
  readonly limit?: number | undefined;
  readonly maxSamples: number;
}

export const errorIn = ({ id, source: { file, line } }: Sample, kind: Finding['kind'], message: string): Finding => ({
  ...{ kind, severity: 'error', file, line, message, id },
});

export const tasksOf = (samples: Samples, told: ReadRows['told']): TaskSamples =>
  new Map([...told].map(([task, places]) => [task, pickSamples(samples, places)]));

/** What is gathered while samples come by. */
class Collected {
  readonly findings: Finding[] = [];
  readonly told = new Map<string, { readonly places: Numbers; readonly things: Set<string> }>();
  readonly #ids = new Texts();
  readonly #lineOfId = new Numbers();
  readonly #images: Images;
  #count = 0;

  constructor(images: Images) {
    this.#images = images;
  }

  get count(): number {
    return this.#count;
  }

  add(sample: Sample): void {
    const known = this.#ids.size;
    const id = this.#ids.add(sample.id);
    if (id === known) this.#lineOfId.push(sample.source.line);
    else this.findings.push(errorIn(sample, 'id', `same id as line ${this.#lineOfId.values[id]!}`));
    for (const file of filesOf(sample)) this.#images.name(file);
    const told = this.told.get(sample.task) ?? { places: new Numbers(), things: new Set<string>() };
    this.told.set(sample.task, told);
    if (wantsToSee(sample, told.things)) told.places.push(this.#count);
    this.#count += 1;
  }

  /** Takes a sample, or says why it is none. */
  take(sample: Sample | string, { file, line }: Sample['source']): sample is Sample {
    if (typeof sample !== 'string') {
      this.add(sample);
      return true;
    }
    this.findings.push({ kind: 'row', severity: 'error', file, line, message: sample });
    return false;
  }

  get rows(): Omit<ReadRows, 'samples'> {
    return {
      findings: this.findings,
      told: new Map([...this.told].map(([task, { places }]) => [task, places.values])),
    };
  }
}

const requireFewer = (count: number, maxSamples: number, file: string): void => {
  if (count > maxSamples) throw new UserError(`more than ${maxSamples} samples`, { where: file });
};

/** Ends what is visited once enough samples were seen. */
function* until<T>(items: Iterable<T>, isEnough: () => boolean): Generator<T> {
  for (const item of items) {
    if (isEnough()) return;
    yield item;
  }
}

/** Lines of a file: what a line holds is forgotten again. */
export async function readLineRows(
  lines: LineIndex,
  parse: LineParser,
  images: Images,
  { limit = Infinity, maxSamples, ...pace }: CollectOptions,
): Promise<ReadRows & { readonly left: Numbers }> {
  const { file } = lines;
  const collected = new Collected(images);
  const [kept, left] = [new Numbers(), new Numbers()];
  await paced(
    until(lines.lines(), () => collected.count >= limit),
    (line, i) => {
      if (line.text?.trim() === '') return left.push(i);
      const { sample, source } = parse(line);
      (collected.take(sample, source) ? kept : left).push(i);
      requireFewer(collected.count, maxSamples, file);
    },
    pace,
  );
  const samples = new LineSamples(kept.size === lines.length ? lines : lines.pick(kept.values), parse);
  return { samples, left, ...collected.rows };
}
