/** What layers leave behind for their gradient, per token. */
import type { Kept, KeptByState } from '../../model/kept.ts';
import type { TextConfig } from '../../model/text-config.ts';

/** Of what products read: normed streams, cast for each of `first` products where each casts it; the feed-forward layer. */
const products = ({ hiddenSize: width, intermediateSize: inner }: TextConfig, casts: boolean, first: number): number =>
  (casts ? first + 2 : 2) * width + 3 * inner;

/** The stream before both norms; queries and keys before theirs; rotated queries, what was attended to, and its gate. */
export function keptByAttention(config: TextConfig, casts: boolean): Kept {
  const { hiddenSize: width, heads, keyValueHeads, headSize } = config;
  const [queries, keys] = [heads * headSize, keyValueHeads * headSize];
  return { stream: 2 * width, attention: 4 * queries + keys, products: products(config, casts, 3) + queries };
}

/**
 * The stream before both norms; channels before and after the convolution and behind its activation; queries and keys of
 * unit length; what heads read, normed, and its gate; decays. Chunks are computed again: per value head some rows of
 * products of tokens with tokens of their chunk (64), and of keys and values, each with its gradient.
 */
export function keptByState(config: TextConfig, casts: boolean): KeptByState {
  const { keyHeads, valueHeads, keySize, valueSize, taps } = config.recurrent!;
  const [keys, values] = [keyHeads * keySize, valueHeads * valueSize];
  const channels = 2 * keys + values;
  return {
    stream: 2 * config.hiddenSize,
    attention: 3 * channels + 2 * keys + 3 * values + 8 * valueHeads,
    products: products(config, casts, 4) + values,
    state: valueHeads * keySize * valueSize + (taps - 1) * channels,
    working: 2 * valueHeads * (8 * 64 + 6 * keySize + 4 * valueSize),
  };
}
