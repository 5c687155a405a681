/** Published variants of GRPO by name: what each sets, unless a configuration says otherwise. */
import { usesKey } from './keys.ts';
import { paradigmOf, withDefaults, type Values } from './paradigm.ts';
import type { Preset } from './schema.ts';

interface Variant {
  readonly source: string;
  /** Values by dotted key. */
  readonly settings: Readonly<Record<string, unknown>>;
}

export const presets: Readonly<Record<Preset, Variant>> = {
  grpo: {
    source: 'arXiv 2402.03300',
    settings: {
      'objective.aggregate.tokens': 'mean',
      'objective.aggregate.over': 'sequence',
      'objective.std': 'sample',
    },
  },
  // The divisor is a constant: the longest response, unless `objective.aggregate.normalizer` says otherwise.
  drgrpo: {
    source: 'arXiv 2503.20783',
    settings: {
      'objective.aggregate.tokens': 'sum',
      'objective.aggregate.over': 'sequence',
      'objective.std': 'none',
    },
  },
  // Its overlong filtering is `objective.truncated: mask`, and its soft punishment a reward: neither is among these.
  dapo: {
    source: 'arXiv 2503.14476, equations 8 to 12',
    settings: {
      'objective.clip.low': 0.2,
      'objective.clip.high': 0.28,
      'objective.aggregate.tokens': 'mean',
      'objective.aggregate.over': 'batch',
      'objective.kl.coefficient': 0,
      'rollout.dynamicSampling': 10,
    },
  },
  gspo: {
    source: 'arXiv 2507.18071, equations 5 to 7 and section 5.1',
    settings: {
      'objective.ratio': 'sequence',
      'objective.clip.low': 3e-4,
      'objective.clip.high': 4e-4,
      'objective.aggregate.tokens': 'mean',
      'objective.aggregate.over': 'sequence',
    },
  },
  rloo: {
    source: 'arXiv 2402.14740',
    settings: { 'objective.baseline': 'leave-one-out', 'objective.std': 'none' },
  },
};

const presetOf = ({ preset }: Values): Variant | undefined =>
  typeof preset === 'string' && Object.hasOwn(presets, preset) ? presets[preset as Preset] : undefined;

/** The values, and under them those of their preset that the paradigm uses. */
export function withPreset(values: Values): Values {
  const [paradigm, preset] = [paradigmOf(values), presetOf(values)];
  if (paradigm === undefined || preset === undefined) return values;
  return withDefaults(
    values,
    Object.entries(preset.settings).filter(([key]) => usesKey(paradigm, key)),
  );
}

/** Keys that a preset sets and the paradigm has no use for. */
export function unusedOfPreset(values: Values): string[] {
  const paradigm = paradigmOf(values);
  if (paradigm === undefined || !usesKey(paradigm, 'preset')) return [];
  return Object.keys(presetOf(values)?.settings ?? {}).filter((key) => !usesKey(paradigm, key));
}
