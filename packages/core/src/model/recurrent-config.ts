/** Layers that read their past as one state per head (gated delta nets), as `text_config` describes them. */
import { z } from 'zod';

import { UserError } from '../errors.ts';

export interface RecurrentConfig {
  /** Whether each layer of the decoder is one; the others are attention. */
  readonly layers: readonly boolean[];
  readonly keyHeads: number;
  /** A multiple: each key head serves as many of them. */
  readonly valueHeads: number;
  /** Channels of a head of queries and keys, and of one of values. */
  readonly keySize: number;
  readonly valueSize: number;
  /** Tokens that the convolution before them sees, the current one among them. */
  readonly taps: number;
}

/** How many layers of a decoder have keys and values, and how many a state. */
export function layerCounts(text: { readonly layers: number; readonly recurrent?: RecurrentConfig }) {
  const recurrent = text.recurrent?.layers.filter(Boolean).length ?? 0;
  return { attention: text.layers - recurrent, recurrent };
}

/** The reference's defaults; every so many layers one is attention, where a file lists no layers. */
export type RecurrentRules = Omit<RecurrentConfig, 'layers'> & { readonly fullEvery: number };

const count = z
  .int()
  .positive()
  .max(1 << 16);

/** By their names in files. */
export const recurrentFields = {
  linear_num_key_heads: count.nullish(),
  linear_num_value_heads: count.nullish(),
  linear_key_head_dim: count.nullish(),
  linear_value_head_dim: count.nullish(),
  linear_conv_kernel_dim: count.nullish(),
  full_attention_interval: count.nullish(),
};
type File = z.output<z.ZodObject<typeof recurrentFields>> & {
  readonly num_hidden_layers: number;
  readonly layer_types?: readonly string[] | null | undefined;
};

/** @throws UserError where layers are of another kind, or heads do not fit each other */
export function readRecurrent(file: File, rules: RecurrentRules): RecurrentConfig {
  const shape = {
    keyHeads: file.linear_num_key_heads ?? rules.keyHeads,
    valueHeads: file.linear_num_value_heads ?? rules.valueHeads,
    keySize: file.linear_key_head_dim ?? rules.keySize,
    valueSize: file.linear_value_head_dim ?? rules.valueSize,
    taps: file.linear_conv_kernel_dim ?? rules.taps,
  };
  if (shape.valueHeads % shape.keyHeads !== 0) {
    throw new UserError(`${shape.keyHeads} key heads serve ${shape.valueHeads} value heads of linear layers unequally`);
  }
  if (shape.taps < 2)
    throw new UserError(`linear_conv_kernel_dim is ${shape.taps}: a convolution sees 2 tokens or more`);
  return { layers: layersOf(file, rules.fullEvery), ...shape };
}

function layersOf({ num_hidden_layers: number, layer_types: types, ...file }: File, fullEvery: number): boolean[] {
  const interval = file.full_attention_interval ?? fullEvery;
  if (!types) return Array.from({ length: number }, (_, i) => (i + 1) % interval !== 0);
  if (types.length !== number) {
    throw new UserError(`layer_types lists ${types.length} layers, num_hidden_layers is ${number}`);
  }
  return types.map((type) => {
    if (type !== 'linear_attention' && type !== 'full_attention') {
      throw new UserError(`layer_types: a layer of ${JSON.stringify(type)} is not supported`, {
        remedy: 'Layers of this family are linear_attention and full_attention.',
      });
    }
    return type === 'linear_attention';
  });
}
