/** Paradigms compared from the command line, on a few samples of a tiny random model. */
import { existsSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { expect, test } from 'vitest';
import { expectRefusal, signalAt, tinyModel, visurf, visurfJson } from './cli.ts';
import { linesOf, makeFolder } from './training.ts';

const sample = (id: string, solution: unknown, set: string) => ({ id, image: 'a.png', problem: id, solution, set });

const config =
  `model: ${tinyModel}\noutput: run\nsteps: 2\npromptsPerStep: 2\n` +
  'data: { train: train.jsonl, validation: test.jsonl }\neval: { every: 1 }\n' +
  'rollout: { group: 2, maxNewTokens: 4 }\nlabel: { smooth: true }\nsft: { weighting: uniform }\ncheckpoint: { keep: 1 }\n';

const comparison =
  'config: config.yaml\noutput: out\nseeds: [0, 1]\ndata: { test: test.jsonl, skills: skills.jsonl }\n' +
  'runs:\n  sft: {}\n  visurf: {}\n  visurf without smooth: { paradigm: visurf, label.smooth: false }\n' +
  'merged: { both: { of: [sft, visurf], method: slerp } }\n';

const makeComparison = (text = comparison.replaceAll(' without ', '-without-')) =>
  makeFolder({
    config,
    lines: [sample('circle', [{ bbox_2d: [1, 2, 30, 31] }], 'all'), sample('square', [], 'all')],
    prepare: (folder) => {
      const [far, near] = [sample('star', [{ bbox_2d: [5, 5, 20, 20] }], 'far'), sample('ring', [], 'near')];
      writeFileSync(join(folder, 'test.jsonl'), linesOf([far, near, { ...near, id: 'dot' }]));
      writeFileSync(join(folder, 'skills.jsonl'), linesOf([far]));
      writeFileSync(join(folder, 'comparison.yaml'), text);
    },
  });

interface Table {
  readonly policies: readonly string[];
  readonly columns: readonly string[];
  readonly values: Record<
    string,
    Record<string, { mean: number; low: number; high: number }> & { seconds?: number; updates?: number }
  >;
  readonly differences: Record<string, Record<string, { mean: number; p: number; corrected: number }>>;
  readonly sampled: Record<string, { passAtK: Record<string, number[][]>; byDifficulty: object[] }>;
  readonly files: readonly string[];
  readonly figures: readonly string[];
}

test('runs times seeds are trained, answer, and are set against the reference; what is done is not done again', async () => {
  const folder = await makeComparison();
  const file = join(folder, 'comparison.yaml');
  expect(await visurfJson('compare', file, '--dry-run')).toMatchObject({ policies: 9, done: 0 });
  expect(existsSync(join(folder, 'out'))).toBe(false);

  const table = await visurfJson<Table>('compare', file);
  expect(table.policies).toEqual(['baseline', 'sft', 'visurf', 'visurf-without-smooth', 'both']);
  expect(table.columns).toEqual(['test.far.gIoU', 'test.near.gIoU', 'skills.gIoU', 'average']);
  expect(table.values['baseline']!['average']).toEqual({ mean: 0, low: 0, high: 0 });
  expect(table.values['sft']!.seconds).toBeGreaterThan(0);
  expect(table.differences['sft']!['average']).toMatchObject({ mean: 0, p: 1, corrected: 1 });
  expect(table.files.map((each) => readFileSync(each, 'utf8').includes('visurf-without-smooth'))).toEqual([true, true]);
  const figures = table.figures.map((each) => basename(each, '.svg'));
  expect(figures).toEqual(expect.arrayContaining(['validation-updates', 'validation-time', 'entropy', 'held-out']));
  for (const name of figures) {
    expect(readFileSync(table.files[0]!, 'utf8')).toContain(`](figures/${name}.svg)`);
    expect(readFileSync(join(folder, `out/figures/${name}.svg`), 'utf8')).toContain('visurf-without-smooth');
  }

  const results = join(folder, 'out/results');
  expect(readdirSync(results).sort()).toEqual([
    'baseline-seed-0.json',
    ...['both-seed-0.json', 'both-seed-1.json'],
    ...['sft-seed-0.json', 'sft-seed-1.json', 'visurf-seed-0.json', 'visurf-seed-1.json'],
    ...['visurf-without-smooth-seed-0.json', 'visurf-without-smooth-seed-1.json'],
  ]);
  // One result is lost, and so are all runs but its own.
  const times = (): number[] => readdirSync(results).map((name) => statSync(join(results, name)).mtimeMs);
  rmSync(join(results, 'sft-seed-1.json'));
  rmSync(join(folder, 'out/figures'), { recursive: true });
  for (const run of ['visurf', 'visurf-without-smooth']) rmSync(join(folder, 'out/runs', run), { recursive: true });
  const before = times();
  const again = await visurf('compare', file);
  expect(again.code).toBe(0);
  expect(again.stderr).toMatch(/9 policies, 8 of them done/);
  expect(again.stderr).not.toContain('training ');
  expect(again.stdout).toContain('visurf against');
  expect(times().filter((time) => !before.includes(time))).toHaveLength(1);
  expect(await visurfJson<Table>('compare', file)).toMatchObject({ differences: table.differences });
  expect(table.figures.filter((each) => !existsSync(each))).toEqual([]);

  expectRefusal(await visurf('compare', file, 'steps=1', '--json'), 'seed-0.json: this is the result of another');
}, 200_000);

test('runs have as many updates as make them train as long as the reference, and keep them', async () => {
  const text =
    'config: config.yaml\noutput: out\nequal: time\ndata: { test: test.jsonl }\n' +
    'runs: { sft: {}, sft-then-rlvr: { sftSteps: 1 }, visurf: {} }\n';
  const folder = await makeComparison(text);
  const file = join(folder, 'comparison.yaml');
  const { updates } = await visurfJson<{ updates: Record<string, number> }>('compare', file, '--dry-run');
  expect(Object.keys(updates)).toEqual(['sft', 'sft-then-rlvr', 'visurf']);
  expect(existsSync(join(folder, 'out'))).toBe(false);

  // What was measured is kept: here, of a machine on which SFT takes very long.
  expect((await signalAt('sft-then-rlvr: how long', 'SIGINT', ['compare', file])).code).toBe(130);
  const pace = join(folder, 'out/results/pace.json');
  const known = JSON.parse(readFileSync(pace, 'utf8')) as Record<string, { hash: string; seconds: number }>;
  expect(Object.keys(known)).toEqual(['sft']);
  writeFileSync(pace, JSON.stringify({ sft: { ...known['sft']!, seconds: 1e6 } }));
  const measured = await visurf('compare', file);
  expect(measured.code).toBe(0);
  expect(JSON.parse(readFileSync(pace, 'utf8'))).toMatchObject({ sft: { seconds: 1e6 }, visurf: {} });
  expect(existsSync(join(folder, 'out/pilots/visurf'))).toBe(false);
  const table = await visurfJson<Table>('compare', file);
  expect(table.values['sft']!.updates).toBe(1);
  expect(table.values['visurf']!.updates).toBe(2);
  expect(measured.stdout).toMatch(/^policy .*updates +seconds of training$/m);
}, 200_000);

test('Ctrl-C keeps what is finished, and the command goes on with it', async () => {
  const folder = await makeComparison(
    'config: config.yaml\noutput: out\ndata: { test: test.jsonl }\nruns: { rlvr: { steps: 4 } }\n' +
      'sampled: { answers: 2, data: [test], runs: [rlvr] }\n',
  );
  const file = join(folder, 'comparison.yaml');
  const stopped = await signalAt(': training', 'SIGINT', ['compare', file]);
  expect(stopped.code).toBe(130);
  expect(stopped.stderr).toMatch(new RegExp(`^stopped\\. To go on: .*visurf compare ${file}$`, 'm'));
  const table = await visurfJson<Table>('compare', file);
  expect(table.columns).toEqual(['test.far.gIoU', 'test.near.gIoU', 'average']);
  expect(table.differences).toEqual({ baseline: expect.anything() });
  const solved = [[1, 0], [2, 0]]; // prettier-ignore
  expect(table.sampled['test']!.passAtK).toEqual({ baseline: solved, rlvr: solved });
  expect(table.sampled['test']!.byDifficulty).toMatchObject([{ difficulty: 'never', questions: 3 }]);
}, 200_000);

test.each([
  ['an unknown key', comparison.replace('seeds', 'seed'), [/comparison\.yaml:3: unknown key seed/, 'seeds']],
  ['an unknown key of a run', comparison.replace('label.smooth', 'label.smoth'), ['run visurf', 'smooth']],
  [
    'a key that the paradigm of a run does not use',
    comparison.replace('sft: {}', 'sft: { rollout.group: 3 }'),
    ['run sft', 'rollout.group'],
  ],
  [
    'a run that is to answer often and is none',
    `${comparison}sampled: { data: [test], runs: [dft] }\n`,
    ['no runs is named dft'],
  ],
  [
    'a merge of what is no run',
    comparison.replace('[sft, visurf]', '[sft, rl]'),
    ['no run is named rl', 'sft, visurf'],
  ],
  ['a reference that is no run', `${comparison}reference: rl\n`, ['no run is named rl', 'sft, visurf']],
  ['held-out data that is not there', comparison.replace('test.jsonl', 'none.jsonl'), ['none.jsonl: no such file']],
  [
    'a run with steps of its own where the budget sets them',
    `${comparison.replace('sft: {}', 'sft: { steps: 3 }')}equal: samples\n`,
    [/comparison\.yaml:6: run sft has steps of its own/, 'equal: updates'],
  ],
  ['a column that nothing has', `${comparison}columns: [test.far.accuracy]\n`, ['no column is named', 'test.far.gIoU']],
  ['a name that is no file name', comparison.replace('sft:', '../sft:'), ['comparison.yaml:', 'letters']],
])('%s is refused', async (_, text, messages) => {
  const folder = await makeComparison(text.replaceAll(' without ', '-without-'));
  expectRefusal(
    await visurf(
      'compare',
      join(folder, 'comparison.yaml'),
      '--json',
      ...(text.includes('columns') ? ['steps=1'] : []),
    ),
    ...messages,
  );
});

test('runs that take a sample for different tasks are not compared', async () => {
  const folder = await makeComparison(
    'config: config.yaml\noutput: out\ndata: { test: test.jsonl }\n' +
      'runs: { a: { paradigm: sft, data.task: anomaly }, b: { paradigm: sft, data.task: answer } }\n',
  );
  for (const name of ['train', 'test'])
    writeFileSync(join(folder, `${name}.jsonl`), linesOf([sample('a', 'yes', 'all')]));
  const outcome = await visurf('compare', join(folder, 'comparison.yaml'), '--json');
  expectRefusal(outcome, /test\.jsonl:1: names no task: the run a takes it for anomaly, b for answer/);
  expect(existsSync(join(folder, 'out'))).toBe(false);
});
