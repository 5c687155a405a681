/** Which files of a repository make a model. Pickled weights are never among them: opening one runs what it holds. */
import { checkListing, type RemoteFile } from './listing.ts';

const settings =
  /^(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|chat_template|preprocessor_config|video_preprocessor_config|processor_config|adapter_config|experiment)\.json$|^merges\.txt$|^chat_template\.jinja$/;
const singleFile = 'model.safetensors';
const indexFile = 'model.safetensors.index.json';
const shard = /^model-\d{5}-of-\d{5}\.safetensors$/;
const adapter = 'adapter_model.safetensors';

/** @throws UserError where it is no listing */
export const readListing = (value: unknown, weights: boolean, id: string): RemoteFile[] =>
  checkListing(value, id, {
    noun: 'model',
    choose: (files) => modelFiles(files, weights),
    needsStrongHash: (path) => path.endsWith('.safetensors'),
  });

/** Settings first, then weights: one file, or the index and its shards. */
function modelFiles(files: readonly RemoteFile[], weights: boolean): RemoteFile[] {
  const names = new Set(files.map(({ path }) => path));
  const isWeight = (path: string): boolean => {
    if (path === adapter) return true;
    return names.has(singleFile) ? path === singleFile : path === indexFile || shard.test(path);
  };
  const rank = ({ path }: RemoteFile): number => (settings.test(path) ? 0 : path === indexFile ? 1 : 2);
  return files
    .filter(({ path }) => settings.test(path) || isWeight(path))
    .filter((file) => weights || rank(file) === 0)
    .sort((a, b) => rank(a) - rank(b) || (a.path < b.path ? -1 : 1));
}

export const hasWeights = (files: readonly RemoteFile[]): boolean =>
  files.some(({ path }) => path.endsWith('.safetensors'));

/** Names of the shards in an index, in order; none where it is malformed. */
export function shardsOf(index: string): string[] {
  try {
    const { weight_map: map } = JSON.parse(index) as { weight_map?: Record<string, unknown> };
    const names = Object.values(map ?? {}).filter((name): name is string => typeof name === 'string');
    return [...new Set(names)].sort();
  } catch {
    return [];
  }
}
