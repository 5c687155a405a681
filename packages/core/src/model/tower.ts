/** What a model asks of its vision tower, whatever it is made of. */
import type { DType, nn, Tensor } from '@visurf/torch';

import type { Grid } from '../types.ts';
import type { Flow, RunStage } from './stage.ts';

export interface Encoded {
  /** The stream after the last block, [patches, D], in the tower's own order; for observers. */
  readonly patches: Tensor;
  /**
   * Tokens of the decoder in reading order, [features, out], and beside them what is added to the places of these tokens
   * after the decoder's first layers, one tensor [features, out] per layer.
   */
  readonly features: Flow;
}

export interface Tower extends nn.Module {
  /**
   * @param pixels the values of images and videos [t, h, w] in patches, in the order in which a processor writes them
   * @param stream what patches are in from their embedding on; unset: as the pixels
   */
  encode(pixels: Tensor, grids: readonly Grid[], run?: RunStage, stream?: DType): Encoded;
}
