/**
 * Names of runs that say what is trained: those of paradigms and presets, alone or as the beginning of a longer one, and of
 * methods that others have. A table must not call a run by the name of another method.
 */
import { isDeepStrictEqual } from 'node:util';

import { valueAt } from '../config/keys.ts';
import { plainName } from '../config/peers.ts';
import { presets } from '../config/presets.ts';
import type { Config, Preset } from '../config/schema.ts';
import { UserError } from '../errors.ts';
import { paradigmNames } from '../schedule/registry.ts';

const isPreset = (name: string): name is Preset => Object.hasOwn(presets, name);

/** Keys that a name alone fills in: a paradigm itself, a preset with RLVR, which it is a variant of. */
export function impliedBy(name: string): { readonly paradigm?: string; readonly preset?: string } {
  if (paradigmNames().includes(name)) return { paradigm: name };
  return isPreset(name) ? { paradigm: 'rlvr', preset: name } : {};
}

/** Methods of other trainers that are neither a paradigm nor a preset here. */
const ELSEWHERE: readonly string[] = ['ppo', 'dpo', 'kto', 'orpo', 'raft', 'remax', 'reinforce', 'cispo'];

const plain = (name: string): string => plainName(name).replaceAll('.', '');

/** The method that a name is or begins with, the longest of several; undefined where it names none. */
function methodIn(name: string): string | undefined {
  const all = [...paradigmNames(), ...Object.keys(presets), ...ELSEWHERE];
  const methods = new Map([['rl', 'rlvr'], ...all.map((each) => [plain(each), each] as const)]);
  const words = name.split(/(?<=[-_.])/);
  const beginnings = words.map((_, i) => plain(words.slice(0, words.length - i).join('')));
  return methods.get(beginnings.find((each) => methods.has(each)) ?? '');
}

/**
 * @param changes of the run to what all share, as `key=value`
 * @throws UserError where a run trains another method than its name says
 */
export function checkName(name: string, changes: readonly string[], config: Config): void {
  const method = methodIn(name);
  if (method === undefined || method === config.paradigm) return;
  const own = changes.map((change) => change.slice(0, change.indexOf('=')));
  if (ELSEWHERE.includes(method)) {
    if (own.includes('paradigm')) return;
    throw new UserError(`there is no ${method} here: it trains ${config.paradigm}`, {
      remedy: 'Name its paradigm in the run, or give it another name.',
    });
  }
  const missing = isPreset(method)
    ? Object.entries(presets[method].settings).filter(
        ([key, value]) => !own.includes(key) && !isDeepStrictEqual(valueAt(config, key), value),
      )
    : [];
  if (isPreset(method) && config.paradigm === 'rlvr' && missing.length === 0) return;
  const without = missing.map(([key, value]) => `${key}=${String(value)}`).join(', ');
  const said = isPreset(method) ? `paradigm: rlvr, preset: ${method}` : `paradigm: ${method}`;
  throw new UserError(
    `it is named after ${method}, and trains ${config.paradigm}${without === '' ? '' : ` without ${without}`}`,
    { remedy: `Say in the run what it is (${said}), or give it another name.` },
  );
}
