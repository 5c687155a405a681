/** Names of models on the hub, as told from directories. */
import { existsSync } from 'node:fs';

const pattern = /^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*$/;

/** Whether a name is one of the hub, `owner/name`, where no such path exists. */
export function isHubId(name: string, path: string = name): boolean {
  return pattern.test(name) && !name.includes('..') && !name.includes('--') && !existsSync(path);
}
