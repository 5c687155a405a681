/** What is in a dataset twice, what training shares with validation, and what is left over. */
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import type { Sample } from '../types.ts';
import type { Finding, FindingKind } from './findings.ts';
import { IMAGE_NAME } from './formats/source.ts';
import { alikePairs, type Look } from './looks.ts';

/** Samples that were read together, and how their pictures look. */
export interface Looked {
  readonly samples: readonly Sample[];
  readonly looks: ReadonlyMap<string, Look>;
}

/** The name of a picture without what tools add to copies of it: folders, extension, Roboflow's hash. */
export function stemOf(file: string): string {
  const name = path.basename(file).replace(/\.[^.]+$/, '');
  return name
    .replace(/\.rf\.[\da-f]{8,}$/i, '')
    .replace(/_(?:jpe?g|png|bmp|webp)$/i, '')
    .toLowerCase();
}

const warning = (kind: FindingKind, samples: readonly Sample[], message: string): Finding => {
  const [first, ...others] = samples;
  const { file, line } = first!.source;
  return others.length === 0
    ? { kind, severity: 'warning', file, line, message, id: first!.id }
    : { kind, severity: 'warning', file, lines: samples.map(({ source }) => source.line), message };
};

const showing = (samples: readonly Sample[]): Map<string, Sample[]> => {
  const by = new Map<string, Sample[]>();
  for (const sample of samples) for (const file of sample.images) by.set(file, [...(by.get(file) ?? []), sample]);
  return by;
};

const nameOf = (file: string): string => path.basename(file);

/** Pictures and questions that a dataset has more than once. */
export function duplicateFindings({ samples, looks }: Looked): Finding[] {
  const by = showing(samples);
  const shown = [...by.keys()].filter((file) => looks.has(file));
  const same = [...Map.groupBy(shown, (file) => looks.get(file)!.hash).values()].filter((files) => files.length > 1);
  const rows = Map.groupBy(samples, ({ images, problem, task, solution, thinking }) =>
    JSON.stringify([images, problem, task, solution, thinking]),
  );
  return [
    ...same.map((files) =>
      warning(
        'duplicate',
        files.flatMap((file) => by.get(file)!.slice(0, 1)),
        `the same picture as ${files.map(nameOf).join(', ')}`,
      ),
    ),
    ...[...rows.values()]
      .filter((own) => own.length > 1)
      .map((own) => warning('duplicate', own, 'the same question with the same answer')),
    ...alikePairs(new Map(shown.map((file) => [file, looks.get(file)!]))).map(([a, b]) =>
      warning('alike', [by.get(a)![0]!, by.get(b)![0]!], `nearly the same picture: ${nameOf(a)}, ${nameOf(b)}`),
    ),
  ];
}

/** Pictures of training that validation has too: the same, nearly the same, or copies by their name. */
export function leakFindings(training: Looked, validation: Looked): Finding[] {
  const [ours, theirs] = [showing(training.samples), showing(validation.samples)];
  const hashes = Map.groupBy(theirs.keys(), (file) => validation.looks.get(file)?.hash ?? file);
  const stems = Map.groupBy(theirs.keys(), stemOf);
  const looks = new Map([...training.looks, ...validation.looks]);
  const alike = new Map<string, string>();
  for (const [a, b] of alikePairs(looks)) {
    if (ours.has(a) && theirs.has(b)) alike.set(a, b);
    if (ours.has(b) && theirs.has(a)) alike.set(b, a);
  }
  return [...ours].flatMap(([file, samples]): Finding[] => {
    const same = hashes.get(training.looks.get(file)?.hash ?? file)?.[0];
    const near = alike.get(file);
    const copy = stems.get(stemOf(file))?.[0];
    const found = same ?? near ?? copy;
    if (found === undefined) return [];
    const how = same ? 'the same picture' : near ? 'nearly the same picture' : 'a picture of the same name';
    const [{ source }] = theirs.get(found)! as [Sample];
    const where = `${nameOf(source.file)}:${source.line}`;
    return [warning('leak', samples, `validation has ${how}: ${nameOf(file)}, ${nameOf(found)} (${where})`)];
  });
}

/** Image files beside those of a dataset that none of its lines names. */
export function orphanFindings(samples: readonly Sample[], file: string): Finding[] {
  const named = new Set(samples.flatMap(({ images }) => images));
  const folders = new Set([...named].map((each) => path.dirname(each)).filter((folder) => existsSync(folder)));
  const left = [...folders].flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => IMAGE_NAME.test(name) && !named.has(path.join(folder, name)))
      .sort(),
  );
  if (left.length === 0) return [];
  const some = left.slice(0, 3).join(', ');
  const message = `${left.length} image files beside those of the data are in no line: ${some}${left.length > 3 ? ', ...' : ''}`;
  return [{ kind: 'orphan', severity: 'warning', file, lines: [], message }];
}

/** Classes with one example, where samples name a class or most problems come up again. */
export function singleFindings(samples: readonly Sample[]): Finding[] {
  const classOf = ({ extra, problem }: Sample): string =>
    typeof extra['class'] === 'string' ? extra['class'] : problem;
  const shown = samples.filter(({ task, solution }) => task === 'grounding' && solution !== '[]');
  const classes = [...Map.groupBy(shown, classOf)];
  if (classes.length > shown.length / 3) return [];
  return classes.flatMap(([name, own]) =>
    own.length === 1 ? [warning('single', own, `the only example of "${name}"`)] : [],
  );
}
