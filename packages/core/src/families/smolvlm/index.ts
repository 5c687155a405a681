/** SmolVLM2 (arXiv 2504.05299). */
import type { Family } from '../../model/family.ts';
import { tiled } from '../tiled.ts';

export const smolVlm: Family = { ...tiled, name: 'smolvlm', title: 'SmolVLM2' };
