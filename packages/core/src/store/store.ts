/**
 * Objects below an address, through Amazon's own client, which is loaded with the first use: an optional dependency (22 MB,
 * 26 packages). Credentials, region and endpoint are those that it finds: the environment, a profile, a role.
 *
 * Requests are tried four times; what fails then is for the caller to try later. Uploads in parts go on where they were.
 */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, open, stat, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Readable } from 'node:stream';
import type * as Sdk from '@aws-sdk/client-s3';
import { hasCode, UserError } from '../errors.ts';
import { isPath } from '../regular.ts';
import { addressOf, endpoint, endpointHost, type StoreAddress } from './address.ts';
import { explained, fileOf, isConflict, isExpired, isMissing, isTemporary, isUnknown, statusOf } from './failure.ts';

/** What goes wrong is thrown, and said by whoever asked: the client's own log may hold more than anybody should see. */
const unsaid = (): void => undefined;

const PACKAGE = '@aws-sdk/client-s3';
const ATTEMPTS = 4;
/** Milliseconds in which a connection must come about, and after which one that brings nothing is given up. */
const [CONNECTING, SILENCE] = [10_000, 30_000];
/** Bytes of a part of an upload; a file of fewer is sent at once. A store takes 10,000 parts, of 5 MiB at least. */
const PART = 16 << 20;
const MOST_PARTS = 9_000;
/** Parts that are under way at once. */
const PARALLEL = 4;
/** Bytes of an object that is read into memory. */
const LARGEST = 64 << 20;
/** Of a listing, with 1,000 objects each. */
const MOST_PAGES = 5_000;

export interface StoredObject {
  /** From the address. */
  readonly key: string;
  readonly bytes: number;
}

export interface Content {
  readonly body: Buffer;
  readonly etag: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** Milliseconds since it was written, by the store's own clock. */
  readonly age: number;
}

export interface WriteOptions {
  /** `absent`: there is no such object; else the etag of the one that is replaced. Where it does not hold: undefined. */
  readonly onlyIf?: string | undefined;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** An upload in parts that was begun. */
interface Begun {
  readonly id: string;
  readonly bytes: number;
  readonly modified: number;
  readonly parts: Map<number, string>;
}

export class ObjectStore {
  readonly address: StoreAddress;
  readonly #sdk: typeof Sdk;
  readonly #client: Sdk.S3Client;
  readonly #begun = new Map<string, Begun>();
  readonly #part: number;
  /** The store's clock, which is that of its `Last-Modified`, when it last answered: machines need not agree on the time. */
  #now = Date.now();
  #answers = 0;

  /**
   * @param part bytes of a part of an upload
   * @throws UserError where the client is not installed
   */
  static async open(address: StoreAddress, part = PART): Promise<ObjectStore> {
    endpointHost();
    let sdk: typeof Sdk;
    try {
      sdk = (await import(PACKAGE)) as typeof Sdk;
    } catch (error) {
      if (!hasCode(error, 'ERR_MODULE_NOT_FOUND')) throw error;
      throw new UserError(`object stores need the package ${PACKAGE}, which is not installed`, {
        where: addressOf(address),
        remedy: `Add it: npm install ${PACKAGE}`,
      });
    }
    return new ObjectStore(address, sdk, part);
  }

  private constructor(address: StoreAddress, sdk: typeof Sdk, part: number) {
    [this.address, this.#sdk, this.#part] = [address, sdk, part];
    const isElsewhere = endpoint() !== undefined;
    const region =
      process.env['AWS_REGION'] ?? process.env['AWS_DEFAULT_REGION'] ?? (isElsewhere ? 'us-east-1' : undefined);
    this.#client = new sdk.S3Client({
      ...(region !== undefined && { region }),
      // Stores of one's own have no names for buckets in the DNS, and not all know the checksums of newer clients.
      ...(isElsewhere && { forcePathStyle: true }),
      ...{ requestChecksumCalculation: 'WHEN_REQUIRED', responseChecksumValidation: 'WHEN_REQUIRED' },
      ...{ followRegionRedirects: true, maxAttempts: ATTEMPTS },
      requestHandler: { connectionTimeout: CONNECTING, socketTimeout: SILENCE },
      logger: { trace: unsaid, debug: unsaid, info: unsaid, warn: unsaid, error: unsaid },
    });
    this.#client.middlewareStack.add(
      (next) => async (request) => {
        const result = await next(request);
        const { headers, statusCode = 0 } = result.response as {
          headers?: Record<string, string>;
          statusCode?: number;
        };
        if (statusCode < 300) this.#answers += 1;
        const now = Date.parse(headers?.['date'] ?? '');
        if (!Number.isNaN(now)) this.#now = now;
        return result;
      },
      { step: 'deserialize', priority: 'low' },
    );
  }

  /** Requests that went well. */
  get answers(): number {
    return this.#answers;
  }

  /**
   * Objects whose keys begin so, and that can be files: a console makes objects for folders, `runs/`, and a key may be any
   * text.
   */
  async list(prefix = ''): Promise<StoredObject[]> {
    const own = `${this.address.prefix}/`;
    const found: StoredObject[] = [];
    let from: string | undefined;
    for (let pages = 0; pages < MOST_PAGES; pages++) {
      const page = await this.#client.send(
        new this.#sdk.ListObjectsV2Command({
          ...{ Bucket: this.address.bucket, Prefix: own + prefix },
          ...(from !== undefined && { ContinuationToken: from }),
        }),
      );
      for (const { Key = '', Size = 0 } of page.Contents ?? []) {
        const key = Key.slice(own.length);
        if (Key.startsWith(own) && isPath(key)) found.push({ key, bytes: Size });
      }
      from = page.IsTruncated ? page.NextContinuationToken : undefined;
      if (from === undefined) return found;
    }
    throw new UserError('the store lists objects without end', { where: addressOf(this.address) });
  }

  /** @returns undefined where there is none */
  async read(key: string): Promise<Content | undefined> {
    for (let attempt = 1; ; attempt++) {
      try {
        const answer = await this.#client.send(new this.#sdk.GetObjectCommand(this.#at(key)));
        const length = this.#lengthOf(key, answer);
        if (length > LARGEST) throw new UserError('is larger than it may be', { where: this.#name(key) });
        const body = Buffer.from(await answer.Body!.transformToByteArray());
        if (body.length !== length) throw new Error('the answer ended early');
        return {
          ...{ body, etag: answer.ETag ?? '', metadata: answer.Metadata ?? {} },
          age: Math.max(0, this.#now - (answer.LastModified?.getTime() ?? 0)),
        };
      } catch (error) {
        if (isMissing(error)) return undefined;
        // A body that is cut off is not tried again by the client.
        if (attempt === ATTEMPTS || !isTemporary(error) || statusOf(error) !== undefined) throw error;
      }
    }
  }

  /** @returns the etag; undefined where the condition does not hold */
  async write(
    key: string,
    body: string | Uint8Array,
    { onlyIf, metadata }: WriteOptions = {},
  ): Promise<string | undefined> {
    const condition = onlyIf === undefined ? {} : onlyIf === 'absent' ? { IfNoneMatch: '*' } : { IfMatch: onlyIf };
    try {
      const { ETag = '' } = await this.#client.send(
        new this.#sdk.PutObjectCommand({
          ...{ ...this.#at(key), Body: Buffer.from(body), ...condition },
          ...(metadata && { Metadata: { ...metadata } }),
        }),
      );
      return ETag;
    } catch (error) {
      // The object that is to be replaced is gone: somebody has removed it.
      if (onlyIf !== undefined && (isConflict(error) || isMissing(error))) return undefined;
      if (onlyIf !== undefined && isUnknown(error))
        return await this.write(key, body, { ...(metadata && { metadata }) });
      throw error;
    }
  }

  /** Sends a file, in parts where it is large; after a failure the next call for the same file sends what is missing. */
  async upload(key: string, file: string): Promise<void> {
    const handle = await open(file);
    try {
      const { size, mtimeMs } = await handle.stat();
      if (size <= this.#part) {
        await this.write(key, await readAt(handle, 0, size));
        return;
      }
      await this.#uploadParts(key, handle, size, mtimeMs);
    } finally {
      await handle.close();
    }
  }

  async #uploadParts(key: string, handle: FileHandle, bytes: number, modified: number): Promise<void> {
    const at = this.#at(key);
    const begun = await this.#beginUpload(key, bytes, modified);
    const length = Math.max(this.#part, Math.ceil(bytes / MOST_PARTS));
    const count = Math.ceil(bytes / length);
    const before = begun.parts.size;
    try {
      const missing = Array.from({ length: count }, (_, i) => i + 1).filter((number) => !begun.parts.has(number));
      await inParallel(PARALLEL, missing, async (number) => {
        const from = (number - 1) * length;
        const Body = await readAt(handle, from, Math.min(length, bytes - from));
        const { ETag = '' } = await this.#client.send(
          new this.#sdk.UploadPartCommand({ ...at, UploadId: begun.id, PartNumber: number, Body }),
        );
        begun.parts.set(number, ETag);
      });
      const Parts = [...begun.parts].sort(([a], [b]) => a - b).map(([PartNumber, ETag]) => ({ PartNumber, ETag }));
      await this.#client.send(
        new this.#sdk.CompleteMultipartUploadCommand({ ...at, UploadId: begun.id, MultipartUpload: { Parts } }),
      );
    } catch (error) {
      const isForgotten = error instanceof Error && error.name === 'NoSuchUpload';
      // Completed, by a request whose answer was lost.
      const isDone = isForgotten && begun.parts.size === count && (await this.#size(key)) === bytes;
      if (!isDone) {
        // What the store refuses although it answers is begun anew; what it does not hear goes on.
        const status = statusOf(error);
        const isRefused = status !== undefined && ![401, 403, 429, 503].includes(status) && !isExpired(error);
        if (isRefused && begun.parts.size === before) this.#begun.delete(key);
        throw error;
      }
    }
    this.#begun.delete(key);
  }

  async #beginUpload(key: string, bytes: number, modified: number): Promise<Begun> {
    const known = this.#begun.get(key);
    if (known?.bytes === bytes && known.modified === modified) return known;
    if (known) await this.#abort(key, known.id).catch(() => undefined);
    const { UploadId = '' } = await this.#client.send(new this.#sdk.CreateMultipartUploadCommand(this.#at(key)));
    const begun = { id: UploadId, bytes, modified, parts: new Map<number, string>() };
    this.#begun.set(key, begun);
    return begun;
  }

  /** Drops uploads in parts that an earlier process did not finish: they cost, and nobody sees them. */
  async abortOthers(): Promise<void> {
    const own = `${this.address.prefix}/`;
    const { Uploads = [] } = await this.#client.send(
      new this.#sdk.ListMultipartUploadsCommand({ Bucket: this.address.bucket, Prefix: own }),
    );
    const mine = new Set([...this.#begun.values()].map(({ id }) => id));
    for (const { Key = '', UploadId = '' } of Uploads)
      if (!mine.has(UploadId)) await this.#abort(Key.slice(own.length), UploadId);
  }

  async #abort(key: string, UploadId: string): Promise<void> {
    await this.#client.send(new this.#sdk.AbortMultipartUploadCommand({ ...this.#at(key), UploadId }));
  }

  async #size(key: string): Promise<number | undefined> {
    const { ContentLength } = await this.#client.send(new this.#sdk.HeadObjectCommand(this.#at(key)));
    return ContentLength;
  }

  /**
   * Receives a file; a connection that is cut is taken up where it was.
   * @returns sha256 of what came, in hexadecimal
   */
  async download(key: string, file: string): Promise<Pick<Content, 'metadata'> & { readonly sha256: string }> {
    await mkdir(path.dirname(file), { recursive: true });
    let etag: string | undefined;
    let metadata: Content['metadata'];
    for (let attempt = 1; ; attempt++) {
      const have = etag === undefined ? 0 : await sizeOf(file);
      try {
        const answer = await this.#client.send(
          new this.#sdk.GetObjectCommand({
            ...this.#at(key),
            ...(have > 0 && { Range: `bytes=${have}-`, IfMatch: etag! }),
          }),
        );
        [etag, metadata] = [answer.ETag, answer.Metadata ?? {}];
        const isRest = have > 0 && statusOf(answer) === 206;
        if (isRest && !answer.ContentRange?.startsWith(`bytes ${have}-`))
          throw new UserError('the store sends another part than it is asked for', { where: this.#name(key) });
        const expected = this.#lengthOf(key, answer) + (isRest ? have : 0);
        await pipeline(answer.Body as Readable, createWriteStream(file, { flags: isRest ? 'a' : 'w' }));
        if ((await sizeOf(file)) !== expected) throw Object.assign(new Error('cut off'), { code: 'ECONNRESET' });
        break;
      } catch (error) {
        const moved = etag !== undefined && (await sizeOf(file)) > have;
        // Of an object that was replaced the rest fits no longer.
        if (isConflict(error) || statusOf(error) === 416) etag = undefined;
        else if (fileOf(error) !== undefined || !isTemporary(error) || (attempt >= ATTEMPTS && !moved)) throw error;
        if (attempt > 100) throw error;
      }
    }
    const hash = createHash('sha256');
    for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
    return { sha256: hash.digest('hex'), metadata };
  }

  async remove(key: string): Promise<void> {
    await this.#client.send(new this.#sdk.DeleteObjectCommand(this.#at(key)));
  }

  close(): void {
    this.#client.destroy();
  }

  /** A UserError for what the store refused. */
  explain(error: unknown): unknown {
    return explained(error, addressOf(this.address), endpointHost());
  }

  /** Bytes of an answer: of one that does not say so nobody knows where it ends. @throws UserError */
  #lengthOf(key: string, { ContentLength: length }: { readonly ContentLength?: number | undefined }): number {
    if (length !== undefined) return length;
    throw new UserError('the store does not say how long it is', { where: this.#name(key) });
  }

  #at(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.address.bucket, Key: `${this.address.prefix}/${key}` };
  }

  #name(key: string): string {
    return `${addressOf(this.address)}/${key}`;
  }
}

/** 0 where there is no file. */
const sizeOf = async (file: string): Promise<number> => (await stat(file).catch(() => undefined))?.size ?? 0;

async function readAt(handle: FileHandle, from: number, bytes: number): Promise<Buffer> {
  const buffer = Buffer.alloc(bytes);
  let done = 0;
  while (done < bytes) {
    const { bytesRead } = await handle.read(buffer, done, bytes - done, from + done);
    if (bytesRead === 0) throw Object.assign(new Error('the file has become shorter'), { code: 'ENOENT' });
    done += bytesRead;
  }
  return buffer;
}

/** Some at a time. @throws the first failure, when those under way have ended */
export async function inParallel<T>(count: number, all: readonly T[], work: (each: T) => Promise<void>): Promise<void> {
  const queue = all.values();
  const failures: unknown[] = [];
  const worker = async (): Promise<void> => {
    for (const each of queue) {
      if (failures.length > 0) return;
      await work(each).catch((error: unknown) => void failures.push(error));
    }
  };
  await Promise.all(Array.from({ length: count }, worker));
  if (failures.length > 0) throw failures[0];
}
