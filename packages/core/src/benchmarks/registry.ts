/** The benchmarks by name. */
import { UserError } from '../errors.ts';
import type { Benchmark } from './benchmark.ts';
import { chartqa } from './chartqa.ts';
import { docvqa } from './docvqa.ts';
import { isic2018 } from './isic.ts';
import { mathvista } from './mathvista.ts';
import { omniact } from './omniact.ts';
import { pope } from './pope.ts';
import { realiad } from './realiad.ts';
import { reasonseg } from './reasonseg.ts';
import { referring } from './referring.ts';
import { screenspot, screenspotPro } from './screenspot.ts';

const all: readonly Benchmark[] = [
  ...referring,
  ...([
    reasonseg,
    omniact,
    screenspot,
    screenspotPro,
    realiad,
    isic2018,
    mathvista,
    chartqa,
    docvqa,
    pope,
  ] as Benchmark[]),
];

export const benchmarkNames = (): readonly string[] => all.map(({ name }) => name);

/** @throws UserError where there is none of that name */
export function benchmarkOf(name: string): Benchmark {
  const found = all.find((each) => each.name === name);
  if (found) return found;
  throw new UserError(`there is no benchmark named "${name}"`, {
    remedy: `Choose one of: ${benchmarkNames().join(', ')}.`,
  });
}
