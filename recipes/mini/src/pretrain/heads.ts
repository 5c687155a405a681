/** Small readers of the hidden states, with the losses that pull on what the model shall know; thrown away at the end. */
import { binaryCrossEntropy, crossEntropy, indices, l1, places, type Vocabulary } from '@visurf/mini-grounding/kit';
import { eye, nn, noGrad, tensor, type Tensor } from '@visurf/torch';

import type { Family, PatchTargets, TokenTargets } from './targets.ts';

const sumOf = (first: Tensor, ...others: readonly Tensor[]): Tensor =>
  others.reduce((sum, each) => sum.add(each), first);

export class Heads extends nn.Module {
  /** Words, box twice, own place, whether there is anything. */
  readonly patch: nn.Linear;
  readonly token: nn.Linear;
  readonly centers: nn.Linear;
  readonly wordBias: Tensor;
  readonly box: nn.Linear;
  readonly pointer: nn.Linear;
  readonly pointerBias: Tensor;
  readonly _idOf: (word: string) => number;
  readonly _words: readonly string[];

  /** @param words all names that things have */
  constructor(visionWidth: number, width: number, vocabulary: Vocabulary, words: readonly string[]) {
    super();
    this._words = words;
    this._idOf = (word) => vocabulary.idOf(word);
    this.patch = new nn.Linear(visionWidth, words.length + 11);
    this.token = new nn.Linear(width, 4);
    this.centers = new nn.Linear(width, words.length);
    this.wordBias = nn.parameter([words.length]);
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

  /** What every patch shows: anything or nothing, its name in each family, its box; and the patch's own place. */
  patchLoss(
    patches: Tensor,
    { covered, classes, boxes, near, places: own }: PatchTargets,
    families: readonly Family[],
  ): Tensor {
    const count = covered.length;
    const [named, box, place, any] = this.patch.forward(patches).split([this._words.length, 8, 2, 1], 1) as [
      Tensor,
      Tensor,
      Tensor,
      Tensor,
    ];
    const always = binaryCrossEntropy(any.squeeze(1), tensor(covered.map(Number))).add(
      l1(place, tensor(own, { shape: [count, 2] })),
    );
    const shown = places(covered);
    if (shown.length === 0) return always;
    const rows = indices(shown);
    const predicted = box.indexSelect(0, rows);
    const off = (start: number, values: readonly number[]): Tensor =>
      l1(predicted.narrow(1, start, 4), tensor(values, { shape: [count, 4] }).indexSelect(0, rows));
    const names = families.flatMap((words, f) => {
      const own = classes[f] ?? [];
      const known = shown.filter((row) => (own[row] ?? -1) >= 0);
      if (words.length < 2 || known.length === 0) return [];
      const logits = named
        .indexSelect(0, indices(known))
        .indexSelect(1, indices(words.map((word) => this._words.indexOf(word))));
      return [
        crossEntropy(
          logits,
          known.map((row) => own[row] ?? 0),
        ),
      ];
    });
    return sumOf(always, off(0, near).mul(2), off(4, boxes).mul(4), ...names);
  }

  /**
   * Image tokens speak the decoder's language: the tied head reads the names of what they show from them, so that the
   * words of a question find the tokens that are alike.
   * @param embeddings of the whole vocabulary
   */
  tokenLoss(
    normed: Tensor,
    embeddings: Tensor,
    { words: shown, centers, covered, boxes }: TokenTargets,
    words: Family,
  ): Tensor {
    const shape = [covered.length, words.length];
    const columns = indices(words.map((word) => this._words.indexOf(word)));
    const spoken = embeddings.indexSelect(0, indices(words.map((word) => this._idOf(word))));
    const logits = normed.mm(spoken.t()).add(this.wordBias.indexSelect(0, columns));
    const always = binaryCrossEntropy(logits, tensor(shown, { shape })).add(
      binaryCrossEntropy(this.centers.forward(normed).indexSelect(1, columns), tensor(centers, { shape })),
    );
    const rows = places(covered);
    if (rows.length === 0) return always;
    const trueBoxes = tensor(boxes, { shape: [covered.length, 4] }).indexSelect(0, indices(rows));
    return always.add(l1(this.token.forward(normed.indexSelect(0, indices(rows))), trueBoxes));
  }
}
