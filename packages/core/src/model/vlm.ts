/**
 * A model: vision tower and decoder of its family, one set of weights behind three passes. `hidden` runs prompts and
 * responses packed together (training, log-probabilities), `prefill` and `decode` are the two phases of the same
 * computation (generation). Field names are the checkpoint's keys.
 */
import {
  cat,
  functional,
  isGradEnabled,
  nn,
  noGrad,
  scope,
  tensor,
  withDevice,
  type Device,
  type DType,
  type Tensor,
} from '@visurf/torch';

import type { Grid, Prompt } from '../types.ts';
import { placeAt, responseMask, type Layout, type NextPlace } from './attention.ts';
import type { ModelConfig } from './config.ts';
import { Decoder } from './decoder.ts';
import type { Draws } from './dropout.ts';
import { picturesOf, rememberedFeatures, type FeatureCache } from './features.ts';
import { scoreTokens, type ScoredTokens } from './head.ts';
import { nextPosition, pack, requireVisible, visualGrids, type Packed, type PromptWithResponses } from './pack.ts';
import { isKeyed, roomIn, type LayerState } from './layer-state.ts';
import { projections, type Precision, type Projection, type Stream } from './projection.ts';
import { ReadyWeights } from './ready-weights.ts';
import { textRotation, type Rotation } from './rope.ts';
import { hasFlashAttention, sequencesIn } from './sequences.ts';
import {
  forkShared,
  planShared,
  sharedKeys,
  sharedPlaceAt,
  type SharedPlace,
  type SharedPlan,
} from './shared-decoding.ts';
import {
  disposeBut,
  freeingInputs,
  keepingInputs,
  onStream,
  Tape,
  type Flow,
  type GradientWatch,
  type RunStage,
} from './stage.ts';
import type { Encoded, Tower } from './tower.ts';

/** Prompts after their prefill: what responses attend to, and where they start. */
export interface Prefilled {
  /** One per layer; keys and values also as `attendShared` has them. */
  readonly caches: readonly LayerState[];
  /** L: tokens of the prompts, with padding. */
  readonly tokens: number;
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

/** How a pass for training keeps what its backward pass needs. */
export interface TrainedPass {
  readonly recomputed: boolean;
  readonly offloaded?: boolean | undefined;
  readonly watch?: GradientWatch | undefined;
  /** Of the dropout that adapters have meanwhile (`withDropout`). */
  readonly draws?: Draws | undefined;
}

/** What an observer of the packed forward sees; the tensors live until it returns. */
export interface States {
  /** Stream of the vision tower after its last block, [patches, D], in its own order. */
  readonly patches: Tensor | undefined;
  /** Tokens of images and videos, [features, D], in reading order. */
  readonly features: Tensor | undefined;
  /** Stream after each decoder layer, [B, S, D]. */
  readonly layers: readonly Tensor[];
  readonly packed: Packed;
}

/** Adds the first of what travels beside the stream [B, S, D] to the places of images. */
function takeUp([stream, first, ...later]: Flow, places: Tensor): Flow {
  if (!first) return [stream];
  const flat = stream.reshape(-1, stream.size(-1));
  return [flat.indexAdd(0, places, first.to(flat.dtype)).view(...stream.shape), ...later];
}

export class VisionLanguageModel extends nn.Module {
  readonly model: Decoder;
  readonly visual: Tower;
  /** Absent when the head is tied to the embeddings. */
  readonly lm_head: { readonly weight: Tensor } | undefined;
  readonly _config: ModelConfig;
  #projections: readonly Projection[] | undefined;
  readonly #ready = new ReadyWeights(this);
  _precision: Precision = 'float32';
  /** Of what layers hand to each other, where products are in bfloat16. */
  _stream: Stream = 'float32';
  /** Image tokens by image, for a vision tower that does not change; undefined: computed whenever they are needed. */
  _features: FeatureCache | undefined;

  constructor(config: ModelConfig) {
    super();
    this._config = config;
    this.model = new Decoder(config);
    this.visual = config.family.tower(config.vision);
    this.lm_head = config.text.tiedHead
      ? undefined
      : new nn.Linear(config.text.hiddenSize, config.text.vocabularySize, {
          bias: false,
        });
  }

  get projections(): readonly Projection[] {
    return (this.#projections ??= [...projections(this).values()]);
  }
  get config(): ModelConfig {
    return this._config;
  }
  get headWeight(): Tensor {
    return this.lm_head?.weight ?? this.model.embed_tokens.weight;
  }
  /** Of attention and logits, and of what is trained; matrices that are not may be in bfloat16. */
  get dtype(): DType {
    return this.model.norm.weight.dtype;
  }
  /** Of the stream between the layers of tower and decoder. */
  get stream(): DType {
    return this._stream === 'bfloat16' ? this._stream : this.dtype;
  }
  get device(): Device {
    return this.headWeight.device;
  }

  override dispose(): void {
    this._features?.clear();
    for (const each of this.projections) each._nf4?.dispose();
    super.dispose();
  }

  /** The precision of products from now on. */
  set precision(precision: Precision) {
    this._precision = precision;
    for (const each of this.projections) each._precision = precision;
  }
  get precision(): Precision {
    return this._precision;
  }
  /** To be called after a change of weights that are not trained. */
  weightsChanged(): void {
    for (const each of this.projections) each.forgetCasts();
  }
  /** Forgets casts of trained weights: they last for one pass, or for one rollout. */
  forgetTrained(): void {
    for (const each of this.projections) if (each.weight.requiresGrad) each.forgetCasts();
  }

  /**
   * Hidden states that predict every response token, in the order of prompts, responses, tokens; the prompt carries
   * gradient. `observe` sees intermediate states (for auxiliary losses); they are freed when it is not asked for.
   * @returns [N, D] after the final norm
   */
  hidden(items: readonly PromptWithResponses[], observe?: (states: States) => void): Hidden {
    return scope(() => this.#here(() => this.#packed(items, observe ? keepingInputs : freeingInputs, { observe })));
  }

  /**
   * `hidden` for training, with its backward pass: d loss / d hidden [N, D] goes in, gradients are added to the `.grad`
   * of the parameters. To be called in the scope that also holds the backward pass.
   * @param how.recomputed activations are not kept but computed again, block by block: same gradients, less memory
   * @param how.offloaded what is kept even then, the stream before every block, waits in the memory of the host
   * @param how.watch is told of gradients as blocks complete them
   * @param how.draws are told where sequences lie
   */
  trained(items: readonly PromptWithResponses[], how: TrainedPass): Hidden & { backward(gradient: Tensor): void } {
    const { recomputed, offloaded = false, watch, draws } = how;
    if (!recomputed && !watch) {
      const result = scope(() => this.#here(() => this.#packed(items, freeingInputs, { draws })));
      return {
        ...result,
        backward: (gradient) => {
          if (result.hidden.requiresGrad) result.hidden.backward(gradient);
        },
      };
    }
    const aside = recomputed && offloaded ? 'cpu' : undefined;
    const tape = new Tape({ aside, keepsGraphs: !recomputed, watch });
    // Casts for passes without a graph would outlive the stage that is their only user.
    const run: RunStage = (stage, flow, parts) => {
      const output = tape.run(stage, flow, parts);
      for (const part of parts)
        for (const each of projections(part).values()) if (each.weight.requiresGrad) each.forgetCasts();
      return output;
    };
    const pass = this.#here(() => this.#packed(items, run, { draws }));
    return { ...pass, backward: (gradient) => this.#here(() => tape.backward(gradient)) };
  }

  /** Leaves what it makes to the scope of the caller: a tape needs it until its backward pass is done. */
  #packed(
    items: readonly PromptWithResponses[],
    run: RunStage,
    { observe, draws }: { observe?: ((states: States) => void) | undefined; draws?: Draws | undefined },
  ): Hidden {
    this.forgetTrained();
    const packed = pack(items, this._config);
    const { batch } = packed;
    draws?.lay(
      packed,
      items.map(({ prompt }) => visualGrids(prompt, this._config)),
    );
    requireVisible(packed.layout.prefix + packed.layout.tokens, this._config);
    const images = this.#encodeImages(
      items.map(({ prompt }) => prompt),
      run,
    );
    // Of the last layer only the places that predict something are asked for; observers see all.
    const shortest = Math.min(...items.map(({ prompt }) => prompt.inputIds.length));
    const from = observe || this.#reachesLast(images?.features) ? 0 : shortest - 1;
    const layout = this.#planned(packed.layout, from);
    const row = layout.prefix + layout.responses * layout.tokens;
    const rotation = textRotation(packed.positions, [batch, row], this._config, this.dtype);
    const imagePlaces = this.#indices(packed.imagePlaces);
    let flow = this.#embed(packed.ids, imagePlaces, images?.features, run, [batch, row]);
    const layers: Tensor[] = [];
    this.model.layers.forEach((layer, i) => {
      const first = i === this.model.layers.length - 1 ? from : 0;
      const body = onStream((x) => layer.packed(x, rotation, layout, first));
      flow = run((before) => takeUp(body(before), imagePlaces), flow, [layer]);
      if (observe) layers.push(flow[0]);
    });
    observe?.({ patches: images?.patches, features: images?.features[0], layers, packed });
    const places = this.#indices(packed.predictors.map((place) => place - from * (1 + Math.floor(place / row))));
    const last = (stream: Tensor): Tensor =>
      this.model.norm.forward(stream.view(batch * (row - from), -1).indexSelect(0, places));
    const [hidden] = run(onStream(last), flow, [this.model.norm]);
    return { hidden, targets: packed.targets };
  }

  /** Whether something is added after the last layer, too: that needs all of its places. */
  #reachesLast(features: Flow | undefined): boolean {
    return features !== undefined && features.length > this.model.layers.length;
  }

  /** With what attention on a GPU goes by; the last layer is asked for the places after `from` alone. */
  #planned(layout: Layout, from: number): Layout {
    if (this.device === 'cpu') return layout;
    if (hasFlashAttention(this.device, this._precision, this._config.text.headSize)) {
      const row = layout.prefix + layout.responses * layout.tokens;
      return { ...layout, sequences: new Map([row, row - from].map((asked) => [asked, sequencesIn(layout, asked)])) };
    }
    return layout.responses === 0 ? layout : { ...layout, mask: responseMask(layout, this) };
  }

  /** Log-probabilities of every response token (temperature 1, full vocabulary), with their pullback to `hidden`. */
  score(hidden: Tensor, targets: readonly number[]): ScoredTokens {
    return scoreTokens(hidden, this.headWeight, targets, this._precision);
  }

  /** Runs prompts through the decoder once and keeps their keys and values. */
  prefill(prompts: readonly Prompt[]): Prefilled {
    return scope(() => this.#here(() => this.#prefill(prompts)));
  }
  #prefill(prompts: readonly Prompt[]): Prefilled {
    this.forgetTrained();
    const items = prompts.map((prompt) => ({ prompt, responses: [] }));
    const { ids, positions, imagePlaces, layout: packed, batch, padding } = pack(items, this._config);
    requireVisible(packed.prefix, this._config);
    const lengths = prompts.map(({ inputIds }) => inputIds.length);
    const features = this.#encodeImages(prompts, freeingInputs)?.features;
    const from = this.#reachesLast(features) ? 0 : Math.min(...lengths) - 1;
    const layout = this.#planned(packed, from);
    const length = layout.prefix;
    const rotation = textRotation(positions, [batch, length], this._config, this.dtype);
    const places = this.#indices(imagePlaces);
    let flow = this.#embed(ids, places, features, freeingInputs, [batch, length]);
    const caches = this.model.layers.map((layer, i): LayerState => {
      const first = i === this.model.layers.length - 1 ? from : 0;
      const [next, cache] = scope(() => {
        const [x, ...beside] = flow;
        const [stream, state] = layer.prefill(x, rotation, layout, first);
        const own = this.#decodesShared && isKeyed(state) ? sharedKeys(state) : state;
        return [takeUp([stream, ...beside], places), own] as const;
      });
      disposeBut(next, flow);
      flow = next;
      return cache;
    });
    const ends = lengths.map((end, b) => b * (length - from) + end - 1 - from);
    return {
      caches,
      tokens: length,
      last: this.model.norm.forward(flow[0].view(batch * (length - from), -1).indexSelect(0, this.#indices(ends))),
      padding: padding && this.#inDtype(tensor(padding, { shape: [batch, 1, 1, 1, 1, length] })),
      nextPositions: prompts.map(nextPosition),
    };
  }

  /** What K responses of so many tokens to each prompt begin with, one per layer. */
  fork({ caches }: Pick<Prefilled, 'caches'>, responses: number, tokens: number): LayerState[] {
    return this.model.layers.map((layer, i) => {
      const state = caches[i]!;
      const isShared = this.#decodesShared && isKeyed(state);
      return scope(() => (isShared ? forkShared(state, responses, tokens) : layer.fork(state, responses, tokens)));
    });
  }

  /**
   * One token further: tokens [B * K] (row-major), `at` the number of tokens already in `own`, one per layer; `positions`
   * of the prompts' new tokens, [B].
   * @returns hidden states after the final norm, [B * K, D]
   */
  decode(
    tokens: ArrayLike<number>,
    positions: readonly number[],
    responses: number,
    prefix: Pick<Prefilled, 'caches' | 'tokens' | 'padding'>,
    own: readonly LayerState[],
    at: number,
  ): Tensor {
    const batch = tokens.length / responses;
    requireVisible(prefix.tokens + at + 1, this._config);
    const step = (): Tensor => {
      const rotation = this.rotationOf(positions, [batch, 1]);
      const ids = this.#indices(Array.from(tokens));
      const place = this.device === 'cpu' ? at : this.#place(tensor([at], { dtype: 'int64' }), prefix, own);
      return this.#decode(ids, rotation, responses, prefix, own, place);
    };
    return scope(() => this.#here(step));
  }

  /**
   * `decode` for a device that is given everything as tensors, of which nothing need be known here.
   * @param tokens int64 [B * K]
   * @param rotation of the prompts' new tokens, cos and sin [B, 1, 1, d]
   * @param index int64 [1]: the number of tokens already in `own`
   * @param plan as `planDecoding` makes it, where it was made before
   */
  decodeOnDevice(
    tokens: Tensor,
    rotation: Rotation,
    responses: number,
    prefix: Pick<Prefilled, 'caches' | 'tokens' | 'padding'>,
    own: readonly LayerState[],
    index: Tensor,
    plan?: SharedPlan,
  ): Tensor {
    const step = (): Tensor =>
      this.#decode(tokens, rotation, responses, prefix, own, this.#place(index, prefix, own, plan));
    return scope(() => this.#here(step));
  }

  #decode(
    tokens: Tensor,
    rotation: Rotation,
    responses: number,
    prefix: Pick<Prefilled, 'caches' | 'tokens' | 'padding'>,
    own: readonly LayerState[],
    at: number | NextPlace | SharedPlace,
  ): Tensor {
    const rows = tokens.size(0);
    const embedded = this.model.embed_tokens
      .forward(tokens)
      .to(this.stream)
      .view(rows / responses, responses, -1);
    const x = this.model.decode(embedded, rotation, prefix.caches, own, at, prefix.padding);
    return this.model.norm.forward(x.view(rows, -1));
  }

  /** What is the same for every token; undefined where nothing is. */
  planDecoding(
    { caches, padding }: Pick<Prefilled, 'caches' | 'padding'>,
    own: readonly LayerState[],
  ): SharedPlan | undefined {
    const [prefix, room] = [caches.find(isKeyed), own.find(isKeyed)];
    if (!this.#decodesShared || !prefix || !room) return undefined;
    const { heads, keyValueHeads } = this._config.text;
    return this.#here(() => planShared(padding, prefix, room, heads / keyValueHeads));
  }

  /** Whether prompts and responses are attended to by flash attention, with caches of its order. */
  get #decodesShared(): boolean {
    return hasFlashAttention(this.device, this._precision, this._config.text.headSize);
  }

  #place(
    index: Tensor,
    { tokens, caches, padding }: Pick<Prefilled, 'tokens' | 'caches' | 'padding'>,
    own: readonly LayerState[],
    plan?: SharedPlan,
  ): NextPlace | SharedPlace {
    const shared = plan ?? this.planDecoding({ caches, padding }, own);
    if (shared) return sharedPlaceAt(index, shared);
    return placeAt(index, padding, tokens, roomIn(own) ?? 0, this.dtype);
  }

  /** Of text at such positions, the same on all three axes: cos and sin [...shape, 1, d] on the model's device. */
  rotationOf(positions: readonly number[], shape: readonly number[]): Rotation {
    const rotation = (): Rotation => textRotation([positions, positions, positions], shape, this._config, this.dtype);
    return this.#here(rotation);
  }

  /** [N, V] in at least float32 of hidden states [N, D]. */
  logits(hidden: Tensor): Tensor {
    if (this.#ready.head && !isGradEnabled()) return this.#ready.head.multiply(hidden).to(this.dtype);
    if (this._precision !== 'bfloat16') return functional.linear(hidden, this.headWeight);
    return functional.linear(hidden.to('bfloat16'), this.headWeight.to('bfloat16')).to('float32');
  }

  /** Makes the decoder's weights ready for many passes of `prefill` and `decode` with so many rows, until disposed. */
  startDecoding(rows: number): Disposable {
    return this.#ready.use(rows);
  }

  /** Tokens of the prompts' images and videos in the order in which they appear, [features, D]; undefined without. */
  imageFeatures(prompts: readonly Prompt[]): Tensor | undefined {
    return scope(() => this.#here(() => this.#encodeImages(prompts, freeingInputs)?.features[0]));
  }

  #encodeImages(prompts: readonly Prompt[], run: RunStage): (Partial<Encoded> & Pick<Encoded, 'features'>) | undefined {
    const grids = prompts.flatMap((prompt) => visualGrids(prompt, this._config));
    if (grids.length === 0) return undefined;
    const cache = this._features;
    if (cache && run !== keepingInputs) {
      const encode = (pixels: readonly Float32Array[], own: readonly Grid[]): Flow =>
        this.#encode(pixels, own, freeingInputs).features;
      const pictures = prompts.flatMap((prompt) => picturesOf(prompt, this._config));
      const each = noGrad(() => rememberedFeatures(pictures, cache, this._config, encode, this.device !== 'cpu'));
      const [first] = each;
      return {
        features:
          each.length === 1 ? first! : (first!.map((_, i) => cat(each.map((own) => own[i]!))) as unknown as Flow),
      };
    }
    return this.#encode(
      prompts.flatMap(({ pixelValues }) => pixelValues ?? []),
      grids,
      run,
    );
  }

  /** @param pixels of prompts or of images, one after the other: they are joined where the model is. */
  #encode(pixels: readonly Float32Array[], grids: readonly Grid[], run: RunStage): Encoded {
    const values = pixels.map((each) => tensor(each));
    return this.visual.encode(this.#inDtype(values.length === 1 ? values[0]! : cat(values)), grids, run, this.stream);
  }

  /** The stream that enters the decoder, [B, S, D], and what travels beside the features. */
  #embed(
    ids: Int32Array,
    imagePlaces: Tensor,
    features: Flow | undefined,
    run: RunStage,
    shape: readonly [number, number],
  ): Flow {
    const { embed_tokens: table } = this.model;
    const words = this.#indices(Array.from(ids));
    const embed = (tokens: Tensor): Tensor => table.forward(tokens).to(this.stream);
    if (!features)
      return run(
        onStream((tokens) => embed(tokens).view(...shape, -1)),
        [words],
        [table],
      );
    const [count, places] = [features[0].size(0), imagePlaces.size(0)];
    if (count !== places) throw new Error(`${places} image placeholders, but ${count} image features`);
    const place = (images: Tensor): Tensor => {
      const embedded = embed(words);
      return embedded.indexCopy(0, imagePlaces, images.to(embedded.dtype)).view(...shape, -1);
    };
    return run(onStream(place), features, [table]);
  }

  /** Everything of a pass is made where the weights are. */
  #here<T>(body: () => T): T {
    return withDevice(this.device, body);
  }
  #indices(values: readonly number[]): Tensor {
    return tensor(values, { dtype: 'int64' });
  }
  #inDtype(values: Tensor): Tensor {
    return values.to(this.dtype);
  }
}
