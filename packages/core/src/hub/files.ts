/** Which files of a repository make a model. Pickled weights are never among them: opening one runs what it holds. */
import type { ListFileEntry } from '@huggingface/hub';
import { z } from 'zod';
import { UserError } from '../errors.ts';

export interface RemoteFile {
  readonly path: string;
  readonly size: number;
  /** Name of the blob: SHA-256 of large files, the git object of small ones. */
  readonly oid: string;
  readonly sha256: boolean;
}

const settings =
  /^(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|chat_template|preprocessor_config|video_preprocessor_config|processor_config|adapter_config|experiment)\.json$|^merges\.txt$|^chat_template\.jinja$/;
const singleFile = 'model.safetensors';
const indexFile = 'model.safetensors.index.json';
const shard = /^model-\d{5}-of-\d{5}\.safetensors$/;
const adapter = 'adapter_model.safetensors';

/** The most files that are listed, and bytes that are downloaded: more are no model, or an attack. */
export const MAX_FILES = 100_000;
const MAX_BYTES = 2 ** 43;

const entry = z.object({
  type: z.string(),
  path: z.string(),
  size: z.int().nonnegative(),
  oid: z.string().optional(),
  lfs: z.object({ oid: z.string(), size: z.int().nonnegative() }).optional(),
});

/**
 * What a hub says of the files of a repository, of which nothing is believed: a hash becomes the name of a file here.
 * @throws UserError where it is no listing
 */
export function readListing(value: unknown, weights: boolean, id: string): RemoteFile[] {
  const fail = (what: string): never => {
    throw new UserError(`the hub's list of files is not one: ${what}`, {
      where: id,
      remedy: 'Check HF_ENDPOINT and the network between.',
    });
  };
  const parsed = z.array(entry).max(MAX_FILES).safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    return fail(`${issue!.path.join('.')}: ${issue!.message}`);
  }
  const files = modelFiles(parsed.data as ListFileEntry[], weights);
  for (const { path, oid, sha256 } of files) {
    if (!(sha256 ? /^[0-9a-f]{64}$/ : /^[0-9a-f]{40}$/).test(oid)) fail(`${path} has no hash`);
  }
  if (new Set(files.map(({ path }) => path)).size < files.length) fail('a file is there twice');
  if (files.reduce((sum, { size }) => sum + size, 0) > MAX_BYTES) fail('the files are larger than any model');
  // Small files have git's own hash alone, which is weak: weights must have a strong one.
  const weak = files.find(({ path, sha256 }) => path.endsWith('.safetensors') && !sha256);
  if (weak && weak.size > MAX_WEAK) fail(`${weak.path} has no SHA-256`);
  return files;
}

/** Bytes up to which a hub may keep a file in git itself. */
const MAX_WEAK = 16 << 20;

/** Settings first, then weights: one file, or the index and its shards. */
function modelFiles(entries: readonly ListFileEntry[], weights: boolean): RemoteFile[] {
  const names = new Set(entries.map(({ path }) => path));
  const isWeight = (path: string): boolean => {
    if (path === adapter) return true;
    return names.has(singleFile) ? path === singleFile : path === indexFile || shard.test(path);
  };
  const wanted = entries.filter(({ path, type }) => type === 'file' && (settings.test(path) || isWeight(path)));
  const rank = ({ path }: ListFileEntry): number => (settings.test(path) ? 0 : path === indexFile ? 1 : 2);
  return wanted
    .filter((entry) => weights || rank(entry) === 0)
    .sort((a, b) => rank(a) - rank(b) || (a.path < b.path ? -1 : 1))
    .map(({ path, size, oid = '', lfs }) => ({
      path,
      size: lfs?.size ?? size,
      oid: lfs?.oid ?? oid,
      sha256: lfs !== undefined,
    }));
}

export const hasWeights = (files: readonly RemoteFile[]): boolean =>
  files.some(({ path }) => path.endsWith('.safetensors'));
