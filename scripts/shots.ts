/**
 * Takes the pictures of the studio in docs/images, of real trainings of the miniature that it makes first where they are
 * not there (runs/shots; some minutes):
 *
 *   make shots
 *   node scripts/shots.ts --all DIR   every page, light and dark, at 1,280 and 390 pixels, into a folder to look at
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { startStudio } from '../packages/studio/src/index.ts';
import { openBrowser, type Browser, type Page } from '../packages/studio/tests/browser.ts';
import { generateDataset } from '../recipes/mini-grounding/src/dataset.ts';

const root = join(import.meta.dirname, '..');
const folder = join(root, 'runs/shots');
const { values } = parseArgs({ options: { all: { type: 'string' } } });
/** Steps of the trainings, and every so many labels that are wrong: for the label court. */
const [STEPS, WRONG] = [40, 12];
const QUESTION = 'find red circle';

async function makeRuns(): Promise<void> {
  const data = join(folder, 'data');
  if (!existsSync(data)) {
    await generateDataset(data, { seed: 5, images: { train: 120, validation: 12, test: 1 } });
    spoil(join(data, 'train.jsonl'));
  }
  for (const paradigm of ['visurf', 'rlvr', 'sft']) {
    const run = join(folder, 'grounding', paradigm);
    if (existsSync(join(run, 'report.html'))) continue;
    const small = ['threads=1', 'promptsPerStep=8', 'eval.every=8', 'checkpoint.every=8'];
    const keys = [
      ...small,
      `paradigm=${paradigm}`,
      `output=${run}`,
      `steps=${STEPS}`,
      `data.train=${data}/train.jsonl`,
    ];
    const more = [`data.validation=${data}/validation.jsonl`, ...(existsSync(run) ? ['--resume'] : [])];
    const args = ['train', 'recipes/mini-grounding/config.yaml', ...keys, ...more];
    const { status } = spawnSync(join(root, 'visurf'), args, { cwd: root, stdio: 'inherit' });
    if (status !== 0) throw new Error(`visurf ${args.join(' ')} ended with ${status}`);
  }
}

/** Moves some boxes to where nothing is. */
function spoil(file: string): void {
  const lines = readFileSync(file, 'utf8').trim().split('\n');
  const wrong = lines.map((line, i) => {
    const sample = JSON.parse(line) as { solution: { bbox_2d: number[] }[] };
    if (i % WRONG > 0 || sample.solution.length === 0) return line;
    return JSON.stringify({ ...sample, solution: [{ bbox_2d: [2, 2, 20, 20] }] });
  });
  writeFileSync(file, `${wrong.join('\n')}\n`);
}

/** What a page is called, where it is, and what is done there before the picture is taken. */
interface Shot {
  readonly name: string;
  readonly path: string;
  readonly prepare?: (page: Page) => Promise<void>;
}

async function shotsOf(link: string): Promise<Shot[]> {
  const runs = (await (await fetch(`${link}api/runs`)).json()) as { id: string; name: string }[];
  const idOf = (name: string): string => runs.find((run) => run.name.endsWith(name))!.id;
  const run = `run/${idOf('visurf')}`;
  const picture = join(folder, 'data/images/validation-00003.png');
  return [
    { name: 'runs', path: '' },
    { name: 'run', path: run },
    { name: 'groups', path: `${run}/groups?filter=active&sort=spread` },
    { name: 'evaluation', path: `${run}/evaluation` },
    { name: 'counterfactual', path: `${run}/counterfactual?filter=active` },
    { name: 'court', path: `${run}/court` },
    { name: 'compare', path: `compare?runs=${runs.map(({ id }) => id).join(',')}` },
    {
      name: 'try',
      path: `${run}/try`,
      prepare: async (page) => {
        await page.locator('input[type=file]').setInputFiles(picture);
        await page.getByLabel('what to ask').fill(QUESTION);
        await page.getByRole('button', { name: 'ask' }).click();
        await page.getByText('answered in').nth(1).waitFor();
      },
    },
  ];
}

interface Look {
  readonly width: number;
  readonly height: number;
  readonly colorScheme: 'light' | 'dark';
  readonly whole: boolean;
}

async function take(browser: Browser, link: string, shot: Shot, look: Look): Promise<Buffer> {
  const { width, height, colorScheme } = look;
  const context = await browser.newContext({ viewport: { width, height }, colorScheme });
  const page = await context.newPage();
  // The machine may do other things as well.
  page.setDefaultTimeout(180_000);
  await page.goto(`${link}${shot.path}`);
  await page.getByRole('heading').first().waitFor();
  await page.waitForTimeout(2_000);
  await shot.prepare?.(page);
  await page.waitForTimeout(500);
  const bytes = await page.screenshot({ fullPage: look.whole });
  await context.close();
  return bytes;
}

await makeRuns();
process.env['XDG_CACHE_HOME'] = join(folder, 'cache');
const server = await startStudio({ roots: [join(folder, 'grounding')], port: 0 });
const browser = await openBrowser();
try {
  for (const shot of await shotsOf(server.link)) {
    if (values.all === undefined) {
      const look = { width: 1280, height: 820, colorScheme: 'light', whole: false } as const;
      const jpeg = await sharp(await take(browser, server.link, shot, look)).jpeg({ quality: 82, mozjpeg: true }).toBuffer(); // prettier-ignore
      writeFileSync(join(root, `docs/images/studio-${shot.name}.jpg`), jpeg);
      continue;
    }
    mkdirSync(values.all, { recursive: true });
    for (const colorScheme of ['light', 'dark'] as const) {
      for (const width of [1280, 390]) {
        const bytes = await take(browser, server.link, shot, { width, height: 900, colorScheme, whole: width < 1000 });
        writeFileSync(join(values.all, `${shot.name}-${colorScheme}-${width}.png`), bytes);
      }
    }
  }
} finally {
  await browser.close();
  await server.close();
}
