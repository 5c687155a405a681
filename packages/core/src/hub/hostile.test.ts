/** A hub that means harm gets no file of ours, no token, and no memory. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { UserError } from '../errors.ts';
import { localModel } from './model.ts';
import { hash } from './testkit.ts';

const commit = 'c'.repeat(40);
const config = Buffer.from('{"model_type": "qwen2_vl"}');
const entry = {
  type: 'file',
  path: 'config.json',
  size: config.length,
  oid: hash('sha1', `blob ${config.length}\0`, config),
};
const token = 'hf_secret';

let folder: string;
let opened: { close: () => void }[] = [];
beforeEach(() => void (folder = mkdtempSync(path.join(tmpdir(), 'hostile-'))));
afterEach(() => {
  for (const each of opened) each.close();
  opened = [];
  rmSync(folder, { recursive: true });
});

type Answer = (request: IncomingMessage, response: ServerResponse) => unknown;

async function serve(answer: Answer): Promise<string> {
  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  opened.push({ close: () => (server.closeAllConnections(), server.close()) });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const json = (response: ServerResponse, value: unknown, headers = {}): unknown =>
  response.writeHead(200, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value));

/** A hub that answers as it should, but for this. */
const hub = (own: { readonly sha?: string; readonly tree?: Answer; readonly file?: Answer }): Promise<string> =>
  serve((request, response) => {
    const url = request.url ?? '';
    if (url.includes('/revision/')) return json(response, { id: 'owner/model', sha: own.sha ?? commit });
    if (url.includes('/tree/')) return (own.tree ?? (() => json(response, [entry])))(request, response);
    return (own.file ?? (() => response.writeHead(200, { 'content-length': config.length }).end(config)))(
      request,
      response,
    );
  });

const ask = (endpoint: string): Promise<string> =>
  localModel('owner/model', { cacheDir: folder, endpoint, patience: 1, token, weights: false });

async function refusal(endpoint: string): Promise<string> {
  const error: unknown = await ask(endpoint).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(UserError);
  return (error as Error).message;
}

test('hashes that are none link no file into the snapshot', async () => {
  const local = path.join(folder, 'secret');
  writeFileSync(local, config);
  const blobs = path.join(folder, 'models--owner--model/blobs');
  for (const oid of [path.relative(blobs, local), local, '..', '', 'g'.repeat(40), `${'a'.repeat(40)}/..`]) {
    const tree: Answer = (_, response) => json(response, [{ ...entry, oid }]);
    expect(await refusal(await hub({ tree }))).toContain('config.json has no hash');
  }
  for (const oid of ['../../../secret', 'a'.repeat(63)]) {
    const tree: Answer = (_, response) => json(response, [{ ...entry, lfs: { oid, size: 1, pointerSize: 1 } }]);
    expect(await refusal(await hub({ tree }))).toContain('config.json has no hash');
  }
  expect(existsSync(path.join(folder, 'models--owner--model/snapshots'))).toBe(false);
});

test('a commit that is none names no folder', async () => {
  for (const sha of ['../../../elsewhere', 'main', '', 'C'.repeat(40)])
    expect(await refusal(await hub({ sha }))).toContain('the hub names no commit');
});

test('content of another length or hash is not kept', async () => {
  const file: Answer = (_, response) => response.writeHead(200).end(Buffer.alloc(config.length, 'x'));
  expect(await refusal(await hub({ file }))).toContain('the content has the hash');
  const large: Answer = (_, response) => json(response, [{ ...entry, size: 2 ** 50 }]);
  expect(await refusal(await hub({ tree: large }))).toContain('larger than any model');
});

test('the token goes to no other host: not by a redirect, not by a link in a listing', async () => {
  const seen: (string | undefined)[] = [];
  const elsewhere = await serve((request, response) => {
    seen.push(request.headers.authorization);
    if (request.url?.includes('tree')) return json(response, []);
    return response.writeHead(200, { 'content-length': config.length }).end(config);
  });
  const file: Answer = (_, response) => response.writeHead(302, { location: `${elsewhere}/file` }).end();
  const tree: Answer = (_, response) => json(response, [entry], { link: `<${elsewhere}/tree>; rel="next"` });
  await ask(await hub({ file, tree }));
  expect(seen.length).toBeGreaterThanOrEqual(2);
  expect(seen.filter((each) => each !== undefined)).toEqual([]);
});

test('a listing without end, and a description without end, are given up', async () => {
  const endless: Answer = (request, response) =>
    json(response, [], { link: `<http://${request.headers.host}/api/tree/more>; rel="next"` });
  expect(await refusal(await hub({ tree: endless }))).toContain('again and again');
  const long: Answer = (_, response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    const more = (): void => {
      if (response.write(Buffer.alloc(1 << 20, ' '))) setImmediate(more);
      else response.once('drain', more);
    };
    more();
  };
  expect(await refusal(await hub({ tree: long }))).toContain('more than any description has');
});
