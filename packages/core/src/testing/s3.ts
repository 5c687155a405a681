/**
 * Object stores for tests: one in memory, which does what S3 does with the requests that we make; and a proxy before any
 * that spoils them. `make store` asks the same of moto, which others test their programs with (oracle/s3.sh).
 */
import { createHash, randomUUID } from 'node:crypto';
import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';

interface Stored {
  readonly body: Buffer;
  readonly etag: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly modified: Date;
}

const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');

async function bodyOf(stream: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of stream) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

const listening = (server: Server): Promise<string> =>
  new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}`));
  });

const xml = (name: string, inside: string): string =>
  `<?xml version="1.0" encoding="UTF-8"?><${name} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${inside}</${name}>`;
const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');

interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

const send = (status: number, body: string | Buffer = '', headers: Record<string, string> = {}): Answer => ({
  ...{ status, body, headers },
});
const refuse = (status: number, code: string): Answer =>
  send(status, xml('Error', `<Code>${code}</Code><Message>${code}</Message>`));

/** An S3 in memory, with one bucket. */
export class MemoryS3 {
  readonly objects = new Map<string, Stored>();
  readonly uploads = new Map<string, { readonly key: string; readonly parts: Map<number, Buffer> }>();
  /** False: conditions of writes are not looked at, as in stores of older days. */
  conditions = true;
  readonly #bucket: string;
  readonly #server: Server;

  constructor(bucket: string) {
    this.#bucket = bucket;
    this.#server = createServer((request, response) => void this.#answer(request, response));
  }

  start(): Promise<string> {
    return listening(this.#server);
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { status, headers = {}, body = '' } = this.#respond(request, await bodyOf(request));
    response.writeHead(status, { 'content-length': Buffer.byteLength(body), ...headers });
    response.end(request.method === 'HEAD' ? '' : body);
  }

  #respond(request: IncomingMessage, body: Buffer): Answer {
    const { pathname, searchParams } = new URL(request.url!, 'http://host');
    const [, bucket, ...rest] = decodeURIComponent(pathname).split('/');
    if (bucket !== this.#bucket) return refuse(404, 'NoSuchBucket');
    const key = rest.join('/');
    if (key === '') {
      if (request.method !== 'GET') return refuse(501, 'NotImplemented');
      return send(200, searchParams.has('uploads') ? this.#listUploads(searchParams) : this.#list(searchParams));
    }
    const upload = searchParams.get('uploadId');
    const stored = this.objects.get(key);
    if (request.method === 'POST' && searchParams.has('uploads')) {
      const id = randomUUID();
      this.uploads.set(id, { key, parts: new Map() });
      return send(200, xml('InitiateMultipartUploadResult', `<UploadId>${id}</UploadId>`));
    }
    if (upload !== null) {
      const begun = this.uploads.get(upload);
      if (begun?.key !== key) return refuse(404, 'NoSuchUpload');
      if (request.method === 'PUT') {
        begun.parts.set(Number(searchParams.get('partNumber')), body);
        return send(200, '', { etag: `"${md5(body)}"` });
      }
      this.uploads.delete(upload);
      if (request.method === 'DELETE') return send(204);
      const parts = [...begun.parts].sort(([a], [b]) => a - b).map(([, part]) => part);
      const etag = `"${md5(Buffer.concat(parts.map((part) => Buffer.from(md5(part), 'hex'))))}-${parts.length}"`;
      this.objects.set(key, { body: Buffer.concat(parts), etag, metadata: {}, modified: new Date() });
      return send(200, xml('CompleteMultipartUploadResult', `<ETag>${etag}</ETag>`));
    }
    if (request.method === 'PUT') {
      const { 'if-match': match, 'if-none-match': none } = request.headers;
      if (this.conditions && none === '*' && stored) return refuse(412, 'PreconditionFailed');
      if (this.conditions && match !== undefined && !stored) return refuse(404, 'NoSuchKey');
      if (this.conditions && match !== undefined && match !== stored!.etag) return refuse(412, 'PreconditionFailed');
      const metadata = Object.entries(request.headers).filter(([name]) => name.startsWith('x-amz-meta-'));
      const etag = `"${md5(body)}"`;
      this.objects.set(key, { body, etag, metadata: Object.fromEntries(metadata) as never, modified: new Date() });
      return send(200, '', { etag });
    }
    if (request.method === 'DELETE') {
      this.objects.delete(key);
      return send(204);
    }
    if (!stored) return refuse(404, 'NoSuchKey');
    if (request.headers['if-match'] !== undefined && request.headers['if-match'] !== stored.etag)
      return refuse(412, 'PreconditionFailed');
    const headers = { etag: stored.etag, 'last-modified': stored.modified.toUTCString(), ...stored.metadata };
    const [, from] = /^bytes=(\d+)-$/.exec(request.headers.range ?? '') ?? [];
    if (from === undefined) return send(200, stored.body, headers);
    if (Number(from) >= stored.body.length) return refuse(416, 'InvalidRange');
    const length = stored.body.length;
    return send(206, stored.body.subarray(Number(from)), {
      ...headers,
      'content-range': `bytes ${from}-${length - 1}/${length}`,
    });
  }

  /** 100 a page, so that there are several. */
  #list(asked: URLSearchParams): string {
    const after = asked.get('continuation-token') ?? '';
    const keys = [...this.objects.keys()].filter((key) => key.startsWith(asked.get('prefix') ?? '') && key > after);
    const page = keys.sort((a, b) => (a < b ? -1 : 1)).slice(0, 100);
    const isMore = page.length < keys.length;
    const contents = page.map((key) => {
      const { body, etag, modified } = this.objects.get(key)!;
      return `<Contents><Key>${escaped(key)}</Key><Size>${body.length}</Size><ETag>${etag}</ETag><LastModified>${modified.toISOString()}</LastModified></Contents>`;
    });
    const next = isMore ? `<NextContinuationToken>${escaped(page.at(-1)!)}</NextContinuationToken>` : '';
    return xml('ListBucketResult', `<IsTruncated>${isMore}</IsTruncated>${next}${contents.join('')}`);
  }

  #listUploads(asked: URLSearchParams): string {
    const own = [...this.uploads].filter(([, { key }]) => key.startsWith(asked.get('prefix') ?? ''));
    const listed = own.map(([id, { key }]) => `<Upload><Key>${escaped(key)}</Key><UploadId>${id}</UploadId></Upload>`);
    return xml('ListMultipartUploadsResult', `<IsTruncated>false</IsTruncated>${listed.join('')}`);
  }
}

/** What happens to a request. */
export type Fault =
  /** The store says so. */
  | { readonly status: number; readonly code: string }
  /** The connection is cut before the store hears of it, after it has done it, or in the middle of its answer. */
  | 'cut'
  | 'lost answer'
  | 'half an answer'
  | { readonly milliseconds: number };

/** What is asked: `PUT prefix/config.yaml`, without the bucket. */
export interface Asked {
  readonly method: string;
  readonly key: string;
  /** Of all requests, from 0. */
  readonly number: number;
}

/** A way to a store on which things go wrong. */
export class FaultyWay {
  /** Decides about each request; unset: all goes well. */
  fault: ((asked: Asked) => Fault | undefined) | undefined;
  /** All requests. */
  readonly asked: Asked[] = [];
  readonly #target: string;
  readonly #server: Server;

  constructor(target: string) {
    this.#target = target;
    this.#server = createServer((request, response) => void this.#pass(request, response));
  }

  start(): Promise<string> {
    return listening(this.#server);
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await bodyOf(request).catch(() => undefined);
    if (!body) return;
    const { method = '', url = '', headers } = request;
    const key = decodeURIComponent(new URL(url, 'http://host').pathname).split('/').slice(2).join('/');
    const asked = { method, key, number: this.asked.length };
    this.asked.push(asked);
    const fault = this.fault?.(asked);
    if (fault === 'cut') return void request.socket.destroy();
    if (typeof fault === 'object' && 'status' in fault) {
      const text = xml('Error', `<Code>${fault.code}</Code><Message>${fault.code}</Message>`);
      response.writeHead(fault.status, { 'content-length': text.length }).end(method === 'HEAD' ? '' : text);
      return;
    }
    if (typeof fault === 'object') await new Promise((resolve) => setTimeout(resolve, fault.milliseconds));
    const onward = httpRequest(this.#target + url, { method, headers }, (answer) => {
      void bodyOf(answer).then((bytes) => {
        if (fault === 'lost answer') return void request.socket.destroy();
        response.writeHead(answer.statusCode!, answer.headers);
        if (fault !== 'half an answer') return void response.end(bytes);
        response.write(bytes.subarray(0, bytes.length >> 1), () => request.socket.destroy());
      });
    });
    onward.on('error', () => request.socket.destroy());
    onward.end(body);
  }
}

/** The store that tests ask: moto where VISURF_S3 has its address, else one in memory. */
export async function openTestStore(
  bucket: string,
): Promise<{ url: string; memory: MemoryS3 | undefined; close(): void }> {
  const url = process.env['VISURF_S3'];
  if (url !== undefined) {
    await fetch(`${url}/${bucket}`, { method: 'PUT' });
    return { url, memory: undefined, close: () => undefined };
  }
  const memory = new MemoryS3(bucket);
  return { url: await memory.start(), memory, close: () => memory.close() };
}
