/** What the runs of the takeover comparison say: when they were warned, and when they collapsed. */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The parts of a result that are read here. */
interface Result {
  readonly run: string;
  readonly metrics: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly curves: {
    readonly validation: {
      readonly step: readonly number[];
      readonly metrics: Readonly<Record<string, readonly number[]>>;
    };
    readonly warnings: readonly { readonly step: number; readonly message: string }[];
  };
}

/** Less of the base's present IoU is a collapse. */
const LEFT = 1 / 3;

const WORDS = { thinking: 'thinking fell', 'labels copied': 'repeat a label', 'labels likely': 'log pi' } as const;

/** A row per run: its name, warnings, the first evaluation after which little is left, present IoU and N-Acc at the end. */
export function takeoverOf(directory: string): string[][] {
  const base = join(directory, 'baseline-seed-0.json');
  if (!existsSync(base)) return [];
  const read = (file: string): Result => JSON.parse(readFileSync(file, 'utf8')) as Result;
  const known = read(base).metrics['test']!['presentIoU']!;
  return globSync('*-seed-0.json', { cwd: directory })
    .sort()
    .filter((name) => !name.startsWith('baseline'))
    .map((name) => rowOf(read(join(directory, name)), known));
}

export function rowOf({ run, metrics, curves: { validation, warnings } }: Result, known: number): string[] {
  const present = validation.metrics['presentIoU'] ?? [];
  const collapsed = validation.step[present.findIndex((value) => value < LEFT * known)];
  const said = warnings.flatMap(({ step, message }) => {
    const sign = Object.entries(WORDS).find(([, words]) => message.includes(words));
    return sign ? [`${step} (${sign[0]})`] : [];
  });
  const one = (value?: number): string => value?.toFixed(1) ?? '-';
  const { presentIoU, nAcc } = metrics['test'] ?? {};
  return [run, said.join(', ') || '-', collapsed?.toString() ?? '-', one(presentIoU), one(nAcc)];
}
