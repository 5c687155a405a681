/** A server on this machine that answers as the hub does: revisions, trees, files with ranges, access. */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export const hash = (algorithm: 'sha1' | 'sha256', ...parts: (string | Buffer)[]): string => {
  const made = createHash(algorithm);
  for (const part of parts) made.update(part);
  return made.digest('hex');
};

export interface FakeRepo {
  readonly commit: string;
  readonly files: Readonly<Record<string, Buffer>>;
  /** Only with this token. */
  readonly token?: string;
}

export interface FakeHub extends Behaviour, AsyncDisposable {
  readonly url: string;
}

interface Behaviour {
  readonly requests: string[];
  /** Bytes after which each of the next downloads of large files breaks off. */
  readonly breaks: number[];
  /** Content served in place of the real one, by path. */
  readonly forged: Map<string, Buffer>;
  /** Statuses with which the next requests are refused. */
  readonly failures: number[];
  ranges: boolean;
}

const isLarge = (name: string): boolean => /\.(?:safetensors|bin|parquet)$/.test(name);

/** @param repos models and data sets by `owner/name`; every branch is `main` */
export async function startHub(repos: Readonly<Record<string, FakeRepo>>): Promise<FakeHub> {
  const hub: Behaviour = { requests: [], breaks: [], forged: new Map(), failures: [], ranges: true };
  const server = createServer((request, response) => answer(hub, repos, request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return Object.assign(hub, {
    url: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  });
}

function answer(
  hub: Behaviour,
  repos: Readonly<Record<string, FakeRepo>>,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const { pathname } = new URL(request.url ?? '/', 'http://localhost');
  hub.requests.push(`${pathname}${request.headers.range ? ` ${request.headers.range}` : ''}`);
  const refuse = (status: number, error: string): void => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ error }));
  };
  const failure = hub.failures.shift();
  if (failure !== undefined) return refuse(failure, 'out of order');
  const api = /^\/api\/(?:models|datasets)\/([^/]+\/[^/]+)\/(revision|tree)\/(.+)$/.exec(pathname);
  const file = /^(?:\/datasets)?\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(pathname);
  const [, id = '', ...rest] = api ?? file ?? [];
  const repo = repos[id];
  if (!repo) return refuse(404, 'Repository not found');
  if (repo.token && request.headers.authorization !== `Bearer ${repo.token}`) {
    return refuse(request.headers.authorization ? 403 : 401, `Access to model ${id} is restricted`);
  }
  const revision = decodeURIComponent((api ? rest[1] : rest[0]) ?? '');
  if (revision !== 'main' && revision !== repo.commit) return refuse(404, `Invalid rev id: ${revision}`);
  const json = (value: unknown): void => {
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
  };
  if (api && rest[0] === 'revision') return json({ _id: '1', id, sha: repo.commit, lastModified: '2026-01-01' });
  if (api) return json(Object.entries(repo.files).map(([path, content]) => treeEntry(path, content)));
  const name = decodeURIComponent(rest[1] ?? '');
  const content = hub.forged.get(name) ?? repo.files[name];
  if (!content) return refuse(404, 'Entry not found');
  serve(hub, name, content, request, response);
}

function treeEntry(path: string, content: Buffer): object {
  const oid = hash('sha1', `blob ${content.length}\0`, content);
  const entry = { type: 'file', path, size: content.length, oid };
  if (!isLarge(path)) return entry;
  return { ...entry, lfs: { oid: hash('sha256', content), size: content.length, pointerSize: 130 } };
}

function serve(
  hub: Behaviour,
  name: string,
  content: Buffer,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const range = hub.ranges ? /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') : null;
  const from = range ? Number(range[1]) : 0;
  const to = range?.[2] ? Number(range[2]) + 1 : content.length;
  response.writeHead(range ? 206 : 200, {
    'content-length': to - from,
    etag: '"x"',
    ...(range && { 'content-range': `bytes ${from}-${to - 1}/${content.length}` }),
  });
  const broken = isLarge(name) ? hub.breaks.shift() : undefined;
  if (broken === undefined) return void response.end(content.subarray(from, to));
  response.write(content.subarray(from, Math.min(to, from + broken)), () => setTimeout(() => response.destroy(), 20));
}
