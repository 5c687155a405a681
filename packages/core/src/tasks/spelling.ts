/** How the same answer can be spelled: axes that the surface forms of tasks are made of. */

/** After colons, between keys and objects, between numbers. */
export const SPACINGS = {
  compact: { colon: ':', comma: ',', inner: ',' },
  spaced: { colon: ': ', comma: ', ', inner: ', ' },
  'tight-lists': { colon: ': ', comma: ', ', inner: ',' },
} as const;
export type Spacing = keyof typeof SPACINGS;

/** Around JSON in an answer block. */
export const WRAPS = {
  bare: (json: string) => json,
  lines: (json: string) => `\n${json}\n`,
  fence: (json: string) => `\n\`\`\`json\n${json}\n\`\`\`\n`,
} as const;
export type Wrap = keyof typeof WRAPS;

export const keysOf = <T extends object>(record: T): (keyof T)[] => Object.keys(record) as (keyof T)[];

/** The spacing that JSON with boxes or points is written in; undefined: none of ours. */
export function spacingOf(json: string): Spacing | undefined {
  const colon = /":\s/.test(json);
  const inner = /\d,\s/.test(json);
  if (inner && !colon) return undefined;
  return inner ? 'spaced' : colon ? 'tight-lists' : 'compact';
}

/** The wrap of an answer block. */
export const wrapOf = (block: string): Wrap =>
  block.trim().startsWith('```') ? 'fence' : /^\s/.test(block) ? 'lines' : 'bare';
