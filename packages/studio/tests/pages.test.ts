/** Every page over run directories, in a real Chromium. */
import { appendFileSync, cpSync, existsSync, mkdtempSync, rmSync, truncateSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { AxeBuilder } from '@axe-core/playwright';
import type { Browser, Page } from 'playwright-core';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startStudio, type StudioServer } from '../src/index.ts';
import { eventLines, group, response, sample, startEvent, stepEvent, writeRun } from '../src/testkit.ts';
import { executable, openBrowser, openPage } from './browser.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'studio-pages-'));
process.env['XDG_CACHE_HOME'] = path.join(folder, 'cache');
const root = path.join(folder, 'runs');
const HOSTILE = '<script>document.title="owned"</script><img src=x onerror=alert(1)>';

const now = Date.now();
const events = (count: number) => [
  startEvent(now),
  ...Array.from({ length: count }, (_, i) =>
    stepEvent(i + 1, { labelActive: 1 / (i + 1), entropy: 0.5 }, now + 1_000 * i),
  ),
  { type: 'warning', step: 3, time: now, message: 'labels may be taking the policy over' } as const,
  { type: 'eval', step: 2, time: now, n: 2, metrics: { gIoU: 30, nAcc: 0 } } as const,
  { type: 'eval', step: 4, time: now, n: 2, metrics: { gIoU: 60, nAcc: 50 } } as const,
];

let server: StudioServer;
let browser: Browser;

beforeAll(async () => {
  if (executable === undefined) return;
  const answers = (iou: number) => [
    {
      id: 'car',
      text: '<think> x</think><answer>[]</answer>',
      boxes: [[10, 10, 50, 48]],
      points: [],
      reward: iou,
      evaluation: { present: true, saidEmpty: false, iou, wellFormed: true },
    },
    {
      id: 'owl',
      text: '<answer>[]</answer>',
      boxes: [],
      points: [],
      reward: 1,
      evaluation: { present: false, saidEmpty: true, iou: 1, wellFormed: true },
    },
  ];
  const groups = Object.fromEntries(
    [1, 2, 3, 4].map((step) => [
      step,
      [group(step, 'car', [0, 3, 0, 3], { active: false }), group(step, 'owl', [0, 0, 0, 0], { active: true })],
    ]),
  );
  await writeRun(path.join(root, 'cars/visurf'), {
    events: events(5),
    groups,
    samples: [sample('car'), { ...sample('owl'), boxes: [] }],
    answers: { 2: answers(0.2), 4: answers(0.9) },
    config: 'paradigm: visurf\nsteps: 5\nmodel: base\nseed: 0\nlabel:\n  smooth: reward\n  eliminate: on\n',
  });
  await writeRun(path.join(root, 'cars/rlvr'), {
    events: events(5),
    config: 'paradigm: rlvr\nsteps: 5\nmodel: base\nseed: 0\n',
  });
  const hostile = { ...group(1, HOSTILE, [0]), problem: `${HOSTILE} \u202Egnp.exe`, solution: HOSTILE };
  await writeRun(path.join(root, `hostile ${HOSTILE.replaceAll(/[/<>]/g, '_')}`), {
    events: [startEvent(now), stepEvent(1, {}, now), { type: 'warning', step: 1, time: now, message: HOSTILE }],
    groups: {
      1: [
        {
          ...hostile,
          rollouts: [
            {
              ...response(0, { text: `<think>${HOSTILE}</think><answer>${HOSTILE} ../../etc/passwd http://x.example` }),
              masked: false,
            },
          ],
        },
      ],
    },
    samples: [{ ...sample(HOSTILE, '../../../etc/passwd'), prompt: HOSTILE }],
    config: `paradigm: ${JSON.stringify(HOSTILE)}\nmodel: "${HOSTILE.replaceAll('"', "'")}"\n`,
  });
  server = await startStudio({ roots: [root], port: 0 });
  browser = await openBrowser();
}, 120_000);

afterAll(async () => {
  if (executable !== undefined) {
    await browser.close();
    await server.close();
  }
  rmSync(folder, { recursive: true });
});

const on = test.runIf(executable !== undefined);

async function visit(address: string, width?: number): Promise<{ page: Page; faults: string[] }> {
  const opened = await openPage(browser, width);
  await opened.page.goto(`${server.link}${address}`);
  return opened;
}

async function idOf(name: string): Promise<string> {
  const runs = (await (await fetch(`${server.link}api/runs`)).json()) as { id: string; name: string }[];
  return runs.find((run) => run.name.includes(name))!.id;
}

on('every page is reached by a link whose text begins with its name', async () => {
  const { page, faults } = await visit('');
  await page.getByRole('link', { name: /^Runs/ }).waitFor();
  await page.getByRole('link', { name: 'runs/cars/visurf' }).click();
  await page.getByText('5 of 5 steps').waitFor();
  await page.getByRole('heading', { name: 'Reward', exact: true }).waitFor();
  await page.getByText('labels may be taking the policy over').waitFor();
  await page.getByRole('link', { name: /^Groups/ }).click();
  await page.getByText('rollout 4').last().waitFor();
  await page.getByRole('link', { name: /^Evaluation/ }).click();
  await page.getByText('reward 0.9 (0.2 at step 2)').waitFor();
  await page.getByRole('link', { name: /^Counterfactual/ }).click();
  await page.getByText('share of the pull').waitFor();
  await page.getByRole('link', { name: /^Label court/ }).click();
  await page.getByText('drop the sample').first().waitFor();
  await page.getByRole('link', { name: /^Try it/ }).click();
  await page.getByText('side by side').waitFor();
  await page.getByRole('link', { name: /^Compare/ }).click();
  await page.getByText('The paper').waitFor();
  expect(faults).toEqual([]);
  await page.close();
});

on('filters, keys and the slider; a link restores the exact view', async () => {
  const id = await idOf('visurf');
  const { page, faults } = await visit(`run/${id}/groups`);
  await page.getByText('8 groups').waitFor();
  await page.getByLabel('show').selectOption('active');
  await page.getByText('4 groups').waitFor();
  expect(page.url()).toContain('filter=active');
  await page.getByText('The label was active').waitFor();
  await page.keyboard.press('j');
  await page.getByText('step 3 ·', { exact: false }).first().waitFor();
  const url = page.url();
  await page.goto(url);
  await page.locator('article .said').first().waitFor();
  await page.getByText('this prompt was asked 4 times: now step 3').waitFor();
  await page.keyboard.press('/');
  expect(await page.evaluate('document.activeElement.id')).toBe('search');
  await page.getByText('What if?').click();
  await page.getByLabel('smooth').selectOption('off');
  await page.getByText('share of the pull').waitFor();
  expect(page.url()).toContain('smooth=off');
  expect(faults).toEqual([]);
  await page.close();
});

on('decisions of the court are written', async () => {
  const id = await idOf('visurf');
  const { page } = await visit(`run/${id}/court`);
  await page.getByText('drop the sample').first().click();
  await page.getByText('· dropped').waitFor();
  expect(existsSync(path.join(root, 'cars/visurf/corrections.jsonl'))).toBe(true);
  await page.close();
});

on('names and texts that would like to be more than text', async () => {
  const id = await idOf('hostile');
  for (const tab of ['', '/groups', '/court', '/counterfactual']) {
    const { page } = await visit(`run/${id}${tab}`);
    const dialogs: string[] = [];
    page.on('dialog', (dialog) => {
      dialogs.push(dialog.message());
      void dialog.dismiss();
    });
    await page.getByRole('heading', { level: 1 }).waitFor();
    await page.waitForTimeout(300);
    expect(await page.title()).not.toBe('owned');
    expect(await page.locator('main img').count()).toBe(0);
    expect(dialogs).toEqual([]);
    await page.close();
  }
});

on('a run that grows is shown as it does, and one that is cut back is read again', async () => {
  const run = path.join(root, 'live');
  cpSync(path.join(root, 'cars/rlvr'), run, { recursive: true });
  await expect.poll(() => idOf('live').catch(() => undefined), { timeout: 10_000 }).toBeDefined();
  const { page } = await visit(`run/${await idOf('live')}`);
  await page.getByText('4 of 5 steps').or(page.getByText('5 of 5 steps')).first().waitFor();
  const file = path.join(run, 'events.jsonl');
  const kept = statSync(file).size;
  appendFileSync(file, eventLines([stepEvent(77, {}, Date.now())]));
  await page.getByText('77 of 5 steps').waitFor({ timeout: 5_000 });
  truncateSync(file, kept);
  appendFileSync(
    file,
    eventLines([stepEvent(6, {}, Date.now()), stepEvent(7, {}, Date.now()), stepEvent(88, {}, Date.now())]),
  );
  await page.getByText('88 of 5 steps').waitFor({ timeout: 5_000 });
  appendFileSync(file, 'not an event\n');
  await page.getByText('is damaged, and left out').waitFor({ timeout: 5_000 });
  rmSync(run, { recursive: true });
  await page.getByText('What is shown is no longer there').waitFor({ timeout: 10_000 });
  await page.close();
});

/** A random model of 244 thousand parameters. */
const tinyModel = path.resolve(import.meta.dirname, '../../../oracle/fixtures/tiny-qwen2_5-vl/model');

on(
  'Try it shows what both models say while they say it, and the page goes on',
  async () => {
    const run = path.join(root, 'tried');
    await writeRun(run, { config: `paradigm: visurf\nsteps: 1\nmodel: ${tinyModel}\n` });
    cpSync(tinyModel, path.join(run, 'checkpoints/000001'), { recursive: true });
    await expect.poll(() => idOf('tried').catch(() => undefined), { timeout: 10_000 }).toBeDefined();
    const { page, faults } = await visit(`run/${await idOf('tried')}/try`);
    await page.locator('input[type=file]').setInputFiles({
      ...{ name: 'blue.png', mimeType: 'image/png' },
      buffer: await sharp({ create: { width: 64, height: 48, channels: 3, background: '#336699' } })
        .png()
        .toBuffer(),
    });
    await page.getByLabel('what to ask').fill('the red circle');
    // Lengths of what is said as the page shows them, and how often it drew.
    await page.evaluate(`(() => {
    window.seen = [new Set(), new Set()];
    window.drawn = 0;
    const draw = () => {
      window.drawn += 1;
      document.querySelectorAll('.answers .said').forEach((each, i) => window.seen[i].add(each.textContent.length));
      requestAnimationFrame(draw);
    };
    draw();
  })()`);
    const words = page.waitForResponse(/\/try$/).then((response) => response.text());
    await page.getByRole('button', { name: 'ask' }).click();
    await page.getByText('answered in').nth(1).waitFor({ timeout: 120_000 });
    expect((await words).trim().split('\n').length).toBeGreaterThan(5);
    const { seen, drawn } = await page.evaluate<{ seen: number[]; drawn: number }>(
      '({ seen: window.seen.map((each) => each.size), drawn: window.drawn })',
    );
    // Nothing, and the whole; how much between depends on how fast the model is.
    expect(Math.min(...seen)).toBeGreaterThan(1);
    expect(drawn).toBeGreaterThan(10);
    // A random model says nothing that could be told apart: what it says stands there as it was said.
    expect(await page.locator('.answers .said').first().textContent()).toBe(
      await page.locator('.answers .said').last().textContent(),
    );
    // Of a model that is not as fast.
    await page.route(/\/try$/, () => undefined);
    await page.getByLabel('what to ask').fill('another');
    await page.getByRole('button', { name: 'ask' }).click();
    await page.getByRole('button', { name: 'stop' }).click();
    await page.getByRole('button', { name: 'ask' }).waitFor();
    expect(faults).toEqual([]);
    await page.close();
  },
  300_000,
);

/** Addresses of all pages. */
const pagesOf = (id: string): string[] => [
  '',
  ...['', '/groups', '/evaluation', '/counterfactual', '/court', '/try'].map((tab) => `run/${id}${tab}`),
  'compare',
];

on('at 390 pixels nothing is wider than the screen', async () => {
  const id = await idOf('visurf');
  for (const address of pagesOf(id)) {
    const { page } = await visit(address, 390);
    await page.getByRole('heading').first().waitFor();
    await page.waitForTimeout(400);
    const width = await page.evaluate('document.documentElement.scrollWidth');
    expect(width, address).toBeLessThanOrEqual(390);
    await page.close();
  }
});

describe.each(['light', 'dark'] as const)('%s', (colorScheme) => {
  on('axe finds nothing', async () => {
    const id = await idOf('visurf');
    for (const address of pagesOf(id)) {
      const context = await browser.newContext({ colorScheme, bypassCSP: true });
      const page = await context.newPage();
      await page.goto(`${server.link}${address}`);
      await page.getByRole('heading').first().waitFor();
      await page.waitForTimeout(500);
      const axe = new AxeBuilder({ page });
      // Nothing else depends on the scheme.
      const { violations } = await (colorScheme === 'dark' ? axe.withRules('color-contrast') : axe).analyze();
      expect(violations.map(({ id: rule, nodes }) => `${address}: ${rule}: ${nodes[0]?.html.slice(0, 120)}`)).toEqual(
        [],
      );
      await context.close();
    }
  });
});
