/** What a layer leaves behind for its gradient. */
import type { Kept } from '../../model/kept.ts';
import type { TextConfig } from '../../model/text-config.ts';

export function keptByLayer(_config: TextConfig, _isHalf: boolean): Kept {
  return { stream: 0, products: 0 };
}
