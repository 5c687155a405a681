/**
 * Makes the parts of docs/ that say what the schema of the configuration, presets and examples say, and wraps its
 * prose: `make docs`.
 */
import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { keyUsers, LEAVES, type Leaf } from '../packages/core/src/config/keys.ts';
import { presets } from '../packages/core/src/config/presets.ts';
import { PARADIGMS } from '../packages/core/src/schedule/paradigm.ts';
import { wrapped } from './prose.ts';

const root = join(import.meta.dirname, '..');

/** A table of keys stands between these: of some sections, or those that are in none. */
const TABLE = /(?<=<!-- keys(?:: (?<sections>[\w ]+))? -->\n)[^]*?(?=<!-- end -->)/g;

const RESUME = { harmless: 'free', course: '', breaks: 'fixed' } as const;

/** docs/configuration.md with its tables as the schema has them. @throws where a key is in no table, or in two */
function withKeys(page: string): string {
  const shown: string[] = [];
  const made = page.replace(TABLE, (...found) => {
    const { sections } = found.at(-1) as { sections: string | undefined };
    const leaves = LEAVES.filter(({ key }) =>
      sections === undefined ? !key.includes('.') : sections.split(' ').includes(key.split('.')[0]!),
    ).filter(({ key }) => key.includes('.') === (sections !== undefined));
    shown.push(...leaves.map(({ key }) => key));
    return keyTable(leaves);
  });
  const wrong = LEAVES.map(({ key }) => key).filter((key) => shown.filter((each) => each === key).length !== 1);
  if (wrong.length > 0) throw new Error(`docs/configuration.md has not one table each for ${wrong.join(', ')}`);
  return made;
}

function keyTable(leaves: readonly Leaf[]): string {
  const rows = leaves.map((leaf) => [
    `\`${leaf.key}\``,
    defaultOf(leaf),
    usersOf(leaf),
    RESUME[leaf.effect],
    leaf.meaning,
  ]);
  return tableOf(['key', 'default', 'used by', 'resume', 'meaning'], rows);
}

function tableOf(titles: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [titles, titles.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`);
  return `\n${lines.join('\n')}\n\n`;
}

/** The default, and in brackets those of paradigms that have another. */
function defaultOf({ schema, unset = '', defaults = {} }: Leaf): string {
  const found = schema.safeParse(undefined);
  const common = found.success && !isEmpty(found.data) ? written(found.data) : unset;
  const others = [...Map.groupBy(Object.entries(defaults), ([, value]) => written(value))].map(
    ([value, owners]) => `${owners.map(([owner]) => `\`${owner}\``).join(', ')}: ${value}`,
  );
  return [common, ...(others.length > 0 ? [`[${others.join('; ')}]`] : [])].join(' ').trim();
}

const isEmpty = (value: unknown): boolean =>
  value === undefined || (typeof value === 'object' && Object.keys(value ?? {}).length === 0);

function written(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(written).join(', ')}]`;
  return typeof value === 'number' && value > 0 && value < 1e-3
    ? value.toExponential()
    : `${value as string | number | boolean}`;
}

/** Nothing for all; else those that do, or those that do not, whoever are fewer. */
function usersOf({ key }: Leaf): string {
  const users = keyUsers(key);
  const others = PARADIGMS.filter((each) => !users.includes(each));
  if (others.length === 0) return '';
  const list = (names: readonly string[]): string => names.map((each) => `\`${each}\``).join(', ');
  return others.length < users.length ? `all but ${list(others)}` : list(users);
}

/** docs/paradigms.md with what each preset sets. */
function withPresets(page: string): string {
  const rows = Object.entries(presets).map(([name, { settings, source }]) => [
    `\`${name}\``,
    Object.entries(settings)
      .map(([key, value]) => `\`${key}=${written(value)}\``)
      .join(', '),
    source,
  ]);
  const made = tableOf(['preset', 'settings', 'source'], rows);
  return page.replace(/(?<=<!-- presets -->\n)[^]*?(?=<!-- end -->)/, () => made);
}

/** docs/extending.md with the examples that the tests run. */
const withExamples = (page: string): string =>
  page.replace(/(?<=<!-- example: ([\w./-]+) -->\n```ts\n)[^]*?(?=```\n)/g, (_, example: string) =>
    readFileSync(join(root, example), 'utf8'),
  );

/** docs/servers.md with what server-check.ts and wrong-server.ts have measured; a part without figures stays empty. */
function withServers(page: string): string {
  const read = (name: string): unknown => {
    const file = join(root, 'docs/results', name);
    return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined;
  };
  const part = (name: string, lines: readonly string[]): ((text: string) => string) => {
    const found = new RegExp(`(?<=<!-- ${name} -->\\n)[^]*?(?=<!-- end -->)`);
    return (text) => text.replace(found, lines.length > 0 ? `\n${lines.join('\n')}\n\n` : '');
  };
  const shown = (value: unknown): string =>
    typeof value === 'number' ? String(Number(value.toPrecision(3))) : String(value);
  const servers = (read('servers.json') ?? {}) as Record<
    string,
    { version: string; checked: Record<string, Record<string, unknown>> }
  >;
  const checks = (program: string, title: string): string[] => {
    const { version, checked } = servers[program] ?? { checked: {} };
    const lines = Object.entries(checked).map(
      ([what, figures]) =>
        `| ${what} | ${Object.entries(figures).map(([name, value]) => `${name} ${shown(value)}`).join(', ')} |`, // prettier-ignore
    );
    return lines.length > 0 ? [`| ${title} ${version} | figures |`, '| --- | --- |', ...lines] : [];
  };
  const { steps = 0, results = [] } = (read('wrong-server.json') ?? {}) as {
    steps?: number;
    results?: { name: string; runs: Record<string, number>[] }[];
  };
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [right] = results;
  const wrong = results.map(({ name, runs }) => {
    const over = (key: string): string => shown(mean(runs.map((run) => run[key]!)));
    // Of the same seed: what seeds have in common is not in it.
    const apart = runs.map((run, seed) => run['after']! - right!.runs[seed]!['after']!);
    const off = apart.map((each) => (each - mean(apart)) ** 2).reduce((sum, each) => sum + each, 0);
    const error = Math.sqrt(off / (apart.length - 1) / apart.length);
    const less =
      runs === right!.runs ? '' : `${mean(apart).toFixed(2)}${apart.length > 1 ? ` ± ${error.toFixed(2)}` : ''}`;
    return `| ${[name, over('before'), over('after'), less, ...['mismatch', 'capped', 'masked'].map(over)].join(' | ')} |`;
  });
  const head = [
    `| ${steps} steps, seeds: ${right?.runs.length ?? 0} | before | after | against a right one | mismatch | tokens above the cap | responses outside |`,
    `|${' --- |'.repeat(7)}`,
  ];
  const parts = [
    part('vllm-check', checks('vllm', 'vLLM')),
    part('sglang-check', checks('sglang', 'SGLang')),
    part('wrong-server', wrong.length > 0 ? [...head, ...wrong] : []),
  ];
  return parts.reduce((text, made) => made(text), page);
}

/** Pages with parts that are made, and what makes them. */
export const MADE: Readonly<Record<string, (page: string) => string>> = {
  'docs/configuration.md': withKeys,
  'docs/paradigms.md': withPresets,
  'docs/extending.md': withExamples,
  'docs/servers.md': withServers,
};

if (import.meta.main) {
  for (const page of ['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', ...globSync('docs/*.md', { cwd: root })]) {
    const file = join(root, page);
    const text = readFileSync(file, 'utf8');
    writeFileSync(file, wrapped((MADE[page] ?? String)(text)));
  }
}
