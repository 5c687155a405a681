/** Prompts that are answered together, each in a way of its own: what waits for a model joins one forward. */
import { noGrad, scope, tensor, type Tensor } from '@visurf/torch';

import { sampleTokens, type Chosen, type Sampling } from './sampler.ts';

/** A token that was chosen, and others that were likely in its place, the likeliest first. Natural logarithms, temperature 1. */
export interface Told {
  readonly token: number;
  readonly logProb: number;
  readonly others: readonly (readonly [token: number, logProb: number])[];
}

/** How one of the prompts is answered. */
export interface Turn {
  readonly sampling: Sampling;
  /** Of the noise. */
  readonly seed: number;
  readonly maxNewTokens: number;
  /** How many others of every token are told. */
  readonly others: number;
  /** Additive [V], -Infinity at what may not follow what this member has said; undefined: anything may. */
  readonly forbidden?: ((member: number) => Float32Array | undefined) | undefined;
  /** Sees every token. @returns whether the member ends with it */
  readonly onToken: (member: number, told: Told) => boolean;
}

/** A row of the decoding. */
export interface TurnRow {
  readonly turn: Turn;
  readonly member: number;
  /** Uniform in [0, 1). */
  readonly noise: number;
  readonly seen: ReadonlySet<number>;
  readonly done: boolean;
}

export interface ChosenInTurn extends Chosen {
  /** By row. */
  readonly others: readonly Told['others'][];
}

/**
 * One token per row of logits [R, V]; rows that are sampled alike are sampled at once.
 * @param forbidden additive [V], of rows that are not greedy
 */
export function chooseInTurn(logits: Tensor, rows: readonly TurnRow[], forbidden: Tensor): ChosenInTurn {
  return scope(() => {
    const tokens = new Array<number>(rows.length).fill(0);
    const logProbs = new Float64Array(rows.length);
    for (const { places, limit } of alike(rows)) {
      const { sampling } = rows[places[0]!]!.turn;
      const chosen = sampleTokens(
        logits.indexSelect(0, tensor(places, { dtype: 'int64', device: logits.device })),
        sampling,
        places.map((place) => rows[place]!.noise),
        limit ? tensor(limit, { device: logits.device }).to(logits.dtype) : sampling.temperature > 0 ? forbidden : undefined,
        places.map((place) => rows[place]!.seen),
      ); // prettier-ignore
      places.forEach((place, i) => {
        tokens[place] = chosen.tokens[i]!;
        logProbs[place] = chosen.logProbs[i]!;
      });
    }
    return { tokens, logProbs, others: likeliest(logits, rows) };
  });
}

interface Alike {
  readonly places: readonly number[];
  /** Of one row for itself. */
  readonly limit?: Float32Array | undefined;
}

function alike(rows: readonly TurnRow[]): Alike[] {
  const limits = rows.map(({ turn, member, done }) => (done ? undefined : turn.forbidden?.(member)));
  const keys = rows.map(({ turn: { sampling } }, i) => (limits[i] ? `row ${i}` : JSON.stringify(sampling)));
  return [...Map.groupBy(rows.keys(), (i) => keys[i]!).values()].map((places) => ({
    places,
    limit: limits[places[0]!],
  }));
}

function likeliest(logits: Tensor, rows: readonly TurnRow[]): Told['others'][] {
  const most = Math.max(...rows.map(({ turn }) => turn.others));
  if (most === 0) return rows.map(() => []);
  const [values, places] = noGrad(() => logits.logSoftmax(-1).topk(Math.min(most, logits.size(1))));
  const [all, ids] = [values.toFloat64Array(), places.toArray()];
  const each = values.size(1);
  return rows.map(({ turn }, r) =>
    Array.from({ length: Math.min(turn.others, each) }, (_, i) => [ids[r * each + i]!, all[r * each + i]!] as const),
  );
}
