import { expect, test } from 'vitest';
import { parse } from 'yaml';

import { advise, dominant } from './advice.ts';
import { shareOf } from './cards.ts';
import { planMemory } from './memory.ts';
import { subjectOf } from '../testing/plan.ts';

const long = { prompts: 8, microBatch: 4, promptTokens: 500, responses: 9, group: 8, responseTokens: 100 };

test('what lowers the peak comes first, with the peak that it leads to', () => {
  const subject = subjectOf({ workload: long });
  const { peak } = planMemory(subject, 0);
  const advice = advise(subject, 0);
  expect(advice.map(({ change }) => change)).toContain('train.checkpointActivations=true');
  expect(advice.map((each) => each.peak)).toEqual(advice.map((each) => each.peak).sort((a, b) => a - b));
  for (const each of advice) expect(each.peak).toBeLessThan(0.98 * peak);

  const changed = subjectOf({ workload: { ...long, microBatch: 1 } });
  expect(advice).toContainEqual({ change: 'train.microBatch.prompts=1', peak: planMemory(changed, 0).peak });
  const again = subjectOf({ workload: long, config: { train: { checkpointActivations: true } } });
  expect(advice).toContainEqual({ change: 'train.checkpointActivations=true', peak: planMemory(again, 0).peak });
});

/** What such a change makes of a configuration. */
function changed(config: object, change: string): object {
  const result = structuredClone(config) as Record<string, unknown>;
  for (const each of change.split(' ')) {
    const [path, value] = each.split('=') as [string, string];
    const keys = path.split('.');
    let at = result;
    for (const key of keys.slice(0, -1)) at = (at[key] ??= {}) as Record<string, unknown>;
    at[keys.at(-1)!] = parse(value);
  }
  return result;
}

const modes: Readonly<Record<string, object>> = {
  float32: {},
  float64: { precision: 'float64' },
  bfloat16: { precision: 'bfloat16', train: { freezeVision: true } },
  '8 bits': { optimizer: { states: '8bit' } },
  adapters: { precision: 'bfloat16', train: { lora: { rank: 4, vision: true } } },
  penalised: { objective: { kl: { coefficient: 0.1 } }, train: { checkpointActivations: true } },
};
const everywhere = Object.keys(modes).flatMap((mode) => ['cpu', 'cuda'].map((device) => [mode, device] as const));

test.each(everywhere)('%s on %s: every change that is advised is a configuration, with that peak', (mode, device) => {
  const config = { ...modes[mode], device };
  for (const item of [2, 4]) {
    const subject = subjectOf({ workload: long, config, item });
    const advice = advise(subject, 0);
    expect(advice.length).toBeGreaterThan(1);
    for (const { change, peak } of advice) {
      const own = changed(config, change) as { promptsPerStep?: number; train?: { microBatch?: { prompts: number } } };
      const prompts = own.promptsPerStep ?? long.prompts;
      const microBatch = own.train?.microBatch?.prompts ?? long.microBatch;
      const then = subjectOf({ workload: { ...long, prompts, microBatch }, config: own, item });
      expect([change, planMemory(then, 0).peak]).toEqual([change, expect.closeTo(peak, -4)]);
    }
  }
});

test('what a configuration has already, or what would not help, is not advised', () => {
  const config = { train: { checkpointActivations: true, lora: { rank: 4 } } };
  const advice = advise(subjectOf({ config, workload: { ...long, microBatch: 1 } }), 0);
  const changes = advice.map(({ change }) => change.split('=')[0]);
  for (const name of ['checkpointActivations', 'lora.rank', 'freezeVision', 'microBatch.prompts']) {
    expect(changes).not.toContain(`train.${name}`);
  }
  expect(advise(subjectOf(), 1e12)).toEqual([]);
});

test('adapters may lie on a base in four bits, and the peak is that of such a run', () => {
  const of = (lora: object) => subjectOf({ workload: { ...long, promptTokens: 2 }, config: { train: { lora } } });
  // Of a model whose decoder is most of it.
  const large = (lora: object) => {
    const subject = of(lora);
    return { ...subject, sizes: { ...subject.sizes, weights: subject.sizes.weights + 1e9 } };
  };
  const advice = advise({ ...large({ rank: 4 }), sizes: { ...large({ rank: 4 }).sizes, packable: 25e7 } }, 0);
  expect(advice[0]?.change).toBe('train.lora.quantize=nf4');
  const changes = advise(large({ rank: 4, quantize: 'nf4' }), 0).map(({ change }) => change);
  expect(changes.join()).not.toContain('quantize');
});

test('a card may keep its stream in bfloat16 where its products are', () => {
  const workload = { ...long, promptTokens: 50_000 };
  const config = { device: 'cuda', precision: 'bfloat16' };
  const half = subjectOf({ workload, config: { ...config, stream: 'bfloat16' } });
  const advice = advise(subjectOf({ workload, config }), 0);
  expect(advice).toContainEqual({ change: 'stream=bfloat16', peak: planMemory(half, 0).peak });
  const others = [half, subjectOf({ workload, config: { device: 'cuda' } }), subjectOf({ workload })];
  for (const each of others) expect(advise(each, 0).map(({ change }) => change)).not.toContain('stream=bfloat16');
});

test('the part that takes most is named, beside the program itself', () => {
  expect(dominant(planMemory(subjectOf({ workload: long }), 1e9))).toBe('activations of the decoder');
  expect(dominant(planMemory(subjectOf(), 1e9))).toBe('optimiser');
});

test('more cards are advised where they share something, and only to who plans for cards', () => {
  const subject = subjectOf({ workload: long, config: { device: 'cuda' } });
  const { peak } = planMemory(shareOf(subject, 4), 0);
  expect(advise(subject, 0, 2, '--cards 4')).toContainEqual({ change: '--cards 4', peak });
  expect(advise(subject, 0, 2).map(({ change }) => change).join()).not.toContain('--'); // prettier-ignore
});
