/**
 * Plugins: modules of the user's own that export tasks, rewards, readers and paradigms, named under `plugins` in a configuration. TypeScript runs
 * as it is (types are erased), and imports of `visurf` reach the running library wherever the module lies.
 *
 * A plugin is a program. It is loaded where its user names it, in a configuration or on the command line. A checkpoint holds
 * its name and hash only: it finds the file where this user named it before (known.ts), never inside a model.
 */
import { createHash } from 'node:crypto';
import { createRequire, registerHooks } from 'node:module';
import path from 'node:path';

import { fileError, hasCode, messageOf, UserError } from '../errors.ts';
import { readBytes } from '../regular.ts';
import type { RewardFunction } from '../reward/reward.ts';
import type { ParadigmDefinition } from '../schedule/definitions.ts';
import { registerParadigm } from '../schedule/registry.ts';
import { definedAs, type Kind } from '../tasks/defined.ts';
import { registerTask } from '../tasks/registry.ts';
import type { TaskDefinition } from '../tasks/task.ts';
import { registerReader } from '../data/formats/registry.ts';
import type { Reader } from '../data/formats/reader.ts';
import { rememberPlugin } from './known.ts';

export interface Plugin {
  /** Absolute path. */
  readonly file: string;
  /** Hash of its text. */
  readonly sha256: string;
  readonly tasks: readonly TaskDefinition[];
  readonly rewards: readonly RewardFunction[];
  readonly readers: readonly Reader[];
  readonly paradigms: readonly ParadigmDefinition[];
}

const loaded = new Map<string, Plugin>();

/**
 * Loads a plugin, once per process, and makes its tasks, readers and paradigms known.
 * @param named a path, relative to the working directory or absolute
 * @throws UserError where it cannot be read or fails, exports nothing that a plugin has, or takes a name that another has
 */
export function loadPlugin(named: string): Plugin {
  const file = path.resolve(named);
  const plugin = loaded.get(file) ?? read(file);
  loaded.set(file, plugin);
  plugin.tasks.forEach(registerTask);
  plugin.readers.forEach(registerReader);
  plugin.paradigms.forEach(registerParadigm);
  rememberPlugin(plugin);
  return plugin;
}

/** sha256 of a plugin's text. @throws UserError where it cannot be read */
export function pluginHash(file: string): string {
  try {
    return createHash('sha256').update(readBytes(file)).digest('hex');
  } catch (error) {
    throw fileError(error, { where: file, remedy: 'Name the file of the plugin: plugins, or --plugin FILE.' });
  }
}

function read(file: string): Plugin {
  const sha256 = pluginHash(file);
  reachLibrary();
  const exported = Object.values(run(file));
  const of = (kind: Kind): unknown[] => [...new Set(exported.filter((each) => definedAs(each) === kind))];
  const tasks = of('task') as TaskDefinition[];
  const rewards = of('reward') as RewardFunction[];
  const readers = of('reader') as Reader[];
  const paradigms = of('paradigm') as ParadigmDefinition[];
  if (tasks.length + rewards.length + readers.length + paradigms.length === 0) {
    throw new UserError('the plugin exports no task and no reward, no reader and no paradigm', {
      where: file,
      remedy: 'Export what defineTask, defineReward, defineReader or defineParadigm returns, by name or as default.',
    });
  }
  return { file, sha256, tasks, rewards, readers, paradigms };
}

function run(file: string): Record<string, unknown> {
  try {
    return createRequire(import.meta.url)(file) as Record<string, unknown>;
  } catch (cause) {
    if (cause instanceof UserError) throw cause;
    const remedy = hasCode(cause, 'ERR_REQUIRE_ASYNC_MODULE')
      ? 'A plugin has no await outside of functions: let its reward wait instead.'
      : undefined;
    throw new UserError(`the plugin failed to load: ${messageOf(cause)}`, { where: file, remedy, cause });
  }
}

const index = new URL(import.meta.url.endsWith('.ts') ? '../index.ts' : '../index.js', import.meta.url).href;
const offered: Readonly<Record<string, () => string>> = {
  visurf: () => index,
  '@visurf/core': () => index,
  zod: () => import.meta.resolve('zod'),
};
let isReached = false;

/** Makes `import 'visurf'` work for modules outside of any installation: what they cannot find themselves is this library. */
function reachLibrary(): void {
  if (isReached) return;
  isReached = true;
  registerHooks({
    resolve(specifier, context, next) {
      try {
        return next(specifier, context);
      } catch (error) {
        const isMissing = hasCode(error, 'ERR_MODULE_NOT_FOUND') || hasCode(error, 'MODULE_NOT_FOUND');
        if (!isMissing || !Object.hasOwn(offered, specifier)) throw error;
        return { url: offered[specifier]!(), shortCircuit: true };
      }
    },
  });
}
