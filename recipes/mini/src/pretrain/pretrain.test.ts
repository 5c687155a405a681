import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { loadLocalPolicy } from '@visurf/core/internals';
import { live } from '@visurf/torch';
import { afterAll, expect, test } from 'vitest';

import { isBaseName, planOf, PLANS, type PretrainPlan } from './plan.ts';
import { pretrain } from './pretrain.ts';

const folder = mkdtempSync(join(tmpdir(), 'mini-pretrain-'));
afterAll(() => rmSync(folder, { recursive: true }));

const tiny = (plan: PretrainPlan): PretrainPlan => ({
  ...plan,
  warmupSteps: 1,
  stages: [
    { name: 'see', updates: 8, images: 8, learningRate: 1e-3 },
    { name: 'read', updates: 3, images: 6, learningRate: 1e-3 },
  ],
});

test.each(Object.keys(PLANS).filter(isBaseName))(
  '%s: losses fall, and the checkpoint is one that the library loads',
  async (name) => {
    const directory = join(folder, name);
    const reports: Readonly<Record<string, number>>[] = [];
    const seconds = await pretrain(directory, tiny(planOf(name)), { onUpdate: ({ report }) => reports.push(report) });
    expect(seconds).toBeGreaterThan(0);
    expect(reports).toHaveLength(11);
    const totals = reports.map((report) => Object.values(report).reduce((a, b) => a + b, 0));
    expect(Math.max(...totals.slice(6, 8))).toBeLessThan(Math.min(...totals.slice(0, 2)));
    expect(reports.flatMap((report) => Object.values(report)).every(Number.isFinite)).toBe(true);
    expect(Object.keys(reports[10] ?? {})).toContain('parts' in planOf(name).rooms ? 'parts:defect' : 'figures:refer');

    const { handles } = live();
    using policy = loadLocalPolicy(directory);
    expect(live().handles).toBeGreaterThan(handles);
    const config = JSON.parse(readFileSync(join(directory, 'config.json'), 'utf8')) as { model_type: string };
    expect(config.model_type).toBe(planOf(name).family);
    // Coordinates are one token each: pixels, or the thousandths that pixels fall on.
    const number = planOf(name).family === 'qwen2_5_vl' ? '57' : '509';
    const text = `<answer>[{"point_2d":[${number},${number}]}]</answer>`;
    const ids = policy.encoder.encodeText(text);
    expect(ids).toHaveLength(9);
    expect(policy.encoder.decode(ids)).toBe(text);
  },
);
