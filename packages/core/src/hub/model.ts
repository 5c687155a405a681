/** A model by its directory or by its name on the hub, as a directory on this machine. */
import { existsSync, readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { nearest, UserError } from '../errors.ts';
import { hasWeights, readListing, shardsOf } from './files.ts';
import { isHubId, parseHubName } from './id.ts';
import type { RemoteFile } from './listing.ts';
import { fromHub, type ListedFile, type RepositoryOptions, type Session } from './repository.ts';

export interface LocalModelOptions extends RepositoryOptions {
  /** False where config, tokenizer and image settings are enough. */
  readonly weights?: boolean;
}

/**
 * A directory with the model's files: the given one, or a snapshot in the cache that is completed from the hub.
 * @throws UserError for a model that does not exist, is gated, cannot be reached, or does not arrive as it should.
 */
export async function localModel(nameOrDirectory: string, options: LocalModelOptions = {}): Promise<string> {
  const { weights = true } = options;
  const name = parseHubName(nameOrDirectory);
  if (!name || !isHubId(nameOrDirectory)) {
    if (options.revision === undefined) return nameOrDirectory;
    throw new UserError('a directory has no revisions', {
      where: nameOrDirectory,
      remedy: 'Leave the revision out, or name a model of the hub, owner/name.',
    });
  }
  return await fromHub(
    'model',
    name,
    {
      async cached(cache, commit) {
        const directory = cache.snapshot(commit);
        return (await isComplete(directory, weights)) ? directory : undefined;
      },
      fetch: (session) => fetchModel(session, weights),
    },
    options,
  ).catch((error: unknown) => {
    const likely = error instanceof UserError ? neighbour(nameOrDirectory) : undefined;
    if (likely === undefined) throw error;
    const { reason, where, remedy } = error as UserError;
    throw new UserError(reason, { where, remedy: `Did you mean ${likely}? ${remedy ?? ''}`.trim(), cause: error });
  });
}

/** The folder here that a name is a slip of. */
function neighbour(name: string): string | undefined {
  const folder = path.dirname(name);
  if (!existsSync(folder)) return undefined;
  const likely = nearest(path.basename(name), readdirSync(folder));
  return likely === undefined ? undefined : path.join(folder, likely);
}

async function isComplete(directory: string, weights: boolean): Promise<boolean> {
  const has = (name: string): boolean => existsSync(path.join(directory, name));
  if (has('adapter_config.json') && has('adapter_model.safetensors')) return true;
  // The tokenizer comes before the weights: a snapshot with these is whole.
  if (!has('config.json') || !has('tokenizer.json')) return false;
  if (!weights || has('model.safetensors')) return true;
  if (!has('model.safetensors.index.json')) return false;
  const text = await readFile(path.join(directory, 'model.safetensors.index.json'), 'utf8');
  return shardsOf(text).every(has);
}

async function fetchModel(session: Session, weights: boolean): Promise<string> {
  const { id, cache, commit } = session;
  const entries = await session.list();
  const files = readListing(entries, weights, id);
  checkFiles(files, entries, id, weights);
  const narrow = async (file: RemoteFile): Promise<readonly RemoteFile[] | undefined> => {
    if (!file.path.endsWith('.index.json')) return undefined;
    const shards = shardsOf(await readFile(cache.blob(file.oid), 'utf8'));
    const lacking = shards.find((name) => !files.some((each) => each.path === name));
    if (lacking) throw new UserError(`${file.path} names ${lacking}, which the repository lacks`, { where: id });
    return files.filter(({ path: name }) => !name.startsWith('model-') || shards.includes(name));
  };
  await session.download(files, { narrow });
  return cache.snapshot(commit);
}

function checkFiles(files: readonly RemoteFile[], entries: readonly ListedFile[], id: string, weights: boolean): void {
  if (!files.some(({ path: name }) => name === 'config.json' || name === 'adapter_config.json')) {
    throw new UserError('the repository is no model: it has no config.json', { where: id });
  }
  if (!weights || hasWeights(files)) return;
  const pickled = entries.some(({ path: name }) => /\.(bin|pt|pth|pkl|ckpt)$/.test(name));
  throw new UserError('the repository has no weights as safetensors', {
    where: id,
    remedy: pickled
      ? 'Pickled weights are not loaded: opening one can run any program. Convert them first.'
      : undefined,
  });
}
