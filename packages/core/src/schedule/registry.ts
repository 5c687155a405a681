/** The paradigms that a configuration can name: those that are published (definitions.ts), and those of plugins. */
import { UserError } from '../errors.ts';
import { markDefined } from '../tasks/defined.ts';
import { published, type ParadigmDefinition } from './definitions.ts';

const known = new Map(published.map((definition) => [definition.name, definition]));

/** Names that stand in files and on the command line. */
const NAME = /^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$/;

/**
 * Makes a paradigm known under its name, and returns it.
 * @example
 * defineParadigm({
 *   name: 'labels-first', samples: true, label: 'member',
 *   work: ({ promptsPerStep: prompts, rollout, steps }, step) => ({
 *     rl: 1, sft: 0,
 *     parts: [{ prompts, rollouts: rollout.group, label: step <= steps / 2 ? 'member' : 'none' }],
 *   }),
 * });
 * @throws UserError where the name is taken, or is none, or something is missing
 */
export function defineParadigm<Definition extends ParadigmDefinition>(definition: Definition): Definition {
  const { name, samples, label, work } = definition;
  if (typeof name !== 'string' || !NAME.test(name)) {
    throw new UserError(`${JSON.stringify(name)} is no name of a paradigm`, {
      remedy: 'Give it one of small letters, digits and dashes, such as labels-first.',
    });
  }
  const missing = [
    ...(typeof samples === 'boolean' ? [] : ['samples: true or false']),
    ...(['member', 'target', 'none'].includes(label) ? [] : ['label: member, target or none']),
    ...(typeof work === 'function' ? [] : ['work: a function']),
  ];
  if (missing.length > 0) throw new UserError(`the paradigm "${name}" lacks ${missing.join(', ')}`);
  registerParadigm(definition);
  return markDefined(definition, 'paradigm');
}

/** Makes a paradigm known that may be known already. @throws UserError where another one has its name */
export function registerParadigm(definition: ParadigmDefinition): void {
  const own = known.get(definition.name);
  if (own !== undefined && own !== definition) {
    throw new UserError(`there already is a paradigm named "${definition.name}"`);
  }
  known.set(definition.name, definition);
}

/** Those that are published come first. */
export const paradigmNames = (): string[] => [...known.keys()];

export const paradigmNamed = (name: unknown): ParadigmDefinition | undefined => known.get(name as string);

/** The definition of a paradigm that a configuration has, which the schema has checked. */
export function definitionOf({ paradigm }: { readonly paradigm: string }): ParadigmDefinition {
  const found = known.get(paradigm);
  if (found === undefined) throw new Error(`no paradigm is named ${paradigm}`);
  return found;
}
