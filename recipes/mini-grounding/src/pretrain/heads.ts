/** Small readers of the hidden states, with the losses that pull on what the model shall know; thrown away at the end. */
import { callOp, nn, noGrad, tensor, eye, type Tensor } from '@visurf/torch';

import { COLORS, SHAPES } from '../scenes.ts';
import { idOf } from '../vocabulary.ts';
import { indices } from './forward.ts';
import type { PatchTargets, TokenTargets } from './targets.ts';

const MEAN = 1;
const WORD_IDS = [...COLORS, ...SHAPES].map((word) => idOf(` ${word}`));

const l1 = (x: Tensor, y: Tensor): Tensor => x.sub(y).abs().mean();
const binaryCrossEntropy = (logits: Tensor, y: Tensor): Tensor =>
  callOp('binary_cross_entropy_with_logits', logits, y, null, null, MEAN) as Tensor;
const crossEntropy = (logits: Tensor, classes: readonly number[]): Tensor =>
  logits.logSoftmax(-1).gather(1, indices(classes).unsqueeze(1)).mean().neg();
const unit = (x: Tensor): Tensor => x.mul(x.square().mean(-1, true).add(1e-6).rsqrt());
const places = (flags: readonly boolean[]): number[] => flags.flatMap((flag, i) => (flag ? [i] : []));

export class Heads extends nn.Module {
  /** Colours, shapes, box twice, own place, whether there is an object. */
  readonly patch: nn.Linear;
  readonly token: nn.Linear;
  readonly wordBias: Tensor;
  readonly box: nn.Linear;
  readonly pointer: nn.Linear;
  readonly pointerBias: Tensor;

  constructor(visionWidth: number, width: number) {
    super();
    this.patch = new nn.Linear(visionWidth, COLORS.length + SHAPES.length + 11);
    this.token = new nn.Linear(width, 4);
    this.wordBias = nn.parameter([WORD_IDS.length]);
    this.box = new nn.Linear(width, 4);
    this.pointer = new nn.Linear(width, width);
    this.pointerBias = nn.parameter([1]);
    noGrad(() => {
      this.wordBias.fill_(-2);
      this.pointer.weight.copy_(eye(width));
      this.pointer.bias?.fill_(0);
      this.pointerBias.fill_(-4);
    });
  }

  /** What every patch shows: object or not, colour, shape, box, and the patch's own place. */
  patchLoss(patches: Tensor, { colors, shapes, boxes, places: own }: PatchTargets): Tensor {
    const shown = colors.map((color) => color >= 0);
    const rows = places(shown);
    const [color, shape, box, place, object] = this.patch
      .forward(patches)
      .split([COLORS.length, SHAPES.length, 8, 2, 1], 1) as [Tensor, Tensor, Tensor, Tensor, Tensor];
    const pick = (values: readonly number[]): number[] => rows.map((row) => values[row] ?? 0);
    const chosen = indices(rows);
    const trueBoxes = tensor(boxes, { shape: [shown.length, 8] }).indexSelect(0, chosen);
    const predicted = box.indexSelect(0, chosen);
    const part = (x: Tensor, start: number): Tensor => x.narrow(1, start, 4);
    return binaryCrossEntropy(object.squeeze(1), tensor(shown.map(Number)))
      .add(crossEntropy(color.indexSelect(0, chosen), pick(colors)))
      .add(crossEntropy(shape.indexSelect(0, chosen), pick(shapes)))
      .add(l1(part(predicted, 0), part(trueBoxes, 0)).mul(2))
      .add(l1(part(predicted, 4), part(trueBoxes, 4)).mul(4))
      .add(l1(place, tensor(own, { shape: [shown.length, 2] })));
  }

  /**
   * Image tokens speak the decoder's language: the tied head reads colours and shapes of what they show from them, so
   * that the words of a question find the tokens that are alike.
   * @param words embeddings of the whole vocabulary
   */
  tokenLoss(normed: Tensor, words: Tensor, { words: shown, boxes, covered }: TokenTargets): Tensor {
    const logits = normed.mm(words.indexSelect(0, indices(WORD_IDS)).t()).add(this.wordBias);
    const rows = indices(places(covered));
    const trueBoxes = tensor(boxes, { shape: [covered.length, 4] }).indexSelect(0, rows);
    return binaryCrossEntropy(logits, tensor(shown, { shape: [covered.length, WORD_IDS.length] })).add(
      l1(this.token.forward(normed.indexSelect(0, rows)), trueBoxes),
    );
  }

  /** The box of what is asked for, from the last hidden states [n, D]; boxes [n * 4]. */
  boxLoss(normed: Tensor, boxes: readonly number[]): Tensor {
    return l1(this.box.forward(normed), tensor(boxes, { shape: [normed.size(0), 4] }));
  }

  /** How much each hidden state [n, D] resembles each of its image's tokens [n, tokens, D]: [n, tokens]. */
  #points(states: Tensor, tokens: Tensor): Tensor {
    const scale = 16;
    return unit(tokens)
      .bmm(this.pointer.forward(unit(states)).unsqueeze(2))
      .squeeze(2)
      .div(scale);
  }

  /** -log of the share of a softmax over image tokens that falls on those of the object; shown [n * tokens]. */
  findLoss(states: Tensor, tokens: Tensor, shown: readonly number[]): Tensor {
    const share = this.#points(states, tokens).softmax(-1);
    const target = tensor(shown, { shape: share.shape });
    return share.mul(target).sum(-1).add(1e-6).log().mean().neg();
  }

  /** Each image token on its own: does it show what is asked for? For what is absent none does. */
  existsLoss(states: Tensor, tokens: Tensor, shown: readonly number[]): Tensor {
    const points = this.#points(states, tokens).add(this.pointerBias);
    return binaryCrossEntropy(points, tensor(shown, { shape: points.shape }));
  }
}
