/**
 * Gated DeltaNet: attention that remembers its past as one state per head (arXiv 2412.06464). Field names are the
 * checkpoint's keys.
 *
 * Legend: N rows of T tokens; B prompts of at most L tokens, K responses of T tokens each; Hk key heads of dk channels, Hv
 * value heads of dv; C = 2 Hk dk + Hv dv channels of q, k and v, which pass a convolution over W tokens.
 */
import { callOp, cat, functional, nn, tensor, zeros, type Tensor } from '@visurf/torch';

import type { Layout } from '../../model/attention.ts';
import { forkRecurrence, type Recurrence } from '../../model/layer-state.ts';
import { Projection, projectTogether } from '../../model/projection.ts';
import type { RecurrentConfig } from '../../model/recurrent-config.ts';
import type { TextConfig } from '../../model/text-config.ts';

/** Inside the root of a length, as in the reference. */
const lengthEps = 1e-6;

/** Weights of a convolution of every channel for itself, [C, 1, W]. */
class Taps extends nn.Module {
  readonly weight: Tensor;
  constructor(channels: number, taps: number) {
    super();
    this.weight = nn.parameter([channels, 1, taps]);
  }
}

export class GatedDeltaNet extends nn.Module {
  readonly in_proj_qkv: Projection;
  readonly in_proj_z: Projection;
  readonly in_proj_b: Projection;
  readonly in_proj_a: Projection;
  readonly conv1d: Taps;
  /** [Hv] */
  readonly A_log: Tensor;
  readonly dt_bias: Tensor;
  /** Of every head by itself, before the gate. */
  readonly norm: nn.RMSNorm;
  readonly out_proj: Projection;
  readonly _shape: RecurrentConfig;

  constructor({ hiddenSize, rmsNormEps }: TextConfig, shape: RecurrentConfig) {
    super();
    const { keyHeads, valueHeads, keySize, valueSize, taps } = shape;
    const [channels, values] = [2 * keyHeads * keySize + valueHeads * valueSize, valueHeads * valueSize];
    const plain = { bias: false };
    this._shape = shape;
    this.in_proj_qkv = new Projection(hiddenSize, channels, plain);
    this.in_proj_z = new Projection(hiddenSize, values, plain);
    this.in_proj_b = new Projection(hiddenSize, valueHeads, plain);
    this.in_proj_a = new Projection(hiddenSize, valueHeads, plain);
    this.conv1d = new Taps(channels, taps);
    this.A_log = nn.parameter([valueHeads]);
    this.dt_bias = nn.parameter([valueHeads]);
    this.norm = new nn.RMSNorm(valueSize, rmsNormEps);
    this.out_proj = new Projection(values, hiddenSize, plain);
  }

  get projections(): readonly Projection[] {
    return [this.in_proj_qkv, this.in_proj_z, this.in_proj_b, this.in_proj_a, this.out_proj];
  }

  /** Prompts alone: x [B, L, D] to [B, L - from, D]; also gives the state behind the last token of each. */
  prefill(x: Tensor, { lengths }: Layout, from: number): [Tensor, Recurrence] {
    const { mixed, z, g, beta } = this.#project(x);
    const valid = validPlaces(lengths, g);
    const masked = { g: onlyAt(g, valid), beta: onlyAt(beta, valid) };
    const [out, state] = this.#remember(mixed, masked, undefined, lengths);
    return [this.#finish(out, z, from), { tail: state.tail.contiguous(), sums: state.sums.contiguous() }];
  }

  /**
   * Prompts and their responses in packed rows, x [B, L + K T, D] to [B, L + K T - from, D]: the state behind a prompt is
   * that in front of each of its responses, and its gradient the sum of theirs.
   */
  packed(x: Tensor, layout: Layout, from: number): Tensor {
    const { lengths, prefix, responses, tokens } = layout;
    if (responses === 0) return this.prefill(x, layout, from)[0];
    const { mixed, z, g, beta } = this.#project(x);
    const [batch, rows] = [x.size(0), x.size(0) * responses];
    const ofPrompts = (each: Tensor): Tensor => each.narrow(1, 0, prefix);
    const ofResponses = (each: Tensor): Tensor =>
      each.narrow(1, prefix, responses * tokens).reshape(rows, tokens, each.size(2));
    const valid = validPlaces(lengths, g);
    const masked = { g: onlyAt(ofPrompts(g), valid), beta: onlyAt(ofPrompts(beta), valid) };
    const [first, state] = this.#remember(ofPrompts(mixed), masked, undefined, lengths);
    const forked = { tail: state.tail.repeatInterleave(responses, 0), sums: state.sums.repeatInterleave(responses, 0) };
    const [own] = this.#remember(ofResponses(mixed), { g: ofResponses(g), beta: ofResponses(beta) }, forked, undefined);
    const out = cat([first, own.reshape(batch, responses * tokens, ...own.shape.slice(2))], 1);
    return this.#finish(out, z, from);
  }

  /** One new token of each of K responses per prompt: x [B, K, D]; moves their state on. */
  decode(x: Tensor, state: Recurrence): Tensor {
    const [batch, responses] = [x.size(0), x.size(1)];
    const rows = batch * responses;
    const [tail, sums] = [flatRows(state.tail), flatRows(state.sums)];
    const { mixed, z, g, beta } = this.#project(x.reshape(rows, 1, -1));
    if (x.device === 'cpu') {
      const row = (each: Tensor): Tensor => each.reshape(rows, -1).contiguous();
      const weights = { taps: this.#taps(), norm: this.norm.weight, eps: this.norm.eps };
      const token = { mixed: row(mixed), g: row(g), beta: row(beta), gate: row(z) };
      return this.out_proj.forward(functional.deltaToken(token, weights, { tail, sums }).view(batch, responses, -1));
    }
    const window = cat([tail, mixed], 1);
    tail.copy_(window.narrow(1, 1, tail.size(1)));
    const out = deltaStep({ ...this.#heads(this.#convolve(window, 1)), g, beta }, sums);
    return this.#finish(out, z, 0).view(batch, responses, -1);
  }

  fork(state: Recurrence, responses: number): Recurrence {
    return forkRecurrence(state, responses);
  }

  /** q, k and v before the convolution [N, T, C], the gate z, and decay and rate of writing, [N, T, Hv]. */
  #project(x: Tensor): { mixed: Tensor; z: Tensor; g: Tensor; beta: Tensor } {
    const { dtype } = this.A_log;
    const all = [this.in_proj_qkv, this.in_proj_z, this.in_proj_b, this.in_proj_a];
    const [mixed, z, b, a] = projectTogether(all, x).map((each) => each.to(dtype)) as [Tensor, Tensor, Tensor, Tensor];
    const step = callOp('softplus', a.add(this.dt_bias)) as Tensor;
    return { mixed, z, g: step.mul(this.A_log.exp()).neg(), beta: b.sigmoid() };
  }

  /** Rows [N, T, C] behind `before`: what is read, [N, T, Hv, dv], and the state behind token `lengths` of each row. */
  #remember(
    mixed: Tensor,
    { g, beta }: Pick<functional.DeltaInput, 'g' | 'beta'>,
    before: Recurrence | undefined,
    lengths: readonly number[] | undefined,
  ): [Tensor, Recurrence] {
    const [rows, tokens, channels] = mixed.shape as [number, number, number];
    const reach = this._shape.taps - 1;
    const earlier = before?.tail ?? zeros([rows, reach, channels], { dtype: mixed.dtype });
    const window = cat([earlier, mixed], 1);
    const input = { ...this.#heads(this.#convolve(window, tokens)), g, beta };
    const [out, sums] = functional.deltaRule(input, before?.sums);
    return [out, { tail: tailOf(window, lengths, reach), sums }];
  }

  /** Weights of the convolution, [W, C]. */
  #taps(): Tensor {
    return this.conv1d.weight.squeeze(1).t().contiguous();
  }

  /** silu(sum_j w_j x_(t + j)) of a window [N, T + W - 1, C], channel by channel. */
  #convolve(window: Tensor, tokens: number): Tensor {
    const taps = this.conv1d.weight.squeeze(1).unbind(1);
    const [first, ...others] = taps.map((tap, j) => [window.narrow(1, j, tokens), tap] as const);
    return others.reduce((sum, [x, tap]) => sum.addcmul(x, tap), first![0].mul(first![1])).silu();
  }

  /** q and k [N, T, Hk, dk], of length 1 and 1 / sqrt(dk), and v [N, T, Hv, dv] of [N, T, C]. */
  #heads(mixed: Tensor): Pick<functional.DeltaInput, 'q' | 'k' | 'v'> {
    const { keyHeads, valueHeads, keySize, valueSize } = this._shape;
    const [rows, tokens] = [mixed.size(0), mixed.size(1)];
    const widths = [keyHeads * keySize, keyHeads * keySize, valueHeads * valueSize];
    const [q, k, v] = mixed.split(widths, -1) as [Tensor, Tensor, Tensor];
    const unit = (each: Tensor): Tensor => {
      const heads = each.reshape(rows, tokens, keyHeads, keySize);
      return heads.mul(heads.square().sum(-1, true).add(lengthEps).rsqrt());
    };
    return { q: unit(q).mul(keySize ** -0.5), k: unit(k), v: v.reshape(rows, tokens, valueHeads, valueSize) };
  }

  /** From what heads read, [N, T, Hv, dv], to the stream: the gate comes after the norm. */
  #finish(out: Tensor, z: Tensor, from: number): Tensor {
    const asked = (each: Tensor): Tensor => each.narrow(1, from, each.size(1) - from);
    const normed = this.norm.forward(asked(out));
    const gate = asked(z).reshape(...normed.shape);
    const gated = functional.swiglu(gate.contiguous(), normed);
    return this.out_proj.forward(gated.view(gated.size(0), gated.size(1), -1));
  }
}

/**
 * The rule for one token, of libtorch's operators: moves the state [N, Hv, dk, dv] on in place.
 * @returns o [N, 1, Hv, dv]
 */
function deltaStep({ q, k, v, g, beta }: functional.DeltaInput, state: Tensor): Tensor {
  const [rows, heads, dk, dv] = state.shape as [number, number, number, number];
  const keyHeads = k.size(2);
  /** [N Hv, dk, 1] */
  const perValue = (x: Tensor): Tensor =>
    x
      .reshape(rows, keyHeads, 1, dk)
      .expand(rows, keyHeads, heads / keyHeads, dk)
      .reshape(rows * heads, dk, 1);
  const key = perValue(k);
  const sums = state.view(rows * heads, dk, dv);
  sums.mul_(g.reshape(-1, 1, 1).exp());
  const error = v.reshape(rows * heads, 1, dv).baddbmm(key.transpose(1, 2), sums, 1, -1);
  callOp('baddbmm_', sums, key, error.mul(beta.reshape(-1, 1, 1)));
  return perValue(q).transpose(1, 2).bmm(sums).view(rows, 1, heads, dv);
}

/** [B, L, 1], 1 at places of a prompt and 0 at its padding; undefined where nothing is padded. */
function validPlaces(lengths: readonly number[], { dtype }: Tensor): Tensor | undefined {
  const most = Math.max(...lengths);
  if (lengths.every((length) => length === most)) return undefined;
  const values = lengths.flatMap((length) => Array.from({ length: most }, (_, i) => Number(i < length)));
  return tensor(values, { shape: [lengths.length, most, 1] }).to(dtype);
}

/** [R, ..] of a state of responses, [B, 1, K, ..]: the same memory. */
const flatRows = (x: Tensor): Tensor => x.view(x.size(0) * x.size(2), ...x.shape.slice(3));

/** Padding neither decays the state nor writes into it. */
const onlyAt = (x: Tensor, valid: Tensor | undefined): Tensor => (valid ? x.mul(valid) : x);

/** The last `reach` rows before the end of every row of a window [N, reach + T, C] that has so many tokens. */
function tailOf(window: Tensor, lengths: readonly number[] | undefined, reach: number): Tensor {
  const [rows, places, channels] = window.shape as [number, number, number];
  if (!lengths || lengths.every((length) => length === places - reach)) {
    return window.narrow(1, places - reach, reach);
  }
  const chosen = lengths.flatMap((length, n) => Array.from({ length: reach }, (_, i) => n * places + length + i));
  const index = tensor(chosen, { dtype: 'int64' });
  return window
    .reshape(rows * places, channels)
    .indexSelect(0, index)
    .view(rows, reach, channels);
}
