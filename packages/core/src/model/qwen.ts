/**
 * Qwen2-VL and Qwen2.5-VL: vision tower and decoder, one set of weights behind three passes. `score` runs prompts and responses
 * packed together (training, log-probabilities), `prefill` and `decode` are the two phases of the same computation
 * (generation). Field names are the checkpoint's keys.
 */
import {
  functional,
  keep,
  nn,
  noGrad,
  scope,
  tensor,
  Tensor,
  type Device,
  type DType,
  type FloatDType,
} from '@visurf/torch';

import type { Prompt } from '../types.ts';
import type { KeyValues } from './attention.ts';
import type { ModelConfig } from './config.ts';
import { Decoder } from './decoder.ts';
import { scoreTokens, type ScoredTokens } from './head.ts';
import { nextPosition, pack, type Packed, type PromptWithResponses } from './pack.ts';
import { Projection, type Precision } from './projection.ts';
import { textRotation } from './rope.ts';
import { planVision, VisionTower } from './vision.ts';

/** Prompts after their prefill: what responses attend to, and where they start. */
export interface Prefilled {
  /** One per layer, [B, KV, L, d]. */
  readonly caches: readonly KeyValues[];
  /** Hidden state that predicts the first token, after the final norm: [B, D]. */
  readonly last: Tensor;
  /** Additive mask over padding, [B, 1, 1, 1, 1, L]; undefined when all prompts are equally long. */
  readonly padding: Tensor | undefined;
  /** [B]: position of the first response token. */
  readonly nextPositions: readonly number[];
}

export interface Hidden {
  /** [N, D] after the final norm. */
  readonly hidden: Tensor;
  /** [N]: the tokens that they predict. */
  readonly targets: readonly number[];
}

/** What an observer of the packed forward sees; the tensors live until it returns. */
export interface States {
  /** Stream of the vision tower after its last block, [patches, D], in window order. */
  readonly patches: Tensor | undefined;
  /** Image tokens, [features, D], in reading order. */
  readonly features: Tensor | undefined;
  /** Stream after each decoder layer, [B, S, D]. */
  readonly layers: readonly Tensor[];
  readonly packed: Packed;
}

function concatenate(arrays: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(arrays.reduce((sum, { length }) => sum + length, 0));
  let offset = 0;
  for (const each of arrays) {
    all.set(each, offset);
    offset += each.length;
  }
  return all;
}

export class QwenVL extends nn.Module {
  readonly model: Decoder;
  readonly visual: VisionTower;
  /** Absent when the head is tied to the embeddings. */
  readonly lm_head: { readonly weight: Tensor } | undefined;
  readonly _config: ModelConfig;
  _precision: Precision = 'float32';

  constructor(config: ModelConfig) {
    super();
    this._config = config;
    this.model = new Decoder(config.text);
    this.visual = new VisionTower(config.vision);
    this.lm_head = config.text.tiedHead
      ? undefined
      : new nn.Linear(config.text.hiddenSize, config.text.vocabularySize, {
          bias: false,
        });
  }

  get config(): ModelConfig {
    return this._config;
  }
  get headWeight(): Tensor {
    return this.lm_head?.weight ?? this.model.embed_tokens.weight;
  }
  get dtype(): DType {
    return this.headWeight.dtype;
  }
  get device(): Device {
    return this.headWeight.device;
  }

  /** Replaces every parameter by one of this dtype on this device; values are kept. */
  moveTo(dtype: FloatDType, device: Device): void {
    const replace = (owner: object): void => {
      for (const [name, value] of Object.entries(owner)) {
        if (value instanceof Tensor) {
          const moved = keep(noGrad(() => value.to({ device, dtype }).detach()));
          Object.assign(owner, {
            [name]: moved.requiresGrad_(value.requiresGrad),
          });
          value.dispose();
        } else if (value instanceof nn.Module || Array.isArray(value)) replace(value);
      }
    };
    replace(this);
  }

  /** The precision of products from now on. */
  set precision(precision: Precision) {
    this._precision = precision;
    for (const each of this.#projections()) each._precision = precision;
  }
  get precision(): Precision {
    return this._precision;
  }
  /** To be called after every change of the weights. */
  weightsChanged(): void {
    for (const each of this.#projections()) each.forgetCasts();
  }

  /**
   * Hidden states that predict every response token, in the order of prompts, responses, tokens; the prompt carries
   * gradient. `observe` sees intermediate states (for auxiliary losses); they are freed when it is not asked for.
   * @returns [N, D] after the final norm
   */
  hidden(items: readonly PromptWithResponses[], observe?: (states: States) => void): Hidden {
    const packed = pack(items, this._config.imageTokenId);
    const { layout, batch, mask } = packed;
    const row = layout.prefix + layout.responses * layout.tokens;
    return scope(() => {
      const rotation = textRotation(packed.positions, [batch, row], this._config, this.dtype);
      const maskShape = [mask.batch, 1, 1, 1, layout.tokens, layout.prefix + layout.tokens];
      const visible = this.#place(tensor(mask.values, { shape: maskShape }));
      const images = this.#encodeImages(items.map(({ prompt }) => prompt));
      let x = this.#embed(packed.ids, packed.imagePlaces, images?.features).view(batch, row, -1);
      const layers: Tensor[] = [];
      for (const layer of this.model.layers) {
        x = layer.packed(x, rotation, layout, visible);
        layers.push(x);
      }
      observe?.({ patches: images?.patches, features: images?.features, layers, packed });
      const rows = x.view(batch * row, -1).indexSelect(0, this.#indices(packed.predictors));
      return { hidden: this.model.norm.forward(rows), targets: packed.targets };
    });
  }

  /** Log-probabilities of every response token (temperature 1, full vocabulary), with their pullback to `hidden`. */
  score(hidden: Tensor, targets: readonly number[]): ScoredTokens {
    return scoreTokens(hidden, this.headWeight, targets, this._precision);
  }

  /** Runs prompts through the decoder once and keeps their keys and values. */
  prefill(prompts: readonly Prompt[]): Prefilled {
    const items = prompts.map((prompt) => ({ prompt, responses: [] }));
    const { ids, positions, imagePlaces, layout, batch, mask } = pack(items, this._config.imageTokenId);
    // `pack` leaves room for one response token; here there are none.
    const row = layout.prefix + 1;
    const trim = (values: Int32Array): Int32Array => values.filter((_, i) => i % row !== layout.prefix);
    const places = imagePlaces.map((place) => place - Math.floor(place / row));
    return scope(() => {
      const trimmed = [trim(positions[0]), trim(positions[1]), trim(positions[2])] as const;
      const rotation = textRotation(trimmed, [batch, layout.prefix], this._config, this.dtype);
      let x = this.#embed(trim(ids), places, this.#encodeImages(prompts)?.features).view(batch, layout.prefix, -1);
      const caches: KeyValues[] = [];
      for (const layer of this.model.layers) {
        const [next, { keys, values }] = layer.prefill(x, rotation);
        x = next;
        caches.push({ keys: keys.contiguous(), values: values.contiguous() });
      }
      const ends = prompts.map(({ inputIds }, b) => b * layout.prefix + inputIds.length - 1);
      const last = this.model.norm.forward(x.view(batch * layout.prefix, -1).indexSelect(0, this.#indices(ends)));
      const padding =
        mask.batch === 1 && prompts.every(({ inputIds }) => inputIds.length === layout.prefix)
          ? undefined
          : this.#place(
              tensor(mask.values, {
                shape: [mask.batch, 1, 1, 1, 1, layout.prefix + 1],
              }).narrow(-1, 0, layout.prefix),
            );
      return {
        caches,
        last,
        padding,
        nextPositions: prompts.map(nextPosition),
      };
    });
  }

  /**
   * One token further: tokens [B * K] (row-major), `at` the number of tokens already in `own`.
   * @returns hidden states after the final norm, [B * K, D]
   */
  decode(
    tokens: ArrayLike<number>,
    positions: readonly number[],
    responses: number,
    prefix: Pick<Prefilled, 'caches'>,
    own: readonly KeyValues[],
    at: number,
    mask: Tensor | undefined,
  ): Tensor {
    const batch = tokens.length / responses;
    return scope(() => {
      const rotation = textRotation([positions, positions, positions], [batch, responses], this._config, this.dtype);
      let x = this.model.embed_tokens.forward(this.#indices(Array.from(tokens))).view(batch, responses, -1);
      this.model.layers.forEach((layer, i) => {
        const [shared, mine] = [prefix.caches[i], own[i]];
        if (!shared || !mine) throw new Error(`layer ${i} has no cache`);
        x = scope(() => layer.decode(x, rotation, shared, mine, at, mask));
      });
      return this.model.norm.forward(x.view(batch * responses, -1));
    });
  }

  /** [N, V] in at least float32 of hidden states [N, D]. */
  logits(hidden: Tensor): Tensor {
    if (this._precision === 'float32') return functional.linear(hidden, this.headWeight);
    return functional.linear(hidden.to('bfloat16'), this.headWeight.to('bfloat16')).to('float32');
  }

  /** Image tokens of the prompts' images in order: [features, D]; undefined without images. */
  imageFeatures(prompts: readonly Prompt[]): Tensor | undefined {
    return scope(() => this.#encodeImages(prompts)?.features);
  }

  #encodeImages(prompts: readonly Prompt[]): { patches: Tensor; features: Tensor } | undefined {
    const grids = prompts.flatMap(({ imageGridThw }) => imageGridThw);
    if (grids.length === 0) return undefined;
    const plan = planVision(grids, this._config, this.dtype);
    const { inChannels, temporalPatchSize, patchSize } = this._config.vision;
    const width = inChannels * temporalPatchSize * patchSize ** 2;
    const pixels = concatenate(prompts.flatMap(({ pixelValues }) => pixelValues ?? []));
    const patches = this.visual.hidden(this.#place(tensor(pixels, { shape: [pixels.length / width, width] })), plan);
    return { patches, features: this.visual.merge(patches, plan) };
  }

  #embed(ids: Int32Array, imagePlaces: readonly number[], features: Tensor | undefined): Tensor {
    const words = this.model.embed_tokens.forward(this.#indices(Array.from(ids)));
    if (!features) return words;
    if (features.size(0) !== imagePlaces.length) {
      throw new Error(`${imagePlaces.length} image placeholders, but ${features.size(0)} image features`);
    }
    return words.indexCopy(0, this.#indices(imagePlaces), features.to(words.dtype));
  }

  #indices(values: readonly number[]): Tensor {
    return this.#move(tensor(values, { dtype: 'int64' }));
  }
  #place(values: Tensor): Tensor {
    return this.#move(values.to(this.dtype));
  }
  #move(values: Tensor): Tensor {
    return this.device === 'cpu' ? values : values.to({ device: this.device });
  }

  *#projections(): Generator<Projection> {
    const visit = function* (value: unknown): Generator<Projection> {
      if (value instanceof Projection) yield value;
      else if (Array.isArray(value)) for (const each of value) yield* visit(each);
      else if (value instanceof nn.Module) for (const each of Object.values(value)) yield* visit(each);
    };
    yield* visit(this);
  }
}
