/** The gated delta rule at the widths of Qwen3.5-2B: whole rows in chunks, and one token further, against libtorch's operators. */
import { callOp, cat, functional, grad, noGrad, stack, zeros, type Tensor } from '../packages/torch/src/index.ts';
import type { Case, Timed } from './kernels.ts';

const [heads, size, taps] = [16, 128, 4];
/** Tokens of a chunk. */
const chunk = 64;

interface Tools {
  readonly random: (...shape: number[]) => Tensor;
  readonly sum: (elements: number) => Timed;
  readonly product: (batch: number, rows: number, inner: number, columns: number) => Timed;
}

const unit = (x: Tensor): Tensor => x.mul(x.square().sum(-1, true).add(1e-6).rsqrt());

/** One token, whose q, k, v are [R H, 1, d] and g, beta [R H, 1, 1]: what is read, and the state behind it. */
function step([q, k, v, g, beta]: readonly Tensor[], state: Tensor): [Tensor, Tensor] {
  const decayed = state.mul(g!.exp());
  const error = v!.sub(k!.bmm(decayed)).mul(beta!);
  const after = decayed.add(k!.transpose(1, 2).bmm(error));
  return [q!.bmm(after), after];
}

function wholeRows({ random, product }: Tools, rows: number, tokens: number): Case[] {
  const [q, k] = [unit(random(rows, tokens, heads, size)).mul(size ** -0.5), unit(random(rows, tokens, heads, size))];
  const v = random(rows, tokens, heads, size);
  const [g, beta] = [random(rows, tokens, heads).abs().neg(), random(rows, tokens, heads).sigmoid()];
  const inputs = [q, k, v, g, beta].map((each) => each.detach().requiresGrad_());
  const chain = (): Tensor => {
    const flat = inputs.map((each) => each.transpose(1, 2).reshape(rows * heads, tokens, -1));
    let state = zeros([rows * heads, size, size]);
    const read: Tensor[] = [];
    for (let t = 0; t < tokens; t++) {
      const [out, after] = step(
        flat.map((each) => each.narrow(1, t, 1)),
        state,
      );
      read.push(out);
      state = after;
    }
    return stack(read, 1).view(rows, heads, tokens, size).transpose(1, 2);
  };
  const [a, b, c, d, e] = inputs as [Tensor, Tensor, Tensor, Tensor, Tensor];
  const own = (): Tensor => functional.deltaRule({ q: a, k: b, v: c, g: d, beta: e })[0];
  const [y, z] = [own(), chain()];
  const direction = random(...y.shape);
  const gradients = (of: Tensor) => () => grad([of], inputs, { gradOutputs: [direction], retainGraph: true });
  // Of the chunk form: three products with the state and five within the chunk, per token and head.
  const work = (2 * rows * tokens * heads * (3 * size * size + 5 * chunk * size)) / 1e9;
  const common = {
    shape: `2B: ${rows} x ${tokens} x ${heads} x ${size}`,
    yardstick: product(rows * heads, chunk, size, size),
  };
  return [
    { ...common, name: 'delta_rule', work, body: () => noGrad(own), chain: () => noGrad(chain) },
    // Computes the chunks again.
    { ...common, name: 'delta_rule backward', work: 3 * work, body: gradients(y), chain: gradients(z) },
  ];
}

function oneToken({ random, sum }: Tools, rows: number): Case {
  const width = 3 * heads * size;
  const [mixed, gate, weights, norm] = [
    random(rows, width),
    random(rows, heads * size),
    random(taps, width),
    random(size),
  ];
  const [g, beta] = [random(rows, heads).abs().neg(), random(rows, heads).sigmoid()];
  const state = () => ({ tail: random(rows, taps - 1, width), sums: random(rows, heads, size, size) });
  const [ours, theirs] = [state(), state()];
  const chain = (): Tensor => {
    const window = cat([theirs.tail, mixed.unsqueeze(1)], 1);
    theirs.tail.copy_(window.narrow(1, 1, taps - 1));
    const parts = window
      .mul(weights)
      .sum(1)
      .silu()
      .view(3 * rows * heads, size);
    const [q, k, v] = parts
      .view(rows, 3, heads, size)
      .unbind(1)
      .map((each) => each.reshape(rows * heads, 1, size)) as [Tensor, Tensor, Tensor];
    const sums = theirs.sums.view(rows * heads, size, size);
    const key = unit(k).transpose(1, 2);
    sums.mul_(g.view(-1, 1, 1).exp());
    const error = v.baddbmm(key.transpose(1, 2), sums, 1, -1);
    callOp('baddbmm_', sums, key, error.mul(beta.view(-1, 1, 1)));
    const read = unit(q)
      .mul(size ** -0.5)
      .bmm(sums)
      .view(rows, heads, size);
    return functional
      .rmsNorm(read, norm, 1e-6)
      .mul(gate.view(rows, heads, size).silu())
      .view(rows, -1);
  };
  return {
    name: 'delta_token',
    shape: `2B: ${rows} x ${heads} x ${size} x ${size}`,
    // The state is read and written once.
    work: (2 * 4 * rows * heads * size * size) / 1e9,
    body: () => functional.deltaToken({ mixed, g, beta, gate }, { taps: weights, norm, eps: 1e-6 }, ours),
    chain,
    yardstick: sum(rows * heads * size * size),
  };
}

/** A prompt of 128 tokens, whose states the chain keeps all for its gradient, and a step of 32 responses. */
export const deltaCases = (tools: Tools): Case[] => [...wholeRows(tools, 1, 128), oneToken(tools, 32)];
