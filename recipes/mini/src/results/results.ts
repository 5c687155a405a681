/**
 * Makes docs/results.md of the results that are in the repository: `node src/results/results.ts`. What is missing of a
 * comparison is not trained here; the page says so.
 */
import { copyFileSync, existsSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join, relative } from 'node:path';

import { compare, loadComparison, outlook, type Compared, type Comparison } from '@visurf/core';

import { PUBLISHED } from '../demo/story.ts';
import { ALIGNED, ALIGNMENTS, type Aligned } from './align.ts';
import { makeData } from './data.ts';
import { renderFindings, type Claim } from './findings.ts';
import { takeoverOf } from './takeover.ts';

const recipe = join(import.meta.dirname, '../..');
const docs = join(recipe, '../../docs');
const assets = join(docs, 'results');

/** What the paper's table and its ablation say. */
const CLAIMS: Readonly<Record<string, readonly Claim[]>> = {
  main: [
    {
      text: 'ViSurf is better than the model before training and than every other paradigm.',
      ...{ column: 'average', against: ['baseline', 'sft', 'rlvr', 'sft-then-rlvr'], expected: 'better' },
    },
    {
      text: 'It recognises absent objects, which RLVR never learns.',
      ...{ column: 'N-Acc', against: ['rlvr'], expected: 'better' },
    },
    {
      text: 'So for defects, which the model never sees either.',
      ...{ column: 'defects', against: ['rlvr'], expected: 'better' },
    },
    {
      text: 'Where a thought helps, it is better than imitation.',
      ...{ column: 'relational', against: ['sft', 'sft-then-rlvr'], expected: 'better' },
    },
    {
      text: 'It forgets less than paradigms with a stage of SFT.',
      ...{ column: 'skills', against: ['sft', 'sft-then-rlvr'], expected: 'better' },
    },
  ],
  long: [
    {
      text: 'ViSurf is better than the model before training and than every other paradigm.',
      ...{ column: 'average', against: ['baseline', 'sft', 'rlvr', 'sft-then-rlvr'], expected: 'better' },
    },
    {
      text: 'It learns the defect class, which RLVR never does.',
      ...{ column: 'defects', against: ['rlvr'], expected: 'better' },
    },
  ],
  ablation: [
    {
      text: 'Every reward control is necessary.',
      ...{ column: 'average', against: ['no-align', 'no-eliminate', 'no-smooth'], expected: 'better' },
    },
    {
      text: 'Without elimination N-Acc rises and relational referring falls (the paper: 74.1 against 57.1, 58.2 against 66.5).',
      ...{ column: 'N-Acc', against: ['no-eliminate'], expected: 'worse' },
    },
    {
      text: 'The same, relational referring.',
      ...{ column: 'relational', against: ['no-eliminate'], expected: 'better' },
    },
  ],
  qwen2: [
    {
      text: 'On the second base ViSurf is better, too.',
      ...{ column: 'average', against: ['baseline', 'sft', 'rlvr', 'sft-then-rlvr'], expected: 'better' },
    },
  ],
  qwen3: [
    {
      text: 'On the third base ViSurf is better, too.',
      ...{ column: 'average', against: ['baseline', 'sft', 'rlvr'], expected: 'better' },
    },
  ],
};

/** Everything of a comparison as Markdown, its figures beside the page. */
async function render(name: string): Promise<string> {
  const comparison = loadComparison(join(recipe, 'comparisons', `${name}.yaml`));
  const { jobs, done } = await outlook(comparison);
  const command = `\`./visurf compare recipes/mini/comparisons/${name}.yaml\``;
  if (done < jobs) return `Not finished: ${done} of ${jobs} policies are there. ${command} goes on with it.`;
  const compared = await compare(comparison);
  mkdirSync(assets, { recursive: true });
  const keep = (file: string): string => {
    const kept = join(assets, `${name}-${basename(file)}`);
    copyFileSync(file, kept);
    return relative(docs, kept);
  };
  const table = readFileSync(compared.files[0]!, 'utf8').split('\n![')[0]!.trim();
  const shown = (FIGURES[name] ?? ['held-out']).flatMap(
    (each) => compared.figures.find((file) => basename(file) === `${each}.svg`) ?? [],
  );
  const [, latex] = compared.files;
  return [
    command,
    ...(name === 'takeover' ? [] : [table]),
    ...(CLAIMS[name] ? [renderFindings(CLAIMS[name], compared)] : []),
    ...neverSolved(compared),
    shown.map((file) => `![${basename(file, '.svg')}](${keep(file)})`).join('\n'),
    `As LaTeX: [${basename(keep(latex!))}](${keep(latex!)}). Results: ${hashes(comparison, compared)}.`,
  ].join('\n\n');
}

/** What training does for questions that no sample of the base answered. */
function neverSolved({ passes }: Compared): string[] {
  return [...passes.values()].flatMap(({ byDifficulty }) => {
    const row = byDifficulty.find(({ difficulty }) => difficulty === 'never');
    if (!row) return [];
    const rates = [...row.policies]
      .filter(([policy]) => policy !== 'baseline')
      .map(([policy, { passRate }]) => `${(100 * passRate).toFixed(1)}% of the answers of ${policy}`);
    return [
      `Does training solve what the base never samples? Of the ${row.questions} questions that none of the base's samples answered, ${rates.join(' and ')} are right.`,
    ];
  });
}

/** Figures of a comparison; the others have one alone. */
const FIGURES: Readonly<Record<string, readonly string[]>> = {
  main: [
    'held-out',
    'validation-updates',
    'validation-time',
    'entropy',
    'length',
    'thinking',
    'labelActive',
    'labelGradient',
  ],
  takeover: ['thinking', 'length'],
  tuning: [],
};

/** The start of every result's hash of what decides it. */
function hashes({ results }: Comparison, { policies, seeds }: Compared): string {
  const hashOf = (policy: string, seed: number): string[] => {
    const file = join(results, `${policy}-seed-${seed}.json`);
    if (!existsSync(file)) return [];
    return [(JSON.parse(readFileSync(file, 'utf8')) as { hash: string }).hash.slice(0, 8)];
  };
  return policies.map((policy) => `${policy} ${seeds.flatMap((seed) => hashOf(policy, seed)).join(' ')}`).join('; ');
}

const table = (rows: readonly (readonly string[])[]): string =>
  [rows[0]!, rows[0]!.map(() => '---'), ...rows.slice(1)].map((row) => `| ${row.join(' | ')} |`).join('\n');

function published(): string {
  const columns = Object.keys(PUBLISHED[0]!.metrics);
  const rows = PUBLISHED.map(({ name, metrics }) => [name, ...columns.map((column) => metrics[column]!.toFixed(1))]);
  return table([['policy', ...columns], ...rows]);
}

function aligned(): string {
  if (!existsSync(ALIGNED)) return 'Not measured yet: `node recipes/mini/src/results/align.ts`.';
  const measured = JSON.parse(readFileSync(ALIGNED, 'utf8')) as readonly Aligned[];
  const rows = measured.map(({ set, logProb }) => [set, ...ALIGNMENTS.map((each) => logProb[each].toFixed(1))]);
  return table([['set', ...ALIGNMENTS.map((each) => `\`${each}\``)], ...rows]);
}

/** When the runs were warned, and when they collapsed. */
function takeover(): string {
  const rows = takeoverOf(join(recipe, 'results/takeover'));
  return table([
    ['run', 'warned at update', 'collapsed at update', 'present IoU at the end', 'N-Acc at the end'],
    ...rows,
  ]);
}

await makeData();
// Other measurements lie beside the figures and tables of this page.
for (const file of globSync('*.{svg,tex}', { cwd: assets })) rmSync(join(assets, file));
const parts = new Map([
  ['published', published()],
  ['align', aligned()],
  ['takeover-table', takeover()],
]);
for (const file of globSync('comparisons/*.yaml', { cwd: recipe }).sort()) {
  const name = basename(file, '.yaml');
  parts.set(name, await render(name));
}
const template = readFileSync(join(import.meta.dirname, 'page.md'), 'utf8');
const page = join(docs, 'results.md');
writeFileSync(
  page,
  template.replace(/\{\{([\w-]+)\}\}/g, (_, name: string) => parts.get(name) ?? ''),
);
console.log(page);
