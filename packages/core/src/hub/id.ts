/** Names of models on the hub, as told from directories. */
import { existsSync } from 'node:fs';

const pattern = /^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*$/;

/** The name of a model on the hub and its commit, by its directory in a cache of downloads. */
export function hubName(directory: string): { readonly id: string; readonly revision: string } | undefined {
  const [, owner, name, revision] =
    /[/\\]models--([\w.-]+?)--([\w.-]+)[/\\]snapshots[/\\]([0-9a-f]{40})$/.exec(directory) ?? [];
  return owner === undefined ? undefined : { id: `${owner}/${name}`, revision: revision! };
}

/** Whether a name is one of the hub, `owner/name`, where no such path exists. */
export function isHubId(name: string, path: string = name): boolean {
  return pattern.test(name) && !name.includes('..') && !name.includes('--') && !existsSync(path);
}
