/** A run as one HTML file: the page, and the answers that it would ask for. */
import { readFile } from 'node:fs/promises';
import { UserError, writeAside } from '@visurf/core/records';
import { createApp } from './app.ts';
import { loadPage } from './page.ts';
import type { GroupAnswer, GroupRow } from './group-query.ts';
import { Studio } from './studio.ts';

export interface ExportOptions {
  readonly output: string;
  /** Bytes that the file may have. */
  readonly largest?: number;
}

export interface ExportedRun {
  /** Groups that the file holds, and that the run has. */
  readonly groups: number;
  readonly total: number;
  readonly bytes: number;
}

const LARGEST = 10_000_000;
/** Rows of the list of groups, as the page asks for them. */
const LISTED = 500;
const HOST = 'localhost';

/**
 * Writes everything of a run that fits: curves, the last evaluation beside the first, and groups spread over the run.
 * @throws UserError where there is no run, or the file cannot be written
 */
export async function exportRun(directory: string, { output, largest = LARGEST }: ExportOptions): Promise<ExportedRun> {
  const studio = new Studio([directory]);
  try {
    const [run, ...others] = studio.runs();
    if (!run || others.length > 0)
      throw new UserError(run ? 'this folder holds several runs' : 'there is no run here', {
        where: directory,
        remedy: 'Name the folder of one run.',
      });
    const page = await loadPage();
    const app = createApp({ studio, page, hosts: [HOST], base: '' });
    const ask = async <T>(address: string): Promise<T> => {
      const response = await app.request(`http://${HOST}/api/${address}`, { headers: { host: HOST } });
      const answer = (await response.json()) as T & { error?: { message: string } };
      if (!response.ok)
        throw new UserError(answer.error?.message ?? `${address} was not answered`, { where: directory });
      return answer;
    };
    const answers: Record<string, unknown> = {};
    const pictures: Record<string, string> = {};
    let size = page.html('').length + [...page.assets.values()].reduce((sum, { bytes }) => sum + bytes.length, 0);
    const hold = (address: string, answer: unknown): void => {
      answers[address] = answer;
      size += sizeOf(answer) + address.length + 8;
    };
    const keepPictures = async (value: unknown): Promise<void> => {
      for (const name of new Set(JSON.stringify(value).match(/images\/[0-9a-f]+\.webp/g))) {
        const own = name.replace('images/', '');
        const file = own in pictures ? undefined : run.picture(own);
        if (file === undefined) continue;
        const url = `data:image/webp;base64,${(await readFile(file)).toString('base64')}`;
        pictures[own] = url;
        size += url.length + own.length + 8;
      }
    };

    const prefix = `runs/${run.id}`;
    for (const address of ['runs', prefix, `${prefix}/curves?points=800`, `${prefix}/curves?points=400`])
      hold(address, await ask(address));
    const steps = run.evaluations();
    const [first, last] = [steps[0], steps.at(-1)];
    if (last !== undefined) {
      const address = `${prefix}/evaluations/${last}${first === last ? '' : `?against=${first}`}`;
      const rows = await ask<readonly unknown[]>(address);
      const shown: unknown[] = [];
      for (const row of rows) {
        if (size > largest / 3) break;
        shown.push(row);
        size += sizeOf(row);
        await keepPictures(row);
      }
      answers[address] = shown;
    }

    const all = await indexed(() => ask<GroupAnswer>(`${prefix}/groups?limit=${LISTED}`));
    for (const what of ['reward', 'length']) {
      const address = `${prefix}/histogram?what=${what}`;
      hold(address, await ask(address));
    }
    const kept: GroupRow[] = [];
    for (const row of spread(await listed(ask, prefix, all.total))) {
      const address = `${prefix}/groups/${row.step}/${row.place}`;
      const group = await ask<{ history: readonly GroupRow[] }>(address);
      // Room for its pictures, and for the list of groups.
      if (size + sizeOf(group) > 0.9 * largest) break;
      hold(address, { ...group, history: [] });
      await keepPictures(group);
      kept.push(row);
    }
    const rows = kept.toSorted((a, b) => b.step - a.step || a.place - b.place);
    hold(`${prefix}/groups?limit=${LISTED}`, { total: kept.length, rows, indexed: all.indexed } satisfies GroupAnswer);
    const active = rows.filter((row) => row.active === 1);
    hold(`${prefix}/groups?filter=active&limit=1`, {
      total: active.length,
      rows: active.slice(0, 1),
      indexed: all.indexed,
    });
    const note = `holds ${kept.length} of ${all.total} groups`;
    const html = inlined(page.html('./'), page.assets, { answers, pictures, note });
    writeAside(output, html);
    return { groups: kept.length, total: all.total, bytes: Buffer.byteLength(html) };
  } finally {
    await studio.close();
  }
}

/** Asks until all files are in the index. */
async function indexed(ask: () => Promise<GroupAnswer>): Promise<GroupAnswer> {
  for (;;) {
    const answer = await ask();
    if (answer.indexed.done >= answer.indexed.files && answer.indexed.files >= 0) {
      // The first answer may come before the folder was looked at.
      const again = await ask();
      if (again.indexed.done >= again.indexed.files) return again;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** All rows, page by page. */
async function listed(ask: <T>(address: string) => Promise<T>, prefix: string, total: number): Promise<GroupRow[]> {
  const rows: GroupRow[] = [];
  for (let from = 0; from < total; from += LISTED)
    rows.push(...(await ask<GroupAnswer>(`${prefix}/groups?limit=${LISTED}&from=${from}&sort=oldest`)).rows);
  return rows;
}

/** Rows in an order of which every beginning is spread over all of them: halves, quarters, ... */
export function spread<T>(rows: readonly T[]): T[] {
  const order = rows.map((row, i) => ({ row, rank: reversedBits(i, 32) }));
  return order.sort((a, b) => a.rank - b.rank).map(({ row }) => row);
}

function reversedBits(value: number, bits: number): number {
  let [reversed, left] = [0, value];
  for (let i = 0; i < bits; i++) {
    reversed = reversed * 2 + (left % 2);
    left = Math.floor(left / 2);
  }
  return reversed;
}

/** Text that may stand in a script element, whatever it says. */
const inScript = (text: string): string => text.replaceAll('<', '\\u003c');

/** Bytes of a value in the file. */
const sizeOf = (value: unknown): number => Buffer.byteLength(inScript(JSON.stringify(value)));

function inlined(html: string, assets: Awaited<ReturnType<typeof loadPage>>['assets'], held: object): string {
  const content = (name: string): string => Buffer.from(assets.get(name)?.bytes ?? []).toString('utf8');
  const data = `<script id="export" type="application/json">${inScript(JSON.stringify(held))}</script>`;
  return html
    .replace(/<base [^>]*>/, '')
    .replaceAll(
      /<link [^>]*href="\.\/assets\/([\w.-]+\.css)"[^>]*>/g,
      (_, name: string) => `<style>${content(name)}</style>`,
    )
    .replaceAll(/<script type="module"[^>]*src="\.\/assets\/([\w.-]+\.js)"[^>]*><\/script>/g, '')
    .replace('</body>', () => {
      const scripts = [...html.matchAll(/src="\.\/assets\/([\w.-]+\.js)"/g)].map(([, name = '']) =>
        content(name).replaceAll('</script', '<\\/script'),
      );
      return `${data}${scripts.map((script) => `<script type="module">${script}</script>`).join('')}</body>`;
    });
}
