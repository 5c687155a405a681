/** Keys of the optimiser, of adapters and of memory. */
import { z } from 'zod';
import { key, section } from '../facts.ts';
import { positive, count, whole, fraction, decay, flag } from './kinds.ts';

export const optimizer = section({
  name: key('`adamw` or `sgd`', z.enum(['adamw', 'sgd']).default('adamw'), { effect: 'breaks' }),
  learningRate: key('of all weights that are trained', positive.default(1e-6)),
  // 1 would divide by 0 in the correction of the first step.
  betas: key('of Adam, below 1', z.tuple([decay, decay]).default([0.9, 0.999])),
  weightDecay: key('decoupled', z.number().min(0).default(0)),
  states: key(
    "AdamW's moments as the weights are (`full`), or in a byte each between updates (`8bit`, as bitsandbytes has them; " +
      'of tensors with fewer than 4,096 elements in full)',
    z.enum(['full', '8bit']).default('full'),
    { effect: 'breaks' },
  ),
  clipNorm: key('largest global norm of the gradient', positive.default(1)),
  warmupSteps: key('steps over which the learning rate rises linearly to its full value', whole.default(0)),
  decay: key(
    'after that: `linear`, `cosine` or `constant`',
    z.enum(['linear', 'cosine', 'constant']).default('constant'),
  ),
  floor: key('where decay ends, as a fraction of the learning rate', fraction.default(0)),
}).prefault({});

/** Low-rank adapters in place of full training; unset: all weights are trained. */
const lora = section(
  {
    rank: key(
      'r; low-rank adapters ([lora.md](lora.md)) in place of all weights, where `train.lora` is given',
      count.default(16),
    ),
    alpha: key('the adapter is scaled by alpha / rank', positive.default(32)),
    rsLora: key('scale by alpha / sqrt(rank) instead', flag.default(false)),
    dropout: key(
      "share of an adapter's inputs that are dropped while training; drawn by seed, step, group and sequence, " +
        'whatever the micro-batches and processes',
      z.number().min(0).lt(1).default(0),
      { effect: 'course' },
    ),
    targets: key(
      "layers with an adapter, as PEFT's `target_modules`: names that a layer's path ends with, or one regular " +
        'expression for whole paths such as `model.language_model.layers.0.self_attn.q_proj`',
      z.union([z.string(), z.array(z.string()).min(1)]).optional(),
      { unset: "all linear layers of the decoder, and with `vision` of the vision tower's blocks" },
    ),
    vision: key('whether layers of the vision tower are met, too', flag.default(false)),
    quantize: key(
      '`nf4`: linear layers of the decoder in four bits while adapters are trained, as bitsandbytes packs them ' +
        '([lora.md](lora.md)); 0.56 bytes a weight in place of 2 or 4',
      z.literal('nf4').optional(),
      { unset: 'weights as they are' },
    ),
  },
  { effect: 'breaks' },
);

/** What is trained, and how much of it is in memory at once. */
export const train = section({
  freezeVision: key(
    'leave the vision tower as it is; the tokens of an image are then computed once and remembered',
    flag.default(false),
    { effect: 'breaks' },
  ),
  lora: lora.optional(),
  microBatch: section({
    prompts: key(
      'prompts, with all their responses, whose activations are in memory at once, at most; ' +
        'changes no number but rounding',
      count.default(4),
    ),
    tokens: key(
      'their tokens, padding included, at most: rows of like length go together, as many as fit',
      count.optional(),
      {
        unset: 'no limit',
      },
    ),
  }).prefault({}),
  offloadActivations: key(
    'with `checkpointActivations` on a GPU: what is kept of a forward pass, the stream before every block, waits in the ' +
      "host's memory for the backward pass; same numbers",
    flag.default(false),
    { effect: 'harmless' },
  ),
  checkpointActivations: key(
    'compute activations again in the backward pass: less memory, about a third more time',
    flag.default(false),
  ),
}).prefault({});
