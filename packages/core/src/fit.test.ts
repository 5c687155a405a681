import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { expect, test } from 'vitest';

import { parseConfig } from './config/load.ts';
import { requireFit } from './fit.ts';
import { planData } from './plan.ts';
import { locateModel } from './policy.ts';
import { loadData } from './question/training.ts';
import { fixtures, tinyModel } from './testing/oracle.ts';

test('the processes of a machine need its memory together, those of others theirs', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'visurf-fit-'));
  try {
    const image = path.join(fixtures, 'images/small-40x40.png');
    writeFileSync(path.join(folder, 'train.jsonl'), JSON.stringify({ id: 's', image, problem: 'it', solution: [] }));
    const config = parseConfig({
      ...{ model: tinyModel, output: path.join(folder, 'run'), steps: 1, promptsPerStep: 8 },
      data: { train: path.join(folder, 'train.jsonl'), allowOutside: true },
      optimizer: { learningRate: 1e-4 },
    });
    const [data, located] = [await loadData(config), await locateModel(tinyModel)];
    const warned: string[] = [];
    const fit = (size: number, here: number): Promise<void> =>
      requireFit(config, data, located, { world: { size, here }, onWarning: (each) => warned.push(each) });
    await fit(1, 1);
    await fit(1e6, 1);
    await expect(fit(1e6, 1e6)).rejects.toThrow(
      /each of the 1000000 processes here needs [\d.]+ GB of memory, and [\d.]+ GB are available for each/,
    );
    expect(warned).toEqual([]);

    // Moments and gradients are shared out, prompts too; activations of a micro-batch are not.
    const of = async (size: number) => {
      const { memory, time, available } = await planData(config, data, located, {
        gflops: 1,
        processes: size,
        memory: 64e9,
      });
      const { bytes = 0 } = memory.parts.find(({ part }) => part === 'optimiser') ?? {};
      return { bytes, available, ...time };
    };
    const [one, four] = [await of(1), await of(4)];
    expect(four.bytes).toBe(one.bytes / 4);
    expect([one.available, four.available]).toEqual([64e9, 16e9]);
    expect([one.communication, four.communication > 0]).toEqual([0, true]);
    // A rate that is given is the machine's, which they share.
    expect(four.update).toBeCloseTo(one.update, 1);
    expect(four.step).toBeCloseTo(four.generation + four.update + four.communication, 9);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
