import fc from 'fast-check';
import { expect, test } from 'vitest';
import { makeScorer, scoreTerms } from '../reward/reward.ts';
import { grounding } from '../tasks/grounding/grounding.ts';
import { sample, SQUARE } from '../tasks/grounding/testkit.ts';
import { NO_PROMPT } from '../testing/groups.ts';
import { randomGroup, randomOf, type RandomGroup } from '../testing/random-groups.ts';
import type { Group, Rollout } from '../types.ts';
import { makeGroup, type GroupSettings, type ScoredLabel } from './group.ts';

type Changes = { readonly [Part in keyof GroupSettings]?: Partial<GroupSettings[Part]> };

const settings = ({ label, objective }: Changes = {}): GroupSettings => ({
  label: { inject: 'always', eliminate: 'on', thinking: 'eliminate', smooth: 'reward', weight: 1, ...label },
  objective: { std: 'sample', baseline: 'mean', truncated: 'keep', ...objective },
});
const make = ({ question, scorer, rollouts, label }: RandomGroup, changes: Changes = {}): Group =>
  makeGroup(question, scorer, rollouts, label, settings(changes));

const seeds = fc.integer({ min: 0, max: 0x7fffffff });

test('smoothed by reward, A_y is never negative, whatever the rollouts said and the reward is', () => {
  const [tally, any] = [{ active: 0, off: 0, negativeByAccuracy: 0 }, fc.constantFrom('on', 'off', 'neutral')];
  fc.assert(
    fc.property(seeds, any, fc.constantFrom('sample', 'population', 'none'), (seed, eliminate, std) => {
      const random = randomGroup(randomOf(seed));
      const changes = { label: { eliminate }, objective: { std } } as const;
      const { label, rollouts } = make(random, changes);
      const { active, reachedBy, advantage, reward } = label!;
      const own = Object.entries(label!.terms).reduce(
        (sum, [name, mark]) => sum + random.scorer.weights[name]! * mark,
        0,
      );
      const reaching = rollouts.flatMap((each, place) => (each.reward > own - 1e-9 ? [place] : []));
      expect(reachedBy).toEqual(reaching);
      expect(active).toBe(reaching.length === 0);
      if (active) {
        expect(reward).toBe(own);
        expect(advantage).toBeGreaterThan(0);
      } else {
        expect(Object.is(advantage, 0)).toBe(true);
      }
      tally[active ? 'active' : 'off']++;
      const byAccuracy = make(random, { ...changes, label: { eliminate, smooth: 'accuracy' } }).label!;
      if (byAccuracy.advantage < 0) tally.negativeByAccuracy++;
    }),
    { numRuns: 3000, seed: 7 },
  );
  // The groups are of all kinds, and those are among them that comparing accuracy alone gets wrong.
  expect(Math.min(...Object.values(tally))).toBeGreaterThan(50);
});

test('three objects, and eight rollouts that think and miss a point: the label is not pushed down', () => {
  const task = grounding.create(grounding.parameters.parse({ points: true }), []);
  const scorer = makeScorer(task);
  const objects = [0, 200, 400].map((x) => ({ box: [x, x, x + 100, x + 100], point: [x + 50, x + 50] }) as const);
  const subject = { sample: sample([]), truth: { objects }, frames: [SQUARE] };
  const score = (text: string) => {
    const response: Rollout = { text, stop: 'eos', tokens: [1], logProbs: [-1] };
    return { response, terms: scoreTerms(scorer, response, subject) };
  };
  const nearly = objects.with(2, { ...objects[2]!, point: [410, 410] });
  const [form] = task.forms;
  const label: ScoredLabel = { place: 'member', form: form!.name, ...score(form!.write({ objects }, [SQUARE])) };
  const rollouts = Array.from({ length: 8 }, () =>
    score(`<think> a</think>${form!.write({ objects: nearly }, [SQUARE])}`),
  );
  const group = (smooth: 'reward' | 'accuracy') =>
    makeGroup({ sample: subject.sample, prompt: NO_PROMPT }, scorer, rollouts, label, settings({ label: { smooth } }));
  expect(group('accuracy').label).toMatchObject({ reward: 5, active: true });
  expect(group('accuracy').rollouts[0]!.reward).toBeCloseTo(5 + 1 / 6, 12);
  expect(group('accuracy').label!.advantage).toBeCloseTo(-8 / 3, 4);
  expect(group('reward').label).toMatchObject({ advantage: 0, active: false, reachedBy: [0, 1, 2, 3, 4, 5, 6, 7] });
});

const failing = (): RandomGroup => {
  for (let seed = 0; ; seed++) {
    const random = randomGroup(randomOf(seed), 'default');
    if (make(random).label!.active && random.rollouts.length > 2) return random;
  }
};

test('the weight of the label multiplies its advantage, and nothing else', () => {
  const [plain, light] = [1, 0.2].map((weight) => make(failing(), { label: { weight } }));
  expect(plain!.label!.advantage).toBeGreaterThan(0);
  expect(light!.label).toEqual({ ...plain!.label, weight: 0.2, advantage: 0.2 * plain!.label!.advantage });
  expect(light!.rollouts).toEqual(plain!.rollouts);
});

test('a rollout that was cut off is masked where asked for, and counts for its group all the same', () => {
  const random = failing();
  const cut = { ...random.rollouts[0]!.response, stop: 'length' as const };
  const rollouts = random.rollouts.with(0, { ...random.rollouts[0]!, response: cut });
  const [kept, masked] = (['keep', 'mask'] as const).map((truncated) =>
    make({ ...random, rollouts }, { objective: { truncated } }),
  );
  const isCut = rollouts.map(({ response }) => response.stop === 'length');
  expect(kept!.rollouts.map((each) => each.masked)).toEqual(isCut.map(() => false));
  expect(masked!.rollouts.map((each) => each.masked)).toEqual(isCut);
  expect(masked!.rollouts.map(({ advantage }) => advantage)).toEqual(kept!.rollouts.map(({ advantage }) => advantage));
  expect(masked!.label).toEqual(kept!.label);
});

test('a target leaves its group as it is, and a label that is not needed stays aside', () => {
  const random = failing();
  const alone = makeGroup(random.question, random.scorer, random.rollouts, undefined, settings());
  expect(alone.label).toBeUndefined();
  const target = make({ ...random, label: { ...random.label, place: 'target' } }, { label: { weight: 3 } });
  expect(target.label).toMatchObject({ place: 'target', active: true, advantage: 0, weight: 1, reachedBy: [] });
  expect(target.label!.reward).toBe(target.label!.rewardBefore);
  expect(target.rollouts).toEqual(alone.rollouts);
  const right = { ...random.rollouts[0]!, terms: random.label.terms };
  const done = { ...random, rollouts: [right, ...random.rollouts] };
  const aside = make(done, { label: { inject: 'on-failure', smooth: 'off' } });
  expect(aside.label).toMatchObject({ place: 'aside', active: false, advantage: 0 });
  expect(aside.label!.reachedBy).toContain(0);
  expect(aside.rollouts).toEqual(makeGroup(done.question, done.scorer, done.rollouts, undefined, settings()).rollouts);
  const unscored = makeGroup(
    random.question,
    random.scorer,
    [],
    { ...random.label, place: 'target', terms: {} },
    settings(),
  );
  expect(unscored.label).toMatchObject({ terms: {}, reward: 0, advantage: 0, active: true });
});

test('a label that no reward could judge is no member, and is imitated all the same; all that were skipped are counted', () => {
  const random = failing();
  const unjudged = { ...random.label, terms: undefined };
  const rollouts = random.rollouts.with(0, { ...random.rollouts[0]!, terms: undefined });
  const without = make({ ...random, rollouts, label: unjudged });
  expect(without.label).toBeUndefined();
  expect(without.skipped).toBe(2);
  expect(without.rollouts).toHaveLength(random.rollouts.length - 1);
  const alone = makeGroup(random.question, random.scorer, rollouts, undefined, settings());
  expect(without.rollouts).toEqual(alone.rollouts);
  expect(alone.skipped).toBe(1);
  const target = make({ ...random, label: { ...unjudged, place: 'target' } });
  expect(target.label).toMatchObject({ place: 'target', reward: 0, terms: {}, active: true });
  expect(target.skipped).toBe(1);
  expect(make(random).skipped).toBe(0);
});

test('the reward of a target is the weighted sum of its terms', () => {
  const random = failing();
  const { label } = make({ ...random, label: { ...random.label, place: 'target' } });
  const { terms = {} } = random.label;
  const reward = Object.entries(terms).reduce((sum, [name, mark]) => sum + random.scorer.weights[name]! * mark, 0);
  expect(reward).toBeGreaterThan(0);
  expect(label!.reward).toBeCloseTo(reward, 12);
});
