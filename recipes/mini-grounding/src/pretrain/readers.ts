/** Losses of small readers of the hidden states, and what they are made of. */
import { callOp, tensor, type nn, type Tensor } from '@visurf/torch';

import { indices } from './forward.ts';

const MEAN = 1;

export const l1 = (x: Tensor, y: Tensor): Tensor => x.sub(y).abs().mean();
export const binaryCrossEntropy = (logits: Tensor, y: Tensor): Tensor =>
  callOp('binary_cross_entropy_with_logits', logits, y, null, null, MEAN) as Tensor;
export const crossEntropy = (logits: Tensor, classes: readonly number[]): Tensor =>
  logits.logSoftmax(-1).gather(1, indices(classes).unsqueeze(1)).mean().neg();
const unit = (x: Tensor): Tensor => x.mul(x.square().mean(-1, true).add(1e-6).rsqrt());
/** Where the flags are set. */
export const places = (flags: readonly boolean[]): number[] => flags.flatMap((flag, i) => (flag ? [i] : []));

export interface Readers {
  readonly box: nn.Linear;
  readonly pointer: nn.Linear;
  readonly pointerBias: Tensor;
}

/** The box of what is asked for, from the last hidden states [n, D]; boxes [n * 4]. */
export const boxLoss = ({ box }: Readers, normed: Tensor, boxes: readonly number[]): Tensor =>
  l1(box.forward(normed), tensor(boxes, { shape: [normed.size(0), 4] }));

/** How much each hidden state [n, D] resembles each of its image's tokens [n, tokens, D]: [n, tokens]. */
function points({ pointer }: Readers, states: Tensor, tokens: Tensor): Tensor {
  const scale = 16;
  return unit(tokens)
    .bmm(pointer.forward(unit(states)).unsqueeze(2))
    .squeeze(2)
    .div(scale);
}

/** -log of the share of a softmax over image tokens that falls on those of the thing; shown [n * tokens]. */
export function findLoss(readers: Readers, states: Tensor, tokens: Tensor, shown: readonly number[]): Tensor {
  const share = points(readers, states, tokens).softmax(-1);
  const target = tensor(shown, { shape: share.shape });
  return share.mul(target).sum(-1).add(1e-6).log().mean().neg();
}

/** Each image token on its own: does it show what is asked for? For what is absent none does. */
export function existsLoss(readers: Readers, states: Tensor, tokens: Tensor, shown: readonly number[]): Tensor {
  const logits = points(readers, states, tokens).add(readers.pointerBias);
  return binaryCrossEntropy(logits, tensor(shown, { shape: logits.shape }));
}
