/**
 * What a layer of the decoder remembers of tokens that it has seen: keys and values of every one of them, or a recurrent
 * state that stands for all. A prompt's state is made once (`prefill`) and stays as it is; `fork` makes that of its
 * responses, which `decode` moves on in place.
 *
 * Legend: B prompts, K responses each, L prompt tokens, KV key heads of size d; C channels of a convolution over W tokens,
 * Hv value heads with keys of dk and values of dv channels.
 */
import { empty, keep, zeros, type functional, type Tensor } from '@visurf/torch';

import { cacheCapacity } from '../budgets.ts';

/** Of a layer that reads its past as one state, in the precision of that state. */
export interface Recurrence {
  /** What the convolution of the next token reads beside it: of prompts [B, W - 1, C], of responses [B, 1, K, W - 1, C]. */
  readonly tail: Tensor;
  /** Of prompts [B, Hv, dk, dv], of responses [B, 1, K, Hv, dk, dv]. */
  readonly sums: Tensor;
}

/** Keys and values: of prompts [B, KV, d, L] and [B, KV, L, d], of responses [B, KV, K, d, room] and [B, KV, K, room, d]. */
export type LayerState = functional.DecodingCache | Recurrence;

export const isKeyed = (state: LayerState): state is functional.DecodingCache => 'keys' in state;

/** @throws Error where a layer of attention is given the state of another kind */
export function keyed(state: LayerState): functional.DecodingCache {
  if (!isKeyed(state)) throw new Error('a layer of attention has keys and values');
  return state;
}

/** @throws Error where a recurrent layer is given the state of another kind */
export function recurrent(state: LayerState): Recurrence {
  if (isKeyed(state)) throw new Error('a recurrent layer has sums');
  return state;
}

/** The same state with other tensors. */
export function mapState(state: LayerState, map: (x: Tensor) => Tensor): LayerState {
  return isKeyed(state)
    ? { keys: map(state.keys), values: map(state.values) }
    : { tail: map(state.tail), sums: map(state.sums) };
}

export const tensorsOf = (state: LayerState): Tensor[] => Object.values(state) as Tensor[];

/** Tokens that keys and values have room for, or are of; undefined where no layer has any. */
export const roomIn = (states: readonly LayerState[]): number | undefined => states.find(isKeyed)?.values.size(-2);

/** Room for keys and values of K responses of so many tokens behind each prompt. */
export function forkKeys({ keys, values }: functional.DecodingCache, responses: number, tokens: number): LayerState {
  const [batch, heads, size] = keys.shape as [number, number, number];
  const { dtype, device } = values;
  const capacity = cacheCapacity(tokens);
  // Where a device masks what is not filled yet, it must be numbers.
  const blank = device === 'cpu' ? empty : zeros;
  return {
    keys: blank([batch, heads, responses, size, capacity], { dtype, device }),
    values: blank([batch, heads, responses, capacity, size], { dtype, device }),
  };
}

/** A copy for each of K responses: rows that share one would write into each other's past. */
export function forkRecurrence(state: Recurrence, responses: number): Recurrence {
  const each = (x: Tensor): Tensor => {
    const [batch, ...rest] = x.shape as [number, ...number[]];
    return x
      .unsqueeze(1)
      .unsqueeze(1)
      .expand(batch, 1, responses, ...rest)
      .clone()
      .contiguous();
  };
  return { tail: each(state.tail), sums: each(state.sums) };
}

/** Keeps all tensors beyond the scope that made them. */
export function keepState(state: LayerState): LayerState {
  for (const each of tensorsOf(state)) keep(each);
  return state;
}
