/**
 * Whether a state tells kinds of questions apart: a linear probe, fitted by ridge regression in its dual form on some
 * pictures and judged on others. A label that is right for one kind only (`[]`) can be learned where it does; where it does
 * not, that label rises for all questions alike.
 */

/** A question as the model holds it. */
export interface ProbedState {
  /** [D] */
  readonly state: Float32Array;
  /** Name of its kind. */
  readonly kind: string;
  /** What must not be on both sides: its picture. */
  readonly group: string;
}

export interface Separation {
  /** Mean over kinds of the share that the probe tells right, of questions it was not fitted on; 1 / kinds is chance. */
  readonly accuracy: number;
  /** Standard error of it. */
  readonly error: number;
  readonly kinds: Readonly<Record<string, number>>;
}

const FOLDS = 5;
/** Of the mean squared length of a state: what is added to the diagonal. */
const RIDGE = 0.1;
/** Questions of a kind without which nothing can be said. */
const FEWEST = 8;

/** Undefined where there are not two kinds with enough questions, on enough pictures. */
export function separationOf(probed: readonly ProbedState[]): Separation | undefined {
  const byKind = [...Map.groupBy(probed, ({ kind }) => kind)].filter(([, own]) => own.length >= FEWEST);
  if (byKind.length < 2) return undefined;
  const kept = byKind.flatMap(([, own]) => own);
  const folds = foldsOf(kept.map(({ group }) => group));
  if (folds === undefined) return undefined;
  const products = productsOf(standardised(kept.map(({ state }) => state)));
  const targets = byKind.map(([kind, own]) => {
    // Kinds weigh the same, however many questions they have.
    const weight = 1 / own.length;
    return kept.map((each) => (each.kind === kind ? weight : -1 / (kept.length - own.length)));
  });
  const right = kept.map(() => false);
  for (let fold = 0; fold < FOLDS; fold++) {
    const [fitted, judged] = [placesOf(folds, (each) => each !== fold), placesOf(folds, (each) => each === fold)];
    const ridge = (RIDGE * fitted.reduce((sum, i) => sum + products[i]![i]!, 0)) / fitted.length;
    const solve = solverOf(fitted.map((i) => fitted.map((j) => products[i]![j]! + (i === j ? ridge : 0))));
    const weights = targets.map((target) => solve(fitted.map((i) => target[i]!)));
    for (const i of judged) {
      const scores = weights.map((own) => own.reduce((sum, weight, j) => sum + weight * products[i]![fitted[j]!]!, 0));
      right[i] = byKind[scores.indexOf(Math.max(...scores))]![0] === kept[i]!.kind;
    }
  }
  const rates = byKind.map(([kind, { length }]) => {
    const hits = kept.filter((each, i) => each.kind === kind && right[i]).length;
    return { rate: hits / length, n: length };
  });
  const variance = rates.reduce((sum, { rate, n }) => sum + (rate * (1 - rate)) / n, 0);
  return {
    accuracy: rates.reduce((sum, { rate }) => sum + rate, 0) / rates.length,
    error: Math.sqrt(variance) / rates.length,
    kinds: Object.fromEntries(byKind.map(([kind, { length }]) => [kind, length])),
  };
}

const placesOf = (folds: readonly number[], chosen: (fold: number) => boolean): number[] =>
  folds.flatMap((fold, i) => (chosen(fold) ? [i] : []));

/** The fold of every question: those of a group share one. */
function foldsOf(groups: readonly string[]): number[] | undefined {
  const order = [...new Set(groups)];
  if (order.length < FOLDS) return undefined;
  const foldOf = new Map(order.map((group, i) => [group, i % FOLDS]));
  return groups.map((group) => foldOf.get(group)!);
}

/** Each dimension without its mean, over its deviation. */
function standardised(states: readonly Float32Array[]): Float64Array[] {
  const size = states[0]!.length;
  const all = states.map(() => new Float64Array(size));
  for (let d = 0; d < size; d++) {
    const mean = states.reduce((sum, state) => sum + state[d]!, 0) / states.length;
    const deviation = Math.sqrt(states.reduce((sum, state) => sum + (state[d]! - mean) ** 2, 0) / states.length);
    if (deviation > 0) for (const [i, state] of states.entries()) all[i]![d] = (state[d]! - mean) / deviation;
  }
  return all;
}

/** Inner products; 1 more stands for a bias. */
const productsOf = (states: readonly Float64Array[]): number[][] =>
  states.map((a) => states.map((b) => a.reduce((sum, value, d) => sum + value * b[d]!, 1)));

/** Solves with a symmetric positive matrix, by Cholesky's factor. */
function solverOf(matrix: readonly (readonly number[])[]): (right: readonly number[]) => number[] {
  const n = matrix.length;
  const factor = matrix.map(() => new Float64Array(n));
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = matrix[i]![j]!;
      for (let k = 0; k < j; k++) sum -= factor[i]![k]! * factor[j]![k]!;
      factor[i]![j] = i === j ? Math.sqrt(sum) : sum / factor[j]![j]!;
    }
  }
  return (right) => {
    const x = [...right];
    for (let i = 0; i < n; i++) {
      for (let k = 0; k < i; k++) x[i]! -= factor[i]![k]! * x[k]!;
      x[i]! /= factor[i]![i]!;
    }
    for (let i = n - 1; i >= 0; i--) {
      for (let k = i + 1; k < n; k++) x[i]! -= factor[k]![i]! * x[k]!;
      x[i]! /= factor[i]![i]!;
    }
    return x;
  };
}
