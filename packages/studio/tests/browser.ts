/** A Chromium of this machine, driven by tests; where there is none they are skipped, and say so. */
import { existsSync } from 'node:fs';
import { chromium, type Browser, type Page } from 'playwright-core';

const PLACES = [process.env['CHROMIUM'], '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

export type { Browser, Page };

export const executable = PLACES.find((place) => place !== undefined && existsSync(place));

if (executable === undefined)
  console.warn('no Chromium here (apt-get install chromium, or CHROMIUM=PATH): the pages are not tested');

export const openBrowser = (): Promise<Browser> =>
  chromium.launch({ executablePath: executable!, args: ['--no-sandbox'] });

/** A page that fails its test where anything is logged as an error, or thrown. */
export async function openPage(browser: Browser, width = 1280): Promise<{ page: Page; faults: string[] }> {
  const page = await browser.newPage({ viewport: { width, height: 900 } });
  const faults: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error') faults.push(message.text());
  });
  page.on('pageerror', ({ message }) => faults.push(message));
  return { page, faults };
}
