/** What the runtime counted, inside a program that runs on it. */
import { createRequire } from 'node:module';

import { allocated, resetPeakAllocated } from '../../packages/torch/src/index.ts';
import { runtime } from './prepare.ts';

/** By name; `live` in bytes of the card, `peak` in those of tensors. */
export type Counts = Readonly<Record<string, number>>;

const { counts } = createRequire(import.meta.url)(runtime) as { counts: () => string };

/** Since the last call. */
export function read(): Counts {
  const { peak } = allocated('cuda');
  resetPeakAllocated('cuda');
  return { ...(JSON.parse(counts()) as Counts), peak };
}

export function add(a: Counts = {}, b: Counts): Counts {
  const sum: Record<string, number> = { ...a };
  for (const [name, amount] of Object.entries(b)) {
    const isLevel = name === 'peak' || name === 'live';
    sum[name] = isLevel ? Math.max(sum[name] ?? 0, amount) : (sum[name] ?? 0) + amount;
  }
  return sum;
}
