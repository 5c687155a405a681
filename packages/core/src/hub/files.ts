/** Which files of a repository make a model. Pickled weights are never among them: opening one runs what it holds. */
import type { ListFileEntry } from '@huggingface/hub';

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

/** Settings first, then weights: one file, or the index and its shards. */
export function modelFiles(entries: readonly ListFileEntry[], weights: boolean): RemoteFile[] {
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
