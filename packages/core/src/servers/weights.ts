/** Weights on their way to servers: a folder per step, with a name that no server has heard before. */
import { createHash, randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync, readdirSync, renameSync, rmdirSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

import { fileError } from '../errors.ts';
import { adapterConfigFile, adapterWeightsFile } from '../model/peft.ts';
import type { Weights } from './protocol.ts';

/** Writers of files by name, as a checkpoint takes them. */
type Writers = Readonly<Record<string, (file: string) => void>>;

export class WeightsFolder {
  /** What the names of a run begin with, whichever process they are from. */
  readonly prefix: string;
  readonly #folder: string;
  readonly #kind: Weights['kind'];
  readonly #files: Writers;
  readonly #process = randomBytes(4).toString('hex');
  #written: { readonly step: number; readonly weights: Weights } | undefined;

  /**
   * @param folder that servers see under the same path
   * @param rank of this process among those that train together: each has a folder in it, which is emptied
   */
  constructor(folder: string, rank: number, kind: Weights['kind'], files: Writers) {
    this.#folder = resolve(folder, String(rank));
    this.#kind = kind;
    this.#files = files;
    this.prefix = `visurf-${createHash('sha256').update(this.#folder).digest('hex').slice(0, 8)}-`;
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** The weights that rollouts of a step come from: those that the model has when it is first asked. */
  write(step: number): Weights {
    if (this.#written?.step === step) return this.#written.weights;
    const name = `${this.prefix}${this.#process}-${String(step).padStart(6, '0')}`;
    const directory = join(this.#folder, name);
    const aside = join(this.#folder, `.${name}.tmp`);
    try {
      for (const [file, write] of Object.entries(this.#files)) {
        const path = join(aside, file);
        mkdirSync(dirname(path), { recursive: true });
        write(path);
      }
      renameSync(aside, directory);
      if (this.#written) rmSync(this.#written.weights.directory, { recursive: true, force: true });
    } catch (error) {
      throw fileError(error, { where: directory, remedy: 'Weights for servers go there: rollout.serverFolder.' });
    }
    const weights = { kind: this.#kind, name, directory };
    this.#written = { step, weights };
    return weights;
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
    try {
      rmdirSync(dirname(this.#folder));
    } catch {
      // Others have weights in it.
    }
  }
}

/**
 * The directory of an adapter without other weights, such as the optimizer's in a checkpoint: itself, or a folder beside it
 * with the files of the adapter.
 * @param name of that folder
 * @param ends removes the folder
 * @throws UserError where none can be made
 */
export function adapterAlone(directory: string, name: string, ends: AsyncDisposableStack): string {
  const isOther = (file: string): boolean => file.endsWith('.safetensors') && file !== adapterWeightsFile;
  if (!readdirSync(directory).some(isOther)) return directory;
  // A name as it is given to what a killed process has left half written: a run that goes on removes it.
  const alone = join(dirname(directory), `.${name}.tmp`);
  ends.defer(() => rmSync(alone, { recursive: true, force: true }));
  try {
    mkdirSync(alone);
    for (const file of [adapterConfigFile, adapterWeightsFile]) copyFileSync(join(directory, file), join(alone, file));
  } catch (error) {
    throw fileError(error, {
      where: alone,
      remedy: 'The server is given a copy of the adapter there; or name a folder that `visurf export` has made.',
    });
  }
  return alone;
}
