/** What docs/extending.md says how to add, added as it says. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { checkData, loadConfig, train } from 'visurf';
import { root } from './sources.ts';

const fixtures = join(root, 'oracle/fixtures');
const image = join(fixtures, 'images/small-40x40.png');

interface Response {
  readonly text: string;
  readonly terms: Readonly<Record<string, number>>;
}

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'visurf-extending-'));
  process.env.XDG_STATE_HOME = folder;
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const write = (name: string, lines: readonly object[]): string => {
  writeFileSync(join(folder, name), lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  return join(folder, name);
};

/** One step of ViSurf with plugins; the groups that it made. */
async function trained(task: string, plugins: readonly string[], solution: unknown) {
  const data = write('train.jsonl', [{ image, problem: 'circles', solution }]);
  const config = join(folder, 'config.yaml');
  writeFileSync(
    config,
    JSON.stringify({
      model: join(fixtures, 'tiny-qwen2_5-vl/model'),
      output: 'run',
      steps: 1,
      promptsPerStep: 1,
      plugins: plugins.map((name) => join(root, 'tests/plugins', name)),
      data: { train: data, task, prompt: 'find {Question}' },
      rollout: { group: 2, maxNewTokens: 6 },
    }),
  );
  const { run, metrics } = await train(loadConfig(config));
  const [line = ''] = readFileSync(join(run, 'groups/000001.jsonl'), 'utf8').split('\n');
  return { metrics, ...(JSON.parse(line) as { label: Response; rollouts: Response[] }) };
}

test('a reward is one file: a term beside those of the task, for rollouts and label', async () => {
  const { label, rollouts } = await trained('grounding', ['brief.ts'], []);
  for (const { text, terms } of [label, ...rollouts]) {
    expect(terms['brief']).toBeCloseTo(Math.max(0, 1 - text.length / 400), 12);
  }
});

test('a task is one file: it asks, reads, writes and rewards', async () => {
  const { label, rollouts } = await trained('count', ['count.ts'], 3);
  expect(label.text).toBe('<answer>3</answer>');
  expect(label.terms).toMatchObject({ format: 1, accuracy: 1 });
  for (const { terms } of rollouts) expect(terms).toMatchObject({ format: 0, accuracy: 0 });
  const bad = write('bad.jsonl', [{ image, problem: 'circles', solution: 'many' }]);
  await expect(checkData(bad, { task: 'count' })).rejects.toThrow('bad.jsonl:1 (line-1): the solution is no number');
});
