/** From a sample to a question, with eyes that write down what they are shown. */
import { expect, test } from 'vitest';
import { makeScorer } from '../reward/reward.ts';
import { grounding } from '../tasks/grounding/grounding.ts';
import { sample, SQUARE } from '../tasks/grounding/testkit.ts';
import { NO_PROMPT } from '../testing/groups.ts';
import { ask, type Encodes } from './ask.ts';

const task = grounding.create(grounding.parameters.parse({}), []);
const scorer = makeScorer(task);

/** What was encoded, and where messages place it. */
async function shown(settings: { prompt?: string; system?: string }, extra: Record<string, unknown> = {}) {
  const seen: unknown[] = [];
  const encode: Encodes['encoder']['encode'] = (...given) => {
    seen.push(...given);
    return Promise.resolve({ ...NO_PROMPT, frames: [SQUARE], pixelValues: new Float32Array(3) });
  };
  const one = { ...sample([{ bbox_2d: [1, 2, 3, 4] }], { id: 'a', problem: 'it', images: ['/a.png'] }), extra };
  const question = await ask({ policy: { encoder: { encode } }, scorer, ...settings }, one);
  const [input, where] = seen as [{ problem: string; system?: string; images: string[] }, string];
  return { question, input, where, one };
}

test("the experiment's template wins over the sample's own, and that over the task's", async () => {
  const asked = async (...given: Parameters<typeof shown>) => (await shown(...given)).input.problem;
  expect(await asked({ prompt: 'find {Question}' }, { prompt: 'seek {Question}' })).toBe('find it');
  expect(await asked({}, { prompt: 'seek {Question}' })).toBe('seek it');
  const own = await asked({});
  expect(own).toContain('it');
  expect(own).toBe(await asked({}, { prompt: 7 }));
  expect(own).not.toBe('seek it');
});

test('images, system turn and frames go along; the label is read in them', async () => {
  const { question, input, where, one } = await shown({ system: 'be brief' });
  expect(input).toMatchObject({ system: 'be brief', images: ['/a.png'], places: true });
  expect(where).toBe(`${one.source.file}:${one.source.line} (a)`);
  expect(question).toMatchObject({ sample: one, frames: [SQUARE], truth: { objects: [{ box: [1, 2, 3, 4] }] } });
});
