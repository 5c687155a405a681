/**
 * Names of tensors. In memory a model has `visual.*`, `model.*` and `lm_head.*`; the reference has other paths in memory,
 * and files say either.
 */

export interface Keys {
  /** Names that a file may have for a parameter of ours, the usual one first. */
  readonly inFile: (key: string) => readonly string[];
  /** The path that the reference has in memory for one of ours; PEFT's rules and files speak of it. */
  readonly reference: (path: string) => string;
  /** Ours for any of those names. */
  readonly own: (path: string) => string;
}

/** Whether a parameter or a layer of ours belongs to the vision tower. */
export const isVision = (key: string): boolean => key.startsWith('visual.');

function reference(path: string): string {
  if (isVision(path)) return `model.${path}`;
  return path.startsWith('model.') ? `model.language_model.${path.slice('model.'.length)}` : path;
}

const own = (path: string): string =>
  path.replace(/^model\.language_model\./, 'model.').replace(/^model\.visual\./, 'visual.');

/** Files usually say the shorter names; newer ones those of the reference. */
export const shortOrReference: Keys = { inFile: (key) => [...new Set([key, reference(key)])], reference, own };

/** Files usually say the names of the reference. */
export const referenceOrShort: Keys = { inFile: (key) => [...new Set([reference(key), key])], reference, own };
