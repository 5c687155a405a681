/** The surface forms that the base speaks, for steps that sample nothing and write labels all the same. */
import { DataCursor } from './data/cursor.ts';
import { paced } from './data/paced.ts';
import { Numbers } from './data/texts.ts';
import { alone, share } from './distributed/processes.ts';
import { countForms, mergeCounts, type FormHistory } from './label/align.ts';
import { scorerOf } from './reward/reward.ts';
import { labelsAlone } from './schedule/paradigm.ts';
import { ask } from './question/ask.ts';
import type { StepContext } from './step.ts';
import type { Samples } from './types.ts';

/** Prompts of each task that the base is asked, and answers to each. */
const [PROMPTS, ANSWERS] = [8, 2];

/**
 * Counts of a few samples of the policy before its first step, keyed by the seed; none where every label stands beside
 * rollouts of its own, or where `label.align` asks for no counts.
 */
export async function formsOfBase(
  { config, policy, scorer, processes = alone }: Pick<StepContext, 'config' | 'policy' | 'scorer' | 'processes'>,
  samples: Samples,
  signal?: AbortSignal,
): Promise<FormHistory> {
  const { align } = config.label;
  if (!labelsAlone(config) || align === 'off' || align === 'likelihood') return [];
  const places = new Map<string, Numbers>();
  await paced(
    samples,
    ({ task }, place) => {
      const own = places.get(task) ?? new Numbers();
      places.set(task, own);
      own.push(place);
    },
    { signal },
  );
  const chosen = [...places.values()].flatMap(({ size, values }) =>
    new DataCursor(size, config.seed).next(Math.min(PROMPTS, size)).map((i) => values[i]!),
  );
  const asking = { ...config.data, policy, scorer };
  const { prompts: atOnce } = config.train.microBatch;
  const own = share(processes, chosen);
  const counts = [];
  for (let start = 0; start < own.length; start += atOnce) {
    const promptIds = own.slice(start, start + atOnce);
    const prompts = await Promise.all(promptIds.map(async (place) => (await ask(asking, samples.at(place)!)).prompt));
    // Step 0 keys the noise: those of training count from 1.
    const sampling = { ...config.rollout, group: ANSWERS, seed: config.seed, step: 0, promptIds };
    const answers = await policy.sample(prompts, sampling);
    counts.push(
      ...answers.map((group, i) =>
        countForms(
          scorerOf(scorer, samples.at(promptIds[i]!)!).task,
          group.map(({ text }) => text),
        ),
      ),
    );
  }
  return [mergeCounts(await processes.gather(mergeCounts(counts)))];
}
