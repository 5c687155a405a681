/** 200 updates of a small attention model: handles end where they began, memory stays where a warm-up left it. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

import { arange, functional, live, manualSeed, nn, optim, rand, scope, type Tensor } from './index.ts';

const [batch, length, width, heads, vocabulary] = [8, 16, 32, 4, 50];

class Block extends nn.Module {
  readonly norm = new nn.RMSNorm(width, 1e-6);
  readonly qkv = new nn.Linear(width, 3 * width);
  readonly up = new nn.Linear(width, 4 * width);
  readonly down = new nn.Linear(4 * width, width);

  forward(x: Tensor): Tensor {
    const split = this.qkv.forward(this.norm.forward(x)).view(batch, length, 3, heads, width / heads);
    const [q, k, v] = split.permute(2, 0, 3, 1, 4).unbind() as [Tensor, Tensor, Tensor];
    const mixed = functional.scaledDotProductAttention(q, k, v, { causal: true });
    const y = x.add(mixed.transpose(1, 2).reshape(batch, length, width));
    return y.add(this.down.forward(this.up.forward(y).silu()));
  }
}

class Model extends nn.Module {
  readonly embed = new nn.Embedding(vocabulary, width);
  readonly blocks = [new Block(), new Block()];
  readonly head = new nn.Linear(width, vocabulary);

  /** The mean of -log p(token t + 1 | tokens to t). */
  loss(tokens: Tensor): Tensor {
    const hidden = this.blocks.reduce((x, block) => block.forward(x), this.embed.forward(tokens));
    const logProbs = this.head
      .forward(hidden)
      .narrow(1, 0, length - 1)
      .logSoftmax(-1);
    return logProbs
      .gather(2, tokens.narrow(1, 1, length - 1).unsqueeze(2))
      .mean()
      .neg();
  }
}

/** Resident bytes of this process. */
function resident(): number {
  const pages = Number(readFileSync('/proc/self/statm', 'utf8').split(' ')[1]);
  return pages * 4096;
}

test('200 training steps leave no handle and no memory behind, and learn', () => {
  manualSeed(0);
  const model = new Model();
  const optimizer = new optim.AdamW(model.namedParameters(), { learningRate: 3e-3 });
  /** Sequences that count upwards from a random start. */
  const step = (): number =>
    scope(() => {
      const starts = rand([batch, 1]).mul(10).to('int64');
      const loss = model.loss(starts.add(arange(0, length)));
      loss.backward();
      optim.clipGradNorm(model.parameters(), 1);
      optimizer.step();
      optimizer.zeroGrad();
      return loss.item();
    });

  const first = step();
  for (let i = 0; i < 300; i++) step();
  const before = { handles: live().handles, bytes: live().bytes, resident: resident() };
  for (let i = 0; i < 199; i++) step();
  const last = step();

  expect(live()).toMatchObject({ handles: before.handles, bytes: before.bytes });
  expect(resident()).toBeLessThan(before.resident * 1.05);
  expect(first).toBeGreaterThan(3);
  expect(last).toBeLessThan(0.2);

  optimizer.dispose();
  model.dispose();
});
