/** How a batch is cut into what is in memory at once. */

/** A prompt and its responses as one row [prompt | K responses of T]. */
export interface RowSize {
  readonly prompt: number;
  readonly responses: number;
  /** Tokens of the longest response. */
  readonly tokens: number;
}

export interface MicroBatchLimits {
  readonly prompts: number;
  /** Tokens of all rows, padding included; unset: any number. */
  readonly tokens?: number | undefined;
}

const largest = (rows: readonly RowSize[], of: (row: RowSize) => number): number =>
  rows.reduce((most, row) => Math.max(most, of(row)), 0);

/** Rows are padded to the longest prompt, to the most responses and to the longest response. */
export const paddedTokens = (rows: readonly RowSize[]): number =>
  rows.length *
  (largest(rows, ({ prompt }) => prompt) +
    largest(rows, ({ responses }) => responses) * largest(rows, ({ tokens }) => tokens));

/**
 * In order, so many prompts at a time. With a limit on tokens rows of like length go together, the longest first, and
 * each micro-batch takes as many as fit; a row that is longer than the limit stands alone.
 */
export function microBatches<T>(items: readonly T[], sizeOf: (item: T) => RowSize, limits: MicroBatchLimits): T[][] {
  const { prompts, tokens } = limits;
  const rows = items.map((item) => ({ item, size: sizeOf(item) }));
  if (tokens !== undefined) rows.sort((a, b) => paddedTokens([b.size]) - paddedTokens([a.size]));
  const cut: (typeof rows)[] = [];
  for (const row of rows) {
    const last = cut.at(-1);
    const joined = [...(last ?? []), row].map(({ size }) => size);
    const fits = joined.length <= prompts && (tokens === undefined || paddedTokens(joined) <= tokens);
    if (last && fits) last.push(row);
    else cut.push([row]);
  }
  return cut.map((batch) => batch.map(({ item }) => item));
}
