/**
 * Rollouts: G responses per prompt. Each prompt is prefilled once and its keys and values are shared by its group;
 * finished rows leave the batch.
 */
import { setImmediate } from 'node:timers/promises';

import { droppable, keep, noGrad, scope, tensor, withDevice, type Tensor } from '@visurf/torch';

import { keepState, mapState, tensorsOf, type LayerState } from '../model/layer-state.ts';
import { requireVisible } from '../model/pack.ts';
import { unpackForDecoding } from '../model/unpacked.ts';
import type { Prefilled, VisionLanguageModel } from '../model/vlm.ts';
import type { Prompt, StopReason } from '../types.ts';
import { uniform, type NoiseKey } from '../philox.ts';
import { RecordedDecoding } from './recorded.ts';
import { sampleTokens, type Chosen, type Sampling } from './sampler.ts';
import { chooseInTurn, type ChosenInTurn, type Turn } from './turns.ts';

export interface RespondOptions extends Sampling {
  readonly group: number;
  readonly maxNewTokens: number;
  readonly stopIds: readonly number[];
  /** Never sampled: vision and padding tokens. */
  readonly forbiddenIds: readonly number[];
  readonly seed: number;
  readonly step: number;
  /** A number per prompt that keys its noise: its place in the dataset (`NoiseIds`) or in the step. */
  readonly promptIds: readonly number[];
  /** Sees every token of the first rollout as it is chosen. */
  readonly onToken?: (token: number) => void;
  /** One per prompt, where each is answered in a way of its own: in place of what is said here of all. */
  readonly turns?: readonly Turn[];
  /** Hears, as often as the event loop turns, how many responses have ended, of how many. */
  readonly onEnded?: ((ended: number, all: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What a caller chooses; the stop and forbidden tokens are the checkpoint's. */
export type SamplingOptions = Omit<RespondOptions, 'stopIds' | 'forbiddenIds'>;

/** Tokens (the stop token included), their log-probabilities, why it ended. */
export interface Drawn {
  readonly tokens: number[];
  readonly logProbs: number[];
  stop: StopReason;
}

/** One row of the decoding: a rollout, and whether it still grows. */
interface Row {
  readonly prompt: number;
  readonly noise: NoiseKey;
  readonly result: Drawn;
  readonly seen: Set<number>;
  done: boolean;
}

/** Tokens between two looks at what a device chose: rows that have ended meanwhile grow in vain. */
const readEvery = 16;
/** Tokens between two turns of the event loop. */
const yieldEvery = 8;
/** Rows are packed anew when fewer than this share of them still grow. */
const compactBelow = 0.75;

/** What is being decoded: B prompts with K rows each, their caches, and the tokens chosen last. */
class Decoding {
  readonly rows: Row[];
  readonly responses: number;
  readonly prefill: Prefilled;
  readonly own: readonly LayerState[];

  constructor(rows: Row[], responses: number, prefill: Prefilled, own: readonly LayerState[]) {
    this.rows = rows;
    this.responses = responses;
    this.prefill = prefill;
    this.own = own;
  }

  /** Tokens of a prompt, with padding. */
  get prefix(): number {
    return this.prefill.tokens;
  }
  get active(): number {
    return this.rows.filter(({ done }) => !done).length;
  }

  /** Keeps prompts that still grow, with as many rows each as the prompt with most of them needs. */
  compact(): Decoding {
    return withDevice(this.prefill.last.device, () => this.#compact());
  }
  #compact(): Decoding {
    const byPrompt = Array.from({ length: this.rows.length / this.responses }, (_, b) =>
      Array.from({ length: this.responses }, (_, k) => b * this.responses + k).filter((at) => !this.rows[at]?.done),
    );
    const prompts = byPrompt.flatMap((alive, b) => (alive.length > 0 ? [b] : []));
    const responses = Math.max(...byPrompt.map((alive) => alive.length));
    // A prompt with fewer rows than `responses` carries finished ones along.
    const places = prompts.flatMap((b) => {
      const alive = byPrompt[b] ?? [];
      const finished = Array.from({ length: this.responses }, (_, k) => b * this.responses + k).filter(
        (at) => !alive.includes(at),
      );
      return [...alive, ...finished].slice(0, responses);
    });
    const rows = places.flatMap((at) => this.rows[at] ?? []);
    const next = scope(() => {
      const keptPrompts = tensor(prompts, { dtype: 'int64' });
      const choosePrompts = (x: Tensor): Tensor => keep(x.indexSelect(0, keptPrompts));
      const within = places.map((at) => at % this.responses);
      const chooseRows = (x: Tensor): Tensor => {
        const [, heads, , ...cache] = x.shape as [number, number, number, ...number[]];
        const index = prompts.flatMap((b, i) =>
          Array.from({ length: heads }, (_, h) =>
            within.slice(i * responses, (i + 1) * responses).map((k) => (b * heads + h) * this.responses + k),
          ).flat(),
        );
        const flat = x.view(-1, ...cache).indexSelect(0, tensor(index, { dtype: 'int64' }));
        return keep(flat.view(prompts.length, heads, responses, ...cache));
      };
      const { caches, tokens, last, padding, nextPositions } = this.prefill;
      const prefill: Prefilled = {
        caches: caches.map((each) => mapState(each, choosePrompts)),
        tokens,
        last: choosePrompts(last),
        padding: padding && (padding.size(0) === 1 ? keep(padding.detach()) : choosePrompts(padding)),
        nextPositions: prompts.map((b) => nextPositions[b] ?? 0),
      };
      return new Decoding(
        rows,
        responses,
        prefill,
        this.own.map((each) => mapState(each, chooseRows)),
      );
    });
    this.dispose();
    return next;
  }

  dispose(): void {
    for (const state of [...this.prefill.caches, ...this.own]) for (const each of tensorsOf(state)) each.dispose();
    this.prefill.last.dispose();
    this.prefill.padding?.dispose();
  }
}

function start(model: VisionLanguageModel, prompts: readonly Prompt[], options: RespondOptions): Decoding {
  const { group, maxNewTokens, seed, step, promptIds, turns } = options;
  const rows = prompts.flatMap(({ inputIds }, b) =>
    Array.from({ length: group }, (_, member): Row => {
      const noise = { seed: turns?.[b]?.seed ?? seed, step, prompt: promptIds[b] ?? b, member };
      return {
        prompt: b,
        noise,
        result: { tokens: [], logProbs: [], stop: 'length' },
        seen: new Set(inputIds),
        done: false,
      };
    }),
  );
  return scope(() =>
    noGrad(() => {
      const prefill = model.prefill(prompts);
      const own = model.fork(prefill, group, maxNewTokens).map(keepState);
      prefill.caches.forEach(keepState);
      keep(prefill.last);
      if (prefill.padding) keep(prefill.padding);
      return new Decoding(rows, group, prefill, own);
    }),
  );
}

const noiseAt = (rows: readonly Row[], at: number, { temperature }: Sampling): number[] =>
  temperature === 0 ? [] : rows.map((row) => uniform(row.noise, at));

/** Notes the tokens that were chosen for all rows, and what ended. @returns the tokens, [B * K] */
function take(
  { rows }: Decoding,
  { tokens, logProbs, others = [] }: Chosen & Partial<ChosenInTurn>,
  options: RespondOptions,
): readonly number[] {
  rows.forEach((row, i) => {
    if (row.done) return;
    const token = tokens[i] ?? 0;
    row.result.tokens.push(token);
    row.result.logProbs.push(logProbs[i] ?? NaN);
    const turn = options.turns?.[row.prompt];
    if ((turn?.sampling ?? options).repetitionPenalty !== 1) row.seen.add(token);
    if (row.prompt === 0 && row.noise.member === 0) options.onToken?.(token);
    if (options.stopIds.includes(token)) [row.done, row.result.stop] = [true, 'eos'];
    if (!turn) return;
    const told = { token, logProb: logProbs[i] ?? NaN, others: others[i] ?? [] };
    const isEnough = turn.onToken(row.noise.member, told) || row.result.tokens.length >= turn.maxNewTokens;
    row.done ||= isEnough;
  });
  return tokens;
}

/** Chooses the token at place `at` of every row: one from its hidden state, [B * K, D]. */
function choose(
  model: VisionLanguageModel,
  hidden: Tensor,
  { rows }: Decoding,
  at: number,
  options: RespondOptions,
  forbidden: Tensor,
): Chosen {
  const { turns } = options;
  if (turns) {
    const own = rows.map(({ prompt, noise, seen, done }) => {
      const turn = turns[prompt]!;
      return { turn, member: noise.member, noise: uniform(noise, at), seen, done };
    });
    return chooseInTurn(model.logits(hidden), own, forbidden);
  }
  const seen = rows.map((row) => row.seen);
  return sampleTokens(model.logits(hidden), options, noiseAt(rows, at, options), forbidden, seen);
}

/** How tokens come, until it is disposed: `advance` chooses tokens for all rows, the next at place `at`. */
interface Course extends Disposable {
  /** At most so many tokens at once. @returns those of one place after the other */
  advance(at: number, most: number): Chosen[];
}

/** One token at a time, from those that were chosen last. */
function decodeStepwise(
  model: VisionLanguageModel,
  decoding: Decoding,
  _at: number,
  tokens: readonly number[],
  options: RespondOptions,
  forbidden: Tensor,
): Course {
  const { prefill, own, responses } = decoding;
  let last = tokens;
  const once = (at: number): Chosen => {
    const positions = prefill.nextPositions.map((next) => next + at - 1);
    return choose(
      model,
      model.decode(last, positions, responses, prefill, own, at - 1),
      decoding,
      at,
      options,
      forbidden,
    );
  };
  const advance = (at: number): Chosen[] => {
    const chosen = scope(() => noGrad(() => once(at)));
    last = chosen.tokens;
    return [chosen];
  };
  return { advance, [Symbol.dispose]: () => undefined };
}

/** Many tokens between two looks at what was chosen: with `onToken`, whoever watches sees each at once. */
function decodeRecorded(
  model: VisionLanguageModel,
  decoding: Decoding,
  at: number,
  tokens: readonly number[],
  options: RespondOptions,
  forbidden: Tensor,
): Course {
  const { rows } = decoding;
  const noise = Array.from({ length: options.maxNewTokens - at }, (_, i) =>
    options.temperature === 0 ? rows.map(() => 0) : noiseAt(rows, at + i, options),
  );
  const seen = rows.map((row) => row.seen);
  const recorded = new RecordedDecoding(model, decoding, at, tokens, noise, options, forbidden, seen);
  // Where a reach ends no row may be asked for a token that it does not need.
  const together = options.onToken || model.config.text.reach !== undefined ? 1 : readEvery;
  return {
    advance: (from, most) => {
      const count = Math.min(together, most);
      requireVisible(decoding.prefix + from + count - 1, model.config);
      return recorded.advance(count);
    },
    [Symbol.dispose]: () => recorded[Symbol.dispose](),
  };
}

/**
 * Samples `group` responses for every prompt.
 * @returns [B][G]
 * @throws the signal's reason when it is aborted.
 */
export async function respond(
  model: VisionLanguageModel,
  prompts: readonly Prompt[],
  options: RespondOptions,
): Promise<Drawn[][]> {
  const { group, maxNewTokens, forbiddenIds, signal } = options;
  using forbidden = forbid(forbiddenIds, model);
  using _decoding = model.startDecoding(prompts.length * group);
  // Turns are decided on the host, token by token.
  const begin = model.device === 'cpu' || options.turns ? decodeStepwise : decodeRecorded;
  let decoding = await droppable(signal, () => start(model, prompts, options));
  unpackForDecoding(model, [...decoding.prefill.caches, ...decoding.own]);
  const all = decoding.rows;
  let course: Course | undefined;
  try {
    const first = (): Chosen =>
      choose(model, decoding.prefill.last.repeatInterleave(group, 0), decoding, 0, options, forbidden);
    let tokens: readonly number[] = take(
      decoding,
      scope(() => noGrad(first)),
      options,
    );
    for (let at = 1; at < maxNewTokens && decoding.active > 0;) {
      if (decoding.active < compactBelow * decoding.rows.length) {
        const byRow = new Map(decoding.rows.map((row, i) => [row, tokens[i] ?? 0]));
        course?.[Symbol.dispose]();
        course = undefined;
        decoding = noGrad(() => decoding.compact());
        tokens = decoding.rows.map((row) => byRow.get(row) ?? 0);
      }
      course ??= begin(model, decoding, at, tokens, options, forbidden);
      const from: number = at;
      const going = course;
      for (const chosen of await droppable(signal, () => going.advance(from, maxNewTokens - from))) {
        tokens = take(decoding, chosen, options);
        at++;
        // Whoever watches an answer may want to stop it at any token.
        if (options.onToken || options.turns || at % yieldEvery === 0) {
          options.onEnded?.(all.filter(({ done }) => done).length, all.length);
          await setImmediate();
          signal?.throwIfAborted();
        }
      }
    }
  } finally {
    course?.[Symbol.dispose]();
    decoding.dispose();
  }
  return prompts.map((_, b) => all.slice(b * group, (b + 1) * group).map(({ result }) => result));
}

/** [V]: -Infinity at tokens that must not be sampled. */
function forbid(ids: readonly number[], model: VisionLanguageModel): Tensor {
  const values = new Float32Array(model.config.text.vocabularySize);
  for (const id of ids) values[id] = -Infinity;
  return scope(() => tensor(values, { device: model.device }).to(model.dtype));
}
