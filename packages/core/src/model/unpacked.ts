/**
 * Weights in four bits while tokens are decoded on a GPU: every token would unpack them anew, which moves several times
 * what its products read. Where there is room they are numbers until the decoding ends, layer by layer; the same numbers.
 */
import { unpackedRoom } from '../budgets.ts';
import { freeMemory } from './head.ts';
import { tensorsOf, type LayerState } from './layer-state.ts';
import { projections } from './projection.ts';
import type { VisionLanguageModel } from './vlm.ts';

/**
 * @param states caches of prompts and responses
 * @param free bytes; undefined: of the host, where nothing is unpacked for longer than a product
 */
export function unpackForDecoding(
  model: VisionLanguageModel,
  states: readonly LayerState[],
  free = freeMemory(model.device),
): void {
  if (free === undefined) return;
  let room = unpackedRoom(free, sum(states.flatMap(tensorsOf).map(({ numel, dtype }) => numel * itemOf(dtype))));
  for (const layer of model.model.layers) {
    const packed = [...projections(layer).values()].filter(({ _nf4 }) => _nf4);
    room -= sum(packed.map(({ weight }) => weight.numel * itemOf(model.precision)));
    if (room < 0) return;
    for (const each of packed) each._unpacks = true;
  }
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
/** Bytes of a number. */
const itemOf = (dtype: string): number => (dtype.endsWith('16') ? 2 : 4);
