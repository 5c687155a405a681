/** Weights that are made ready for the many passes of a rollout, and given back after the last of them. */
import type { VisionLanguageModel } from './vlm.ts';
import { FixedProduct, projections } from './projection.ts';

/** Whether weights are packed for decoding so many rows: a copy of so many bytes, which is small, or shared by many rows. */
export const packsWeights = (rows: number, bytes: number): boolean => rows >= 4 || bytes <= 1 << 30;

/** Batches that are decoded in turn share them; they are packed from the first of these on that has rows enough. */
export class ReadyWeights {
  readonly #model: VisionLanguageModel;
  #head: FixedProduct | undefined;
  /** Batches that use them. */
  #users = 0;
  #packed = false;

  constructor(model: VisionLanguageModel) {
    this.#model = model;
  }

  /** Of the head; undefined where nothing is decoded. */
  get head(): FixedProduct | undefined {
    return this.#head;
  }

  /** For a batch of so many rows, until disposed. */
  use(rows: number): Disposable {
    const pack = packsWeights(rows, this.#bytes());
    if (this.#users > 0 && pack && !this.#packed) this.#forget();
    if (!this.#head) this.#make(pack);
    this.#users += 1;
    const end = (): void => {
      this.#users -= 1;
      if (this.#users === 0) this.#forget();
    };
    return { [Symbol.dispose]: end };
  }

  #bytes(): number {
    const { model: decoder, headWeight, precision, dtype } = this.#model;
    const all = [headWeight, ...[...projections(decoder).values()].map(({ weight }) => weight)];
    const item = precision === 'bfloat16' ? 2 : dtype === 'float64' ? 8 : 4;
    return item * all.reduce((sum, { numel }) => sum + numel, 0);
  }
  #make(pack: boolean): void {
    const { model: decoder, headWeight, precision } = this.#model;
    this.#packed = pack;
    for (const layer of decoder.layers) layer.startDecoding(pack);
    this.#head = new FixedProduct({ weight: headWeight, bias: undefined }, precision, pack);
  }
  #forget(): void {
    const { model: decoder, projections: all, device } = this.#model;
    for (const layer of decoder.layers) layer.endDecoding();
    for (const each of all) {
      if (each._pack || each._unpacks || each.weight.requiresGrad || device !== 'cpu') each.forgetCasts();
      each._pack = each._unpacks = false;
    }
    this.#head?.dispose();
    this.#head = undefined;
  }
}
