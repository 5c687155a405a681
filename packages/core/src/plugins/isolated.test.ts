import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { makeScorer, scoreGroups, skip, type RewardFunction } from '../reward/reward.ts';
import type { RewardLimits } from '../reward/limits.ts';
import { defineReward } from '../reward/reward.ts';
import { grounding } from '../tasks/grounding/grounding.ts';
import { sample } from '../tasks/grounding/testkit.ts';
import { isolated } from './isolated.ts';
import { loadPlugin } from './plugins.ts';

const root = mkdtempSync(path.join(tmpdir(), 'visurf-isolated-'));
afterAll(() => rmSync(root, { recursive: true }));

/** Ways in which a reward goes wrong, by what the message says. */
const WAYS = {
  loop: ['for (;;);', 'takes more than 1 s'],
  hang: ['return new Promise(() => {});', 'takes more than 1 s'],
  later: ['await null; for (;;);', 'takes more than 1 s'],
  throw: ["throw new Error('no file');", 'no file'],
  reject: ["return Promise.reject(new Error('no server'));", 'no server'],
  exit: ['process.exit(3);', 'end'],
  nan: ['return NaN;', 'is NaN, not a finite number'],
  text: ["return '1';", 'is 1, not a finite number'],
  list: ['return [1];', 'not a finite number'],
  nothing: ['return undefined;', 'is undefined'],
  memory: ['const all = []; for (;;) all.push(new Array(1e6).fill(all.length));', 'end'],
} as const;
type Way = keyof typeof WAYS;

/** Those that only a process of its own survives. */
const FATAL: readonly string[] = ['later', 'memory'];

/** As a plugin names it. */
const LIBRARY = 'visurf';
const file = path.join(root, 'bad.ts');
const bodies = Object.entries(WAYS).map(
  ([way, [body]]) =>
    `export const ${way}_ = defineReward({ name: '${way}', weight: 1, score: async ({ text }) => { if (text !== 'bad') return 0.5; ${body} } });\n` +
    `export const sync_${way} = defineReward({ name: 'sync-${way}', weight: 1, score: ({ text }) => { if (text !== 'bad') return 0.5; ${body.replace('await null;', '')} } });`,
);
const extra = `export const group = defineReward({ name: 'group', weight: 1, scoreGroup: (all) => all.map(({ text }) => (text === 'bad' ? skip : 2)) });
export const seen = defineReward({ name: 'seen', weight: 1, score: ({ parsed, isLabel }, { id }, { truth, frames }) => parsed.boxes.length + (isLabel ? 10 : 0) + 100 * frames.length + 1000 * id.length + (truth === undefined ? NaN : 0) });`;
writeFileSync(file, `import { defineReward, skip } from '${LIBRARY}';\n${bodies.join('\n')}\n${extra}\n`);

const subject = { sample: sample([{ bbox_2d: [1, 2, 3, 4] }]), truth: [], frames: [] };
const task = grounding.create(grounding.parameters.parse({}), [subject.sample]);

async function judge(rewards: readonly RewardFunction[], limits: Partial<RewardLimits> = {}, texts = ['good', 'bad']) {
  const all = { seconds: 1, retries: 0, onFailure: 'stop', ...limits } as const;
  const answers = texts.map((text) => ({ text, stop: 'eos' }) as const);
  const [terms] = await scoreGroups([{ scorer: makeScorer(task, rewards, 'always', all), subject, answers }]);
  return terms!;
}

const plugin = loadPlugin(file);
const inside = new Map(
  isolated([plugin], { processes: 2, seconds: 1, megabytes: 64 }).map((each) => [each.name, each]),
);
const here = new Map(plugin.rewards.map((each) => [each.name, each]));

const cases = (Object.keys(WAYS) as Way[]).flatMap((way) => [
  ['in a process of its own', way, way] as const,
  ...(FATAL.includes(way) ? [] : [way, `sync-${way}`].map((name) => ['in this one', name, way] as const)),
]);

test.each(cases)(
  '%s: %s is named with the sample, or skipped, and never 0',
  { timeout: 120_000 },
  async (place, name, way) => {
    const reward = (place === 'in this one' ? here : inside).get(name)!;
    const said = `${subject.sample.source.file}:${subject.sample.source.line} (${subject.sample.id}): the reward`;
    const failure = await judge([reward]).catch((error: unknown) => error as Error);
    expect(failure).toMatchObject({ name: 'UserError' });
    expect((failure as Error).message).toContain(said);
    expect((failure as Error).message).toContain(name);
    expect((failure as Error).message).toContain(WAYS[way][1]);
    const warnings: string[] = [];
    const [good, bad] = await judge([reward], { onFailure: 'skip', onWarning: (message) => warnings.push(message) });
    expect([good?.[name], bad]).toEqual([0.5, undefined]);
    expect(warnings).toEqual([expect.stringContaining(said)]);
  },
);

test('rewards in processes see and say what they do here', { timeout: 60_000 }, async () => {
  for (const name of ['seen', 'group']) {
    const [there, own] = [await judge([inside.get(name)!]), await judge([here.get(name)!])];
    expect(there).toEqual(own);
  }
  expect((await judge([inside.get('group')!]))[1]).toBeUndefined();
});

test('a reward that fails now and then is asked again', async () => {
  let calls = 0;
  const flaky = defineReward({ name: 'flaky', weight: 1, score: () => (++calls % 3 === 0 ? 1 : NaN) });
  expect(await judge([flaky], { retries: 2 }, ['a'])).toEqual([expect.objectContaining({ flaky: 1 })]);
  await expect(judge([flaky], { retries: 1 }, ['a'])).rejects.toThrow('is NaN');
});

test('marks whose sum is beyond what can be compared are an error, too', async () => {
  const huge = defineReward({ name: 'huge', weight: 100, score: () => 1e99 });
  await expect(judge([huge])).rejects.toThrow('the reward term "total" is 1e+101');
  expect(skip).toBe(Symbol.for('visurf.skip'));
});
