/** Idefics3 (arXiv 2408.12637), and the first SmolVLM, whose files say the same. */
import type { Family } from '../../model/family.ts';
import { tiled } from '../tiled.ts';

export const idefics3: Family = { ...tiled, name: 'idefics3', title: 'Idefics3' };
