/** Names of models and data sets on the hub, `owner/name` or `owner/name@revision`, as told from paths. */
import { existsSync } from 'node:fs';

/** What a repository of the hub holds. */
export type Kind = 'model' | 'dataset';

/** A repository, and the branch, tag or commit of it that is meant; unset: `main`. */
export interface HubName {
  readonly id: string;
  readonly revision?: string | undefined;
}

const pattern = /^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*$/;

/** What a name of that form says. Whatever follows an `@` is the revision, also where it is none. */
export function parseHubName(name: string): HubName | undefined {
  const [id = '', ...rest] = name.split('@');
  if (!pattern.test(id) || id.includes('..') || id.includes('--')) return undefined;
  return rest.length === 0 ? { id } : { id, revision: rest.join('@') };
}

/** The name of a model on the hub and its commit, by its directory in a cache of downloads. */
export function hubName(directory: string): { readonly id: string; readonly revision: string } | undefined {
  const [, owner, name, revision] =
    /[/\\]models--([\w.-]+?)--([\w.-]+)[/\\]snapshots[/\\]([0-9a-f]{40})$/.exec(directory) ?? [];
  return owner === undefined ? undefined : { id: `${owner}/${name}`, revision: revision! };
}

/** Whether a name is one of the hub, where no such path exists. */
export function isHubId(name: string, path: string = name): boolean {
  return parseHubName(name) !== undefined && !existsSync(path);
}

/** The folder of a repository in a cache of downloads that holds a folder, which is in a snapshot of it. */
export const repositoryOf = (folder: string): string | undefined =>
  /^(.*[/\\](?:models|datasets)--[^/\\]+)[/\\]snapshots[/\\][0-9a-f]{40}(?=[/\\]|$)/.exec(folder)?.[1];
