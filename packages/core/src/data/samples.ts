/** Samples in their order, which may be far too many to hold: then each is read from its file where it is asked for. */
import { UserError } from '../errors.ts';
import type { Sample, Samples } from '../types.ts';
import type { LineIndex } from './line-index.ts';
import type { Line } from './lines.ts';
import { parseSample } from './parse.ts';
import { Numbers } from './texts.ts';

/** What samples in memory and in a file have in common. */
abstract class Listed implements Samples {
  abstract readonly length: number;
  /** Samples from one place to another. */
  abstract between(from: number, to: number): Iterable<Sample>;

  [Symbol.iterator](): Iterator<Sample> {
    return this.between(0, this.length)[Symbol.iterator]();
  }

  at(index: number): Sample | undefined {
    const place = index < 0 ? this.length + index : index;
    if (place < 0 || place >= this.length) return undefined;
    for (const sample of this.between(place, place + 1)) return sample;
    return undefined;
  }

  slice(start = 0, end = this.length): Sample[] {
    const place = (index: number): number =>
      Math.min(index < 0 ? Math.max(0, this.length + index) : index, this.length);
    return [...this.between(place(start), Math.max(place(start), place(end)))];
  }

  some(holds: (sample: Sample) => boolean): boolean {
    for (const sample of this) if (holds(sample)) return true;
    return false;
  }

  map<T>(make: (sample: Sample) => T): T[] {
    return Array.from(this, make);
  }

  filter(holds: (sample: Sample) => boolean): Sample[] {
    const kept: Sample[] = [];
    for (const sample of this) if (holds(sample)) kept.push(sample);
    return kept;
  }
}

/** What a line is: a sample, or why it is none, and where it comes from. */
export type LineParser = (line: Line) => { readonly source: Sample['source']; readonly sample: Sample | string };

/** Lines of our own JSONL. @param task of samples that name none */
export const ourLines =
  (file: string, task: string): LineParser =>
  ({ number: line, text, fault = 'it cannot be read' }) => {
    const source = { file, line };
    return { source, sample: text === undefined ? fault : parseSample(text, source, task) };
  };

/** Lines of a file, all of which are samples. */
export class LineSamples extends Listed {
  readonly #lines: LineIndex;
  readonly #parse: LineParser;

  constructor(lines: LineIndex, parse: LineParser) {
    super();
    [this.#lines, this.#parse] = [lines, parse];
  }

  get length(): number {
    return this.#lines.length;
  }

  /** @throws UserError where the file is not what it was */
  *between(from: number, to: number): Generator<Sample> {
    for (const line of this.#lines.lines(from, to)) {
      const { sample, source } = this.#parse(line);
      if (typeof sample === 'string') throw new UserError(sample, { where: `${source.file}:${source.line}` });
      yield sample;
    }
  }

  pick(indices: ArrayLike<number>): Samples {
    return new LineSamples(this.#lines.pick(indices), this.#parse);
  }
}

/** Some of others, in another order. */
class ChosenSamples extends Listed {
  readonly #samples: Samples;
  readonly #indices: ArrayLike<number>;

  constructor(samples: Samples, indices: ArrayLike<number>) {
    super();
    this.#samples = samples;
    this.#indices = indices;
  }

  get length(): number {
    return this.#indices.length;
  }

  *between(from: number, to: number): Generator<Sample> {
    for (let i = from; i < to; i++) yield this.#samples.at(this.#indices[i]!)!;
  }
}

/** Only these samples, in this order; a mixture remains one where the order is its own. */
export function pickSamples(samples: Samples, indices: ArrayLike<number>): Samples {
  if (samples instanceof LineSamples) return samples.pick(indices);
  return (samples instanceof MixedSamples ? samples.pick(indices) : undefined) ?? new ChosenSamples(samples, indices);
}

/** Samples behind others. */
class JoinedSamples extends Listed {
  readonly #parts: readonly Samples[];
  readonly length: number;

  constructor(parts: readonly Samples[]) {
    super();
    this.#parts = parts;
    this.length = parts.reduce((sum, { length }) => sum + length, 0);
  }

  *between(from: number, to: number): Generator<Sample> {
    let start = 0;
    for (const part of this.#parts) {
      const [first, last] = [Math.max(from - start, 0), Math.min(to - start, part.length)];
      if (first < last) yield* between(part, first, last);
      start += part.length;
    }
  }
}

function* between(samples: Samples, from: number, to: number): Generator<Sample> {
  if (samples instanceof Listed) yield* samples.between(from, to);
  else for (let i = from; i < to; i++) yield samples.at(i)!;
}

/** Samples of several sets, one set after the other. */
export const joinSamples = (...parts: readonly Samples[]): Samples =>
  parts.length === 1 ? parts[0]! : new JoinedSamples(parts);

/** A set of a mixture. */
export interface MixedSet {
  readonly samples: Samples;
  /** Its share of the prompts that are drawn, over the sum of all weights. */
  readonly weight: number;
  /** Stands before its ids where those of other sets are the same. */
  readonly prefix: string;
}

/** Samples of another set, with something before their ids. */
class NamedSamples extends Listed {
  readonly #samples: Samples;
  readonly #prefix: string;

  constructor(samples: Samples, prefix: string) {
    super();
    [this.#samples, this.#prefix] = [samples, prefix];
  }

  get length(): number {
    return this.#samples.length;
  }

  *between(from: number, to: number): Generator<Sample> {
    for (const sample of between(this.#samples, from, to)) yield { ...sample, id: this.#prefix + sample.id };
  }
}

/** Samples of several sets, one set after the other, of which training draws by weight (`cursorOf`). */
export class MixedSamples extends JoinedSamples {
  readonly sets: readonly MixedSet[];

  constructor(sets: readonly MixedSet[]) {
    super(sets.map(({ samples, prefix }) => (prefix === '' ? samples : new NamedSamples(samples, prefix))));
    this.sets = sets;
  }

  /** Undefined where the order is another one. */
  pick(indices: ArrayLike<number>): MixedSamples | undefined {
    const picked = this.sets.map(() => new Numbers());
    let [set, start, last] = [0, 0, -1];
    for (const place of Array.from(indices)) {
      if (place <= last) return undefined;
      last = place;
      while (place >= start + this.sets[set]!.samples.length) start += this.sets[set++]!.samples.length;
      picked[set]!.push(place - start);
    }
    return new MixedSamples(
      this.sets.map((own, i) => ({ ...own, samples: pickSamples(own.samples, picked[i]!.values) })),
    );
  }
}

/** The sets of a mixture, with ids as their files have them; of any other samples themselves. */
export const setsOf = (samples: Samples): readonly Samples[] =>
  samples instanceof MixedSamples ? samples.sets.map((set) => set.samples) : [samples];
