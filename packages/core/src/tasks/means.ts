/** Evaluations become metrics. */
type Value = number | boolean;

/** Mean of what is true or a number; undefined over nothing. */
export function mean<T>(items: readonly T[], value: (item: T) => Value): number | undefined {
  if (items.length === 0) return undefined;
  return items.reduce((sum, item) => sum + Number(value(item)), 0) / items.length;
}

/** Means in percent; those over nothing are left out. */
export function percentages(means: Readonly<Record<string, number | undefined>>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(means).flatMap(([name, value]) => (value === undefined ? [] : [[name, 100 * value]])),
  );
}
