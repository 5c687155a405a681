/** Small readers of the hidden states, with the losses that pull on what the model shall know; thrown away at the end. */
import { nn, noGrad, tensor, eye, type Tensor } from '@visurf/torch';

import { COLORS, SHAPES } from '../scenes.ts';
import { idOf } from '../vocabulary.ts';
import { indices } from './forward.ts';
import { binaryCrossEntropy, crossEntropy, l1, places } from './readers.ts';
import type { PatchTargets, TokenTargets } from './targets.ts';

const WORD_IDS = [...COLORS, ...SHAPES].map((word) => idOf(` ${word}`));

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
}
