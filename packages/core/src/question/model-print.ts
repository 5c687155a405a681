/** Whether a run goes on from the base model that it began with: a few numbers that a checkpoint keeps of its files. */
import { createHash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import path from 'node:path';
import { UserError } from '../errors.ts';

/** By name of the file. */
export type ModelPrint = Readonly<Record<string, string>>;

const isWeight = (name: string): boolean => name.endsWith('.safetensors');
const DECISIVE = /^(config|tokenizer|preprocessor_config|adapter_config)\.json$|^chat_template\.(jinja|json)$/;

/** Bytes of a block of weights that is read, and how many there are at most: whole files take too long. */
const BLOCK = 64 << 10;
const BLOCKS = 64;

/** Of the files of model directories that decide what the model is; what is no directory is for those to refuse who open it. */
export function printOfModel(directories: readonly string[]): ModelPrint {
  const isDirectory = (each: string): boolean => statSync(each, { throwIfNoEntry: false })?.isDirectory() ?? false;
  return Object.fromEntries(
    directories.filter(isDirectory).flatMap((directory) =>
      readdirSync(directory)
        .filter((name) => isWeight(name) || DECISIVE.test(name))
        .sort()
        .map((name) => [name, printOfFile(path.join(directory, name))]),
    ),
  );
}

/** Of its length and of blocks all over it, of small files of every byte. */
function printOfFile(file: string): string {
  const descriptor = openSync(file, 'r');
  try {
    const { size } = fstatSync(descriptor);
    const hash = createHash('sha256').update(String(size));
    const blocks = Math.ceil(size / BLOCK);
    const taken = Math.min(blocks, BLOCKS);
    const buffer = Buffer.alloc(BLOCK);
    for (let i = 0; i < taken; i++) {
      const at = BLOCK * (taken > 1 ? Math.floor((i * (blocks - 1)) / (taken - 1)) : 0);
      hash.update(buffer.subarray(0, readSync(descriptor, buffer, 0, BLOCK, at)));
    }
    return hash.digest('hex');
  } finally {
    closeSync(descriptor);
  }
}

/**
 * @param needsWeights false: the run has all weights itself
 * @throws UserError that names what changed
 */
export function requireSameModel(
  before: ModelPrint | undefined,
  now: ModelPrint,
  { model, needsWeights }: { readonly model: string; readonly needsWeights: boolean },
): void {
  if (!before) return;
  const names = [...new Set([...Object.keys(before), ...Object.keys(now)])].sort();
  const changed = names.filter((name) => (needsWeights || !isWeight(name)) && before[name] !== now[name]);
  if (changed.length === 0) return;
  throw new UserError(`the model is not what the run began with: ${changed.join(', ')} changed`, {
    where: model,
    remedy: 'Bring the model back, or go on with it as it is: --changed-data.',
  });
}
