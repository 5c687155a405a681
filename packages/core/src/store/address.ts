/** Addresses in object stores, `s3://bucket/prefix`, and where on this machine what lies there is kept. */
import { homedir } from 'node:os';
import path from 'node:path';
import { UserError } from '../errors.ts';

export interface StoreAddress {
  readonly bucket: string;
  /** Without slashes at its ends. */
  readonly prefix: string;
}

/** Whether a name means a place in an object store, well formed or not. */
export const isStored = (name: string): boolean => /^s3:\//i.test(name);

/** @throws UserError for a name that is no address, or that of a whole bucket */
export function parseAddress(text: string): StoreAddress {
  const [, bucket, rest = ''] = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/(.*))?$/.exec(text) ?? [];
  const remedy = 'Write it as s3://bucket/prefix, such as s3://lab/runs/cars.';
  if (bucket === undefined) throw new UserError('is no address in an object store', { where: text, remedy });
  const prefix = rest.replace(/\/+$/, '');
  if (prefix === '') throw new UserError('names a bucket, and no place in it', { where: text, remedy });
  const isPlain = prefix.split('/').every((part) => /^[\w.=+@ -]+$/.test(part) && part !== '.' && part !== '..');
  if (isPlain) return { bucket, prefix };
  throw new UserError('has parts that are no names: letters, digits and . _ - = + @ are', { where: text, remedy });
}

export const addressOf = ({ bucket, prefix }: StoreAddress): string => `s3://${bucket}/${prefix}`;

/** Stores that are not that of Amazon are named by the variables of its own tools. */
export const endpoint = (): string | undefined =>
  [process.env['AWS_ENDPOINT_URL_S3'], process.env['AWS_ENDPOINT_URL']].find(
    (each) => each !== undefined && each !== '',
  );

/** The host of the endpoint: what may be shown of it, and tells stores apart. */
export function endpointHost(): string {
  const url = endpoint();
  if (url === undefined) return 'aws';
  if (URL.canParse(url)) return new URL(url).host;
  throw new UserError('is no URL', { where: 'AWS_ENDPOINT_URL', remedy: 'Such as https://storage.example.org:9000.' });
}

/**
 * The folder of this machine for what lies at an address: `runs` for a run that is trained here, `read` for copies of
 * others, which may be deleted at any time. The last part of its name is that of the address.
 */
export function localFolder(address: StoreAddress, kind: 'runs' | 'read'): string {
  const cache = process.env['XDG_CACHE_HOME'] ?? path.join(homedir(), '.cache');
  const name = address.prefix.split('/').at(-1)!;
  const store = endpointHost().replaceAll(':', '-');
  return path.join(cache, 'visurf', kind, store, address.bucket, encodeURIComponent(address.prefix), name);
}

/** The directory of this machine that a run with this output is written to. */
export const runDirectory = (output: string): string =>
  isStored(output) ? localFolder(parseAddress(output), 'runs') : output;
