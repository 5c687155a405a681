/**
 * Decoding where the processor would be in the way: what a token takes is on the device, the same work with every token,
 * recorded once (`record`). The host reads what was chosen many tokens later.
 */
import {
  callOp,
  keep,
  noGrad,
  record,
  scope,
  tensor,
  withDevice,
  zeros,
  type Device,
  Tensor,
  type Recording,
} from '@visurf/torch';

import type { VisionLanguageModel } from '../model/vlm.ts';
import { belowOne, chooseTokens, requireProbabilities, seenTokens, type Chosen, type Sampling } from './sampler.ts';

/** The rows of a batch and their caches, of which this decoding takes hold until it is disposed. */
export interface Decoded {
  readonly responses: number;
  readonly prefill: Parameters<VisionLanguageModel['decodeOnDevice']>[3] & {
    readonly nextPositions: readonly number[];
  };
  readonly own: Parameters<VisionLanguageModel['decodeOnDevice']>[4];
}

export class RecordedDecoding implements Disposable {
  readonly #device: Device;
  readonly #body: () => void;
  readonly #tables: { readonly chosen: Tensor; readonly logProbs: Tensor };
  readonly #held: readonly Tensor[];
  #recording: Recording | undefined;
  /** Rows of the tables that were read. */
  #read = 0;

  /**
   * @param at tokens of every row so far, of which the last is not in the caches
   * @param tokens the last of each row, [R]
   * @param noise of the tokens to come, [count][R]
   * @param forbidden additive [V]
   * @param seen tokens of prompt and response so far, a set per row
   */
  constructor(
    model: VisionLanguageModel,
    { responses, prefill, own }: Decoded,
    at: number,
    tokens: readonly number[],
    noise: readonly (readonly number[])[],
    sampling: Sampling,
    forbidden: Tensor,
    seen: readonly ReadonlySet<number>[],
  ) {
    const [count, rows] = [noise.length, tokens.length];
    this.#device = model.device;
    const made = scope(() =>
      withDevice(model.device, () => {
        const { nextPositions } = prefill;
        const positions = noise.flatMap((_, i) => nextPositions.map((next) => next + at - 1 + i));
        const { cos, sin } = model.rotationOf(positions, [count, nextPositions.length, 1]);
        const each = {
          cos,
          sin,
          noise: tensor(belowOne(noise.flat()), { shape: [count, rows], dtype: 'float64' }),
          current: tensor(tokens, { dtype: 'int64' }),
          index: tensor([at - 1], { dtype: 'int64' }),
          step: tensor([0], { dtype: 'int64' }),
          chosen: zeros([count, rows], { dtype: 'int64' }),
          logProbs: zeros([count, rows], { dtype: 'float64' }),
          ...(sampling.repetitionPenalty !== 1 && { seen: seenTokens(seen, model.config.text.vocabularySize) }),
        };
        const shared = model.planDecoding(prefill, own);
        const ofShared = [shared?.prompts, shared?.responses].flatMap((asked) => Object.values(asked ?? {}));
        const held = [...Object.values(each), ...ofShared].filter((value) => value instanceof Tensor);
        held.forEach(keep);
        return { ...each, shared, held };
      }),
    );
    this.#held = made.held;
    this.#tables = made;
    this.#body = () =>
      noGrad(() =>
        withDevice(model.device, () => {
          const { current, index, step } = made;
          const now = (table: Tensor): Tensor => table.indexSelect(0, step).squeeze(0);
          const rotation = { cos: now(made.cos), sin: now(made.sin) };
          const hidden = model.decodeOnDevice(current, rotation, responses, prefill, own, index, made.shared);
          const [next, logProbs] = chooseTokens(model.logits(hidden), sampling, now(made.noise), forbidden, made.seen);
          if (made.seen) callOp('scatter_.value', made.seen, 1, next.unsqueeze(1), 1);
          callOp('index_copy_', made.chosen, 0, step, next.unsqueeze(0));
          callOp('index_copy_', made.logProbs, 0, step, logProbs.unsqueeze(0));
          current.copy_(next);
          index.add_(1);
          step.add_(1);
        }),
      );
  }

  /** Chooses so many tokens further for every row. @returns those of one place after the other */
  advance(count: number): Chosen[] {
    for (let i = 0; i < count; i++) this.#once();
    return scope(() => {
      const { chosen, logProbs: found } = this.#tables;
      const [first, rows] = [this.#read, chosen.size(1)];
      this.#read += count;
      const tokens = chosen.narrow(0, first, count).toArray();
      const logProbs = found.narrow(0, first, count).toFloat64Array();
      requireProbabilities(logProbs);
      return Array.from({ length: count }, (_, i) => ({
        tokens: tokens.slice(i * rows, (i + 1) * rows),
        logProbs: logProbs.slice(i * rows, (i + 1) * rows),
      }));
    });
  }

  /** The first time for itself: what libtorch makes on first use is not to be recorded. */
  #once(): void {
    if (this.#recording) return this.#recording.replay();
    scope(this.#body);
    this.#recording = record(this.#device, this.#body);
  }

  [Symbol.dispose](): void {
    this.#recording?.[Symbol.dispose]();
    for (const each of this.#held) each.dispose();
  }
}
