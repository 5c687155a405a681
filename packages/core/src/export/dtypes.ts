/** What of a checkpoint's files is written otherwise than the rest: tensors in float32, and tensors that are left out. */
import type { FloatDType, SafetensorsIndex } from '@visurf/torch';

import type { Family } from '../model/family.ts';

/**
 * The dtype of a parameter in files whose others are in `dtype`: what a family keeps in float32 stays so, unless the file
 * that it comes from has it in half precision.
 */
export function dtypeFor(
  key: string,
  dtype: FloatDType,
  { keys, precise }: Family,
  from: SafetensorsIndex,
): FloatDType {
  if (!precise?.test(key)) return dtype;
  const name = keys.inFile(key).find((each) => from.has(each));
  return name === undefined || from.dtypeOf(name) === 'float32' ? 'float32' : dtype;
}

/** What is said of tensors of a file that no model is made of; undefined where it has none. */
export function leftOut({ ignored }: Family, { names }: Pick<SafetensorsIndex, 'names'>): string | undefined {
  const found = names.filter((name) => ignored?.names.test(name));
  if (!ignored || found.length === 0) return undefined;
  return `without ${found.length} tensors of ${ignored.are}: they are not trained, and guess for the weights as they were`;
}
