/** From a sample to a question, with eyes that write down what they are shown. */
import { expect, test } from 'vitest';
import { UserError } from '../errors.ts';
import { makeScorer } from '../reward/reward.ts';
import { grounding } from '../tasks/grounding/grounding.ts';
import { sample, SQUARE } from '../tasks/grounding/testkit.ts';
import { NO_PROMPT } from '../testing/groups.ts';
import { ask, askAll, type Encodes, type Question } from './ask.ts';

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

test('what cannot be asked comes in one list, and bugs at once', async () => {
  const { question } = await shown({});
  const samples = Array.from({ length: 25 }, (_, i) => sample([], { id: `s${i}` }));
  const seen: number[][] = [];
  const all = await askAll(
    samples,
    () => Promise.resolve(question),
    (...given) => seen.push(given),
  );
  expect(all).toHaveLength(25);
  expect(all[0]).toEqual<Question>({ ...question, prompt: { ...question.prompt, pixelValues: undefined } });
  expect(seen.at(-1)).toEqual([25, 25]);
  const refuse = ({ id }: { id: string }) =>
    id === 's3' || id === 's4' ? Promise.reject(new UserError(`${id} is unusable`)) : Promise.resolve(question);
  await expect(askAll(samples, refuse)).rejects.toThrow(/s3 is unusable[^]*s4 is unusable/);
  await expect(askAll(samples, () => Promise.reject(new Error('a bug')))).rejects.toThrow('a bug');
});
