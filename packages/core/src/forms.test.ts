/** Forms of the base, asked of a policy that is made up. */
import { expect, test } from 'vitest';
import { parseConfig } from './config/load.ts';
import { formsOfBase } from './forms.ts';
import type { Policy } from './policy.ts';
import { SQUARE, sample } from './tasks/grounding/testkit.ts';
import { Experiment } from './question/experiment.ts';
import { NO_PROMPT } from './testing/groups.ts';

const samples = [
  ...Array.from({ length: 40 }, (_, i) => sample([{ bbox_2d: [1, 2, 30, 40] }], { id: `g${i}` })),
  ...Array.from({ length: 5 }, (_, i) => sample('yes', { id: `a${i}`, task: 'anomaly' })),
];
const scorer = Experiment.open().decide(samples).scorer;

interface Asked {
  readonly promptIds: readonly number[];
  readonly group: number;
  readonly step: number;
  readonly seed: number;
}

async function asked(changes: Record<string, unknown>) {
  const config = parseConfig({ model: 'm', output: 'o', steps: 9, data: { train: 't' }, ...changes });
  const calls: Asked[] = [];
  const policy = {
    encoder: { encode: () => Promise.resolve({ ...NO_PROMPT, frames: [SQUARE] }) },
    sample: (_: unknown, options: Asked) => {
      calls.push(options);
      const said = (place: number): string =>
        place < 40 ? '<answer>[{"bbox_2d":[1,2,3,4]}]</answer>' : '<answer>Yes</answer>';
      return Promise.resolve(
        options.promptIds.map((place) => Array.from({ length: options.group }, () => ({ text: said(place) }))),
      );
    },
  } as unknown as Policy;
  return { forms: await formsOfBase({ config, policy, scorer }, samples), calls };
}

test('steps without rollouts write labels in the form of a few samples of the base', async () => {
  const { forms, calls } = await asked({ paradigm: 'sft', seed: 3 });
  expect(forms).toEqual([{ 'grounding/compact integer bare': 16, 'anomaly/capital bare': 10 }]);
  expect(new Set(calls.map(({ step, seed }) => [step, seed].join()))).toEqual(new Set(['0,3']));
  const places = calls.flatMap(({ promptIds }) => promptIds);
  expect(new Set(places).size).toBe(13);
  expect(await asked({ paradigm: 'sft', seed: 3 })).toEqual({ forms, calls });
  const other = (await asked({ paradigm: 'sft', seed: 4 })).calls.flatMap(({ promptIds }) => promptIds);
  expect(other).not.toEqual(places);
});

test.each(['dft', 'sft-then-rlvr', 'interleaved', 'progressive', 'data-mixing'])(
  '%s asks the base',
  async (paradigm) => {
    const { calls } = await asked({ paradigm, ...(paradigm === 'sft-then-rlvr' && { sftSteps: 2 }) });
    expect(calls.length).toBeGreaterThan(0);
  },
);

test('where rollouts stand beside every label, or no form is asked for, nothing is sampled', async () => {
  for (const changes of [
    ...['visurf', 'rlvr', 's-grpo', 'chord'].map((paradigm) => ({ paradigm })),
    ...['off', 'likelihood'].map((align) => ({ paradigm: 'sft', label: { align } })),
  ]) {
    expect(await asked(changes)).toEqual({ forms: [], calls: [] });
  }
});
