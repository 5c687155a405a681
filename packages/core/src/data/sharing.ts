/** What is in a dataset twice, what training shares with validation, and what is left over. */
import { hash } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import type { Sample, Source } from '../types.ts';
import type { Finding, FindingKind } from './findings.ts';
import { IMAGE_NAME } from './formats/source.ts';
import { alikePairs, type Look } from './looks.ts';
import { Numbers, Texts } from './texts.ts';
import { filesOf } from './videos.ts';

/** Where one of several samples is. */
interface Placed {
  readonly id: string;
  readonly source: Source;
}

/** The name of a picture without what tools add to copies of it: folders, extension, Roboflow's hash. */
export function stemOf(file: string): string {
  const name = path.basename(file).replace(/\.[^.]+$/, '');
  return name
    .replace(/\.rf\.[\da-f]{8,}$/i, '')
    .replace(/_(?:jpe?g|png|bmp|webp)$/i, '')
    .toLowerCase();
}

const warning = (kind: FindingKind, { id, source }: Placed, lines: readonly number[], message: string): Finding => {
  const { file, line } = source;
  return lines.length === 1
    ? { kind, severity: 'warning', file, line, message, id }
    : { kind, severity: 'warning', file, lines, message };
};

/** What samples of a dataset show and ask, gathered as they come by. */
export class Shown {
  readonly #lookOf: (file: string) => Look | undefined;
  readonly #files = new Texts();
  /** By number of the file: the first sample that shows it, and the lines of all. */
  readonly #first: Placed[] = [];
  readonly #lines: number[][] = [];
  /** Files that are frames of videos: neighbours look alike, and names count them. */
  readonly #frames = new Set<number>();
  readonly #questions = new Texts();
  readonly #lineOfQuestion = new Numbers();
  /** Lines of questions that were there before, by number of the question. */
  readonly #repeated = new Map<number, number[]>();
  readonly #classes = new Texts();
  /** By number of the class: its samples. */
  readonly #examples = new Numbers();
  readonly #firstOfClass: Placed[] = [];
  #objects = 0;
  #grounded = 0;

  /** @param lookOf how pictures look that can be read */
  constructor(lookOf: (file: string) => Look | undefined) {
    this.#lookOf = lookOf;
  }

  /** @param isUsable whether nothing is wrong with the sample */
  add(sample: Sample, isUsable: boolean): void {
    const placed = { id: sample.id, source: sample.source };
    for (const [i, file] of filesOf(sample).entries()) {
      const known = this.#files.size;
      const number = this.#files.add(file);
      if (number === known) {
        this.#first.push(placed);
        if (i >= sample.images.length) this.#frames.add(number);
        this.#lines.push([]);
      }
      this.#lines[number]!.push(placed.source.line);
    }
    this.#addQuestion(sample);
    if (isUsable) this.#addExample(sample, placed);
  }

  #addQuestion({ images, videos, problem, task, solution, thinking, source }: Sample): void {
    const known = this.#questions.size;
    const row = hash('sha256', JSON.stringify([images, problem, task, solution, thinking, videos]), 'base64');
    const number = this.#questions.add(row);
    if (number === known) this.#lineOfQuestion.push(source.line);
    else if (this.#repeated.has(number)) this.#repeated.get(number)!.push(source.line);
    else this.#repeated.set(number, [this.#lineOfQuestion.values[number]!, source.line]);
  }

  #addExample({ extra, problem, task, solution }: Sample, placed: Placed): void {
    if (task === 'grounding') this.#grounded += 1;
    if (task !== 'grounding' || solution === '[]') return;
    this.#objects += 1;
    const known = this.#classes.size;
    const number = this.#classes.add(typeof extra['class'] === 'string' ? extra['class'] : problem);
    if (number === known) {
      this.#examples.push(0);
      this.#firstOfClass.push(placed);
    }
    this.#examples.values[number]! += 1;
  }

  /** Image files that samples name. */
  get files(): readonly string[] {
    return Array.from(this.#files.keys(), (number) => this.#files.at(number));
  }

  /** Image files that are no frames of videos. */
  get stills(): readonly string[] {
    return Array.from(this.#files.keys()).flatMap((number) =>
      this.#frames.has(number) ? [] : [this.#files.at(number)],
    );
  }

  has(file: string): boolean {
    return this.#files.find(file) !== undefined;
  }

  firstWith(file: string): Placed {
    return this.#first[this.#files.find(file)!]!;
  }

  linesWith(file: string): readonly number[] {
    return this.#lines[this.#files.find(file)!]!;
  }

  /** How pictures look, of those that can be read. */
  looks(files: readonly string[]): Map<string, Look> {
    const looks = new Map<string, Look>();
    for (const file of files) {
      const look = this.#lookOf(file);
      if (look) looks.set(file, look);
    }
    return looks;
  }

  /** Pictures and questions that are there more than once. */
  duplicates(file: string): Finding[] {
    const looks = this.looks(this.stills);
    const same = [...Map.groupBy(looks.keys(), (each) => looks.get(each)!.hash).values()].filter(
      ({ length }) => length > 1,
    );
    const firstLines = (files: readonly string[]): number[] => files.map((each) => this.firstWith(each).source.line);
    return [
      ...same.map((files) =>
        warning(
          'duplicate',
          this.firstWith(files[0]!),
          firstLines(files),
          `the same picture as ${files.map(nameOf).join(', ')}`,
        ),
      ),
      ...[...this.#repeated.values()].map((lines): Finding => ({
        ...{ kind: 'duplicate', severity: 'warning', file, lines },
        message: 'the same question with the same answer',
      })),
      ...alikePairs(looks).map((pair) =>
        warning(
          'alike',
          this.firstWith(pair[0]),
          firstLines(pair),
          `nearly the same picture: ${pair.map(nameOf).join(', ')}`,
        ),
      ),
    ];
  }

  /** Pictures in which there is next to nothing to see: 16 bits of which few are used come out nearly black. */
  dark(file: string): Finding[] {
    const dark = [...this.looks(this.stills)].filter(([, { peak }]) => peak < DARK);
    if (dark.length === 0) return [];
    const some = dark.slice(0, 3).map(([each, { peak }]) => `${nameOf(each)} (${peak} of 255 at most)`);
    const list = `${some.join(', ')}${dark.length > 3 ? ', ...' : ''}`;
    const message = `${dark.length} pictures are nearly black: ${list}. Where they have 16 bits, spread their values over all`;
    return [
      {
        kind: 'dark',
        severity: 'warning',
        file,
        lines: dark.map(([each]) => this.firstWith(each).source.line),
        message,
      },
    ];
  }

  /** Whether there is nothing to find anywhere. */
  absent(file: string): Finding[] {
    if (this.#grounded < FEW || this.#objects > 0) return [];
    const message = `every answer is [], of ${this.#grounded}: a model learns to say that, whatever it is shown`;
    return [{ kind: 'absent', severity: 'warning', file, lines: [], message }];
  }

  /** Classes with one example, where samples name a class or most problems come up again. */
  singles(): Finding[] {
    if (this.#classes.size > this.#objects / 3) return [];
    const alone = [...this.#classes.keys()].filter((number) => this.#examples.values[number] === 1);
    return alone.map((number) => {
      const first = this.#firstOfClass[number]!;
      return warning('single', first, [first.source.line], `the only example of "${this.#classes.at(number)}"`);
    });
  }
}

/** A picture whose values all lie below this is nearly black. */
const DARK = 24;
/** Fewer questions than this say nothing about a set. */
const FEW = 4;

const nameOf = (file: string): string => path.basename(file);

/** Pictures of training that validation has too: the same, nearly the same, or copies by their name. */
export function leakFindings(training: Shown, validation: Shown): Finding[] {
  const [looks, heldLooks] = [training.looks(training.files), validation.looks(validation.files)];
  const hashes = Map.groupBy(validation.files, (file) => heldLooks.get(file)?.hash ?? file);
  const stems = Map.groupBy(validation.stills, stemOf);
  const stills = new Set(training.stills);
  const alike = new Map<string, string>();
  const [learned, held] = [training.looks(training.stills), validation.looks(validation.stills)];
  const byHash = Map.groupBy(learned.keys(), (file) => learned.get(file)!.hash);
  for (const [b, a] of alikePairs(learned, held)) {
    for (const file of byHash.get(learned.get(a)!.hash)!) alike.set(file, b);
  }
  return training.files.flatMap((file): Finding[] => {
    const same = hashes.get(looks.get(file)?.hash ?? file)?.[0];
    const near = alike.get(file);
    const copy = stills.has(file) ? stems.get(stemOf(file))?.[0] : undefined;
    const found = same ?? near ?? copy;
    if (found === undefined) return [];
    const how = same ? 'the same picture' : near ? 'nearly the same picture' : 'a picture of the same name';
    const { source } = validation.firstWith(found);
    const where = `${nameOf(source.file)}:${source.line}`;
    const message = `validation has ${how}: ${nameOf(file)}, ${nameOf(found)} (${where})`;
    return [warning('leak', training.firstWith(file), training.linesWith(file), message)];
  });
}

/** Image files beside those of datasets that none of their lines names. */
export function orphanFindings(shown: readonly Shown[], file: string): Finding[] {
  const named = new Set(shown.flatMap(({ files }) => files));
  const folders = new Set([...named].map((each) => path.dirname(each)).filter((folder) => existsSync(folder)));
  const left = [...folders].flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => IMAGE_NAME.test(name) && !name.startsWith('.') && !named.has(path.join(folder, name)))
      .sort(),
  );
  if (left.length === 0) return [];
  const some = left.slice(0, 3).join(', ');
  const message = `${left.length} image files beside those of the data are in no line: ${some}${left.length > 3 ? ', ...' : ''}`;
  return [{ kind: 'orphan', severity: 'warning', file, lines: [], message }];
}
