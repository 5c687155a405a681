/**
 * Tokens beside the vocabulary, from every file that may name them. As in the reference: `tokenizer.json` names most;
 * `added_tokens_decoder` of tokenizer_config.json (older: special_tokens_map.json, added_tokens.json) adds others, and has
 * the last word about what is special; a token with a role (`eos_token`, `image_token`, `extra_special_tokens`, ..) is.
 */
import { z } from 'zod';
import { readJson } from './files.ts';

const declared = z.looseObject({ content: z.string(), special: z.boolean().default(false) });
const id = z.int().nonnegative();
export const addedToken = declared.extend({ id });
/** Ids by text. */
export const ids = z.record(z.string(), id);
type AddedToken = z.output<typeof addedToken>;

const named = z.union([z.string(), z.looseObject({ content: z.string() }).transform(({ content }) => content)]);
const several = z.union([z.array(named), z.record(z.string(), named).transform((all) => Object.values(all))]).nullish();

export const roles = z.looseObject({
  additional_special_tokens: several,
  extra_special_tokens: several,
  added_tokens_decoder: z.record(z.string(), declared).nullish(),
});
type Roles = z.output<typeof roles>;

/** Texts of tokens that have a role. */
function withRole(config: Roles): string[] {
  const { additional_special_tokens: older, extra_special_tokens: newer } = config;
  const own = Object.entries(config).flatMap(([key, value]) => {
    const read = key.endsWith('_token') ? named.safeParse(value) : undefined;
    return read?.success ? [read.data] : [];
  });
  return [...own, ...(newer && newer.length > 0 ? newer : (older ?? []))];
}

/** What older files say beside tokenizer_config.json, where that lists no tokens; `schema` reads them alike. */
export function withOlderFiles<Config extends Roles>(
  directory: string,
  config: Config,
  schema: z.ZodType<Config>,
): Config {
  if (config.added_tokens_decoder) return config;
  const merged: Config = { ...config, ...readJson(directory, 'special_tokens_map.json', schema) };
  const added = readJson(directory, 'added_tokens.json', ids);
  if (!added) return merged;
  const special = new Set(withRole(merged));
  const decoder = Object.entries(added).map(([content, own]) => {
    const isSpecial = special.has(content);
    return [String(own), { content, special: isSpecial, normalized: !isSpecial }] as const;
  });
  return { ...merged, added_tokens_decoder: Object.fromEntries(decoder) };
}

/**
 * @param tokens those of tokenizer.json
 * @param vocabulary ids of all others; a token that is in neither is given the next id
 */
export function addedTokens(
  tokens: readonly AddedToken[],
  vocabulary: Readonly<Record<string, number>>,
  config: Roles,
): AddedToken[] {
  const all = new Map(tokens.map((each) => [each.content, each]));
  let next = all.values().reduce((largest, each) => Math.max(largest, each.id + 1), Object.keys(vocabulary).length);
  const idOf = (content: string): number =>
    all.get(content)?.id ?? (Object.hasOwn(vocabulary, content) ? vocabulary[content]! : next++);
  const later = Object.entries(config.added_tokens_decoder ?? {}).sort(([a], [b]) => Number(a) - Number(b));
  for (const [, token] of later) all.set(token.content, { ...token, id: idOf(token.content) });
  for (const content of withRole(config)) {
    const known = all.get(content) ?? { content, normalized: false, id: idOf(content) };
    all.set(content, { ...known, special: true });
  }
  return [...all.values()];
}
