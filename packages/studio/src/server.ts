/** The studio as a server. */
import { randomBytes } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { homedir } from 'node:os';
import path from 'node:path';
import { createAdaptorServer } from '@hono/node-server';
import { UserError } from '@visurf/core/records';
import { createApp } from './app.ts';
import { openCopies } from './copies.ts';
import { Elsewhere } from './elsewhere.ts';
import { loadPage } from './page.ts';
import { Studio } from './studio.ts';
import { Trier } from './try.ts';

export interface StudioOptions {
  /** Folders that hold runs, or addresses of some in an object store. */
  readonly roots: readonly string[];
  /** 0: any that is free. */
  readonly port: number;
  /** An address that others reach, too; unset: this machine alone. */
  readonly host?: string | undefined;
  /** What others must show; one is made where a host is named without. */
  readonly token?: string | undefined;
  /** A path that a proxy puts before everything, such as /studio. */
  readonly base?: string | undefined;
  /** A folder of pictures, for runs that have not kept theirs. */
  readonly images?: string | undefined;
}

export interface StudioServer {
  /** To be opened in a browser. */
  readonly link: string;
  close(): Promise<void>;
}

const LOOPBACK = '127.0.0.1';

/** Where indexes are kept. */
export const cacheFolder = (): string =>
  path.join(process.env['XDG_CACHE_HOME'] ?? path.join(homedir(), '.cache'), 'visurf', 'studio');

/** @throws UserError for a folder that is not there, a base that is no path, a port that is taken */
export async function startStudio({
  roots,
  port,
  host,
  token,
  base = '',
  images,
}: StudioOptions): Promise<StudioServer> {
  const prefix = base.replace(/\/+$/, '');
  if (prefix !== '' && !/^(\/[\w.~-]+)+$/.test(prefix))
    throw new UserError(`${base} is not a path`, { remedy: 'Name it as a browser sees it: --base /studio' });
  const copies = await openCopies(roots);
  const studio = new Studio(copies.folders, cacheFolder());
  const secret = host === undefined ? token : (token ?? randomBytes(18).toString('base64url'));
  const hosts = ['localhost', LOOPBACK, '[::1]'];
  const elsewhere = images === undefined ? undefined : new Elsewhere(images);
  const trier = new Trier();
  const app = createApp({
    studio,
    page: await loadPage(),
    hosts,
    elsewhere,
    token: secret,
    base: prefix,
    onTry: trier.ask,
  });
  const server = createAdaptorServer({ fetch: app.fetch });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const taken = error.code === 'EADDRINUSE';
      const remedy = taken ? 'Choose another --port; 0 takes one that is free.' : 'Choose another --host or --port.';
      reject(new UserError(taken ? `port ${port} is taken` : error.message, { where: host ?? LOOPBACK, remedy }));
    });
    server.listen(port, host ?? LOOPBACK, resolve);
  });
  studio.start();
  const { port: bound } = server.address() as AddressInfo;
  const shown =
    host === undefined || host === '0.0.0.0' || host === '::' ? LOOPBACK : host.includes(':') ? `[${host}]` : host;
  const secretPart = secret === undefined ? '' : `?token=${encodeURIComponent(secret)}`;
  return {
    link: `http://${shown}:${bound}${prefix}/${secretPart}`,
    close: async () => {
      copies.close();
      await Promise.all([studio.close(), trier.close()]);
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        if ('closeAllConnections' in server) server.closeAllConnections();
      });
    },
  };
}
