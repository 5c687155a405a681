/** The page: built once by Vite, from a checkout when it is first asked for. */
import { existsSync, globSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Asset {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly type: string;
}

export interface Page {
  /** Scripts and styles by name. */
  readonly assets: ReadonlyMap<string, Asset>;
  /** @param base path that everything lies below, with a slash at its end */
  html(base: string): string;
}

const TYPES: Readonly<Record<string, string>> = {
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
};

const sources = fileURLToPath(new URL('../page', import.meta.url));
const built = fileURLToPath(new URL('../build', import.meta.url));
const packed = fileURLToPath(new URL('./page', import.meta.url));

export async function loadPage(): Promise<Page> {
  const folder = existsSync(path.join(packed, 'index.html')) ? packed : await buildPage();
  const index = readFileSync(path.join(folder, 'index.html'), 'utf8');
  const assets = new Map<string, Asset>();
  for (const name of readdirSync(path.join(folder, 'assets'))) {
    const type = TYPES[path.extname(name)];
    if (type !== undefined)
      assets.set(name, { bytes: Uint8Array.from(readFileSync(path.join(folder, 'assets', name))), type });
  }
  return { assets, html: (base) => index.replace('<head>', `<head><base href="${base}">`) };
}

/** Builds the page where its sources are newer. @returns its folder */
export async function buildPage(folder = built): Promise<string> {
  const stamp = path.join(folder, 'stamp');
  const newest = Math.max(
    ...globSync('**/*', { cwd: sources }).map((file) => statSync(path.join(sources, file)).mtimeMs),
  );
  if (existsSync(stamp) && Number(readFileSync(stamp, 'utf8')) >= newest) return folder;
  const { build } = await import('vite');
  await build({
    root: sources,
    base: './',
    logLevel: 'error',
    configFile: false,
    esbuild: { jsx: 'automatic' },
    build: { outDir: folder, emptyOutDir: true, modulePreload: false, assetsInlineLimit: 0 },
  } as Parameters<typeof build>[0]);
  mkdirSync(folder, { recursive: true });
  writeFileSync(stamp, String(newest));
  return folder;
}
