/** What the runtime counted, inside a program that runs on it. */
import { createRequire } from 'node:module';

import { runtime } from './prepare.ts';

/** By name; `peak` and `live` in bytes of the card. */
export type Counts = Readonly<Record<string, number>>;

const { counts } = createRequire(import.meta.url)(runtime) as { counts(): string };

/** Since the last call. */
export const read = (): Counts => JSON.parse(counts()) as Counts;

export function add(a: Counts = {}, b: Counts): Counts {
  const sum: Record<string, number> = { ...a };
  for (const [name, amount] of Object.entries(b)) {
    const isLevel = name === 'peak' || name === 'live';
    sum[name] = isLevel ? Math.max(sum[name] ?? 0, amount) : (sum[name] ?? 0) + amount;
  }
  return sum;
}
