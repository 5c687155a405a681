/** Signs that a policy falls apart, each with what it means and what helps. All are numbers of steps, watched as they come. */

/** Metrics of a step that are watched; absent where nothing was sampled, or the step was left out. */
export interface CollapseSigns {
  readonly reward?: number;
  /** Share of groups whose rollouts earn the same. */
  readonly noVariance?: number;
  readonly gradientNorm?: number;
  /** Of a sampled token, in nats. */
  readonly entropy?: number;
  /** Mean importance ratio, and mean k3 penalty, of a token. */
  readonly ratio?: number;
  readonly kl?: number;
  /** Mean raw mark for thinking. */
  readonly thinking?: number;
  /** Share of rollouts that are cut off by the limit on their length. */
  readonly cutOff?: number;
}

/** Steps in a row that show a sign before there is a warning. */
const patience = 3;
/** Steps that say how a run began, and that a median needs. */
const beginning = 4;
const enough = 8;

/** Times the median. */
const norms = 1000;
/** What is left of the beginning. */
const gone = 0.05;
/** Nats: a policy that samples one and the same answer. */
const certain = 1e-4;
const farRatio = 2;
const farKl = 1;

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** NaN of nothing. */
function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? NaN;
}

const number = (value: number): string => String(Number(value.toPrecision(3)));

interface Sign {
  /** Steps in a row; unset: `patience`. */
  readonly patience?: number;
  /** @param past the steps before. @returns what is seen and what it means; undefined where it does not show */
  readonly seen: (now: CollapseSigns, past: (name: keyof CollapseSigns) => readonly number[]) => string | undefined;
  readonly remedy: string;
}

const isLess = (now: number | undefined, past: readonly number[], least: number): boolean => {
  const start = mean(past.slice(0, beginning));
  return now !== undefined && past.length >= beginning && start >= least && now < gone * start;
};

const back = 'go back to a checkpoint before it (--from STEP)';

/** By name: a run is warned once of each. */
const SIGNS: Readonly<Record<string, Sign>> = {
  reward: {
    patience: 5,
    seen: ({ reward, noVariance }, past) =>
      reward === 0 && noVariance === 1
        ? `every rollout earns 0${past('reward').some((each) => each > 0) ? ', which was not so before' : ''}: ` +
          'nothing tells a better answer from a worse one'
        : undefined,
    remedy:
      'look at groups/ whether answers are as bad as that; a base that never earns anything needs labels (visurf) or ' +
      `supervised steps first; where it did before, ${back} with a lower optimizer.learningRate`,
  },
  gradient: {
    patience: 1,
    seen: ({ gradientNorm = 0 }, past) => {
      const usual = median(past('gradientNorm').filter((each) => each > 0));
      return past('gradientNorm').length >= enough && gradientNorm > norms * usual
        ? `the norm of the gradient is ${number(gradientNorm)}, its median is ${number(usual)}: one batch says the opposite of all others, or numbers overflow`
        : undefined;
    },
    remedy: 'it was clipped to optimizer.clipNorm; lower that or optimizer.learningRate where it comes again',
  },
  entropy: {
    seen: ({ entropy }, past) =>
      entropy !== undefined && (entropy < certain || isLess(entropy, past('entropy'), 0.01))
        ? `the entropy is ${number(entropy)} nats a token: the policy says one and the same, and has nothing left to choose from`
        : undefined,
    remedy: `${back} with a lower optimizer.learningRate, a penalty (objective.kl.coefficient), or a wider clip (objective.clip.high)`,
  },
  ratio: {
    seen: ({ ratio, kl }) =>
      (ratio !== undefined && (ratio > farRatio || ratio < 1 / farRatio)) || (kl !== undefined && kl > farKl)
        ? `the policy runs away from ${kl !== undefined && kl > farKl ? `its reference: KL is ${number(kl)} nats a token` : `the one that sampled: their ratio is ${number(ratio ?? NaN)}`}`
        : undefined,
    remedy: 'lower optimizer.learningRate or objective.updatesPerBatch, or raise objective.kl.coefficient',
  },
  thinking: {
    seen: ({ thinking }, past) =>
      isLess(thinking, past('thinking'), 0.2)
        ? `the policy does not think any more: ${number(mean(past('thinking').slice(0, beginning)))} of the rollouts did at first, ${number(thinking ?? 0)} do now`
        : undefined,
    remedy:
      'a thought earns too little, or labels without one teach to leave it out: raise the weight of the mark for thinking, ' +
      'or label.eliminate: neutral',
  },
  length: {
    seen: ({ cutOff }, past) =>
      cutOff === 1 && past('cutOff').some((each) => each < 1)
        ? 'all rollouts are cut off at rollout.maxNewTokens, which was not so before: the policy does not end its answers'
        : undefined,
    remedy: `raise rollout.maxNewTokens, or ${back} with objective.truncated: keep and a lower optimizer.learningRate`,
  },
};

/** Watches a run. It warns once of each sign. */
export class CollapseGuard {
  readonly #past = new Map<keyof CollapseSigns, number[]>();
  readonly #shown = new Map<string, number>();

  /** @param past steps of a run that goes on */
  constructor(past: readonly CollapseSigns[] = []) {
    for (const signs of past) this.observe(signs);
  }

  /** @returns a warning where a sign shows for the first time */
  observe(signs: CollapseSigns): string[] {
    const said: string[] = [];
    for (const [name, { patience: steps = patience, seen, remedy }] of Object.entries(SIGNS)) {
      const what = seen(signs, (each) => this.#past.get(each) ?? []);
      const shown = what === undefined ? 0 : (this.#shown.get(name) ?? 0) + 1;
      // Once said it stays said.
      if ((this.#shown.get(name) ?? 0) < steps) this.#shown.set(name, shown);
      if (shown === steps && what !== undefined) said.push(`${what}. What helps: ${remedy}`);
    }
    for (const [name, value] of Object.entries(signs) as [keyof CollapseSigns, number | undefined][]) {
      if (value === undefined || !WATCHED.has(name)) continue;
      const past = this.#past.get(name) ?? [];
      // The beginning, and the last ones.
      if (past.length === KEPT) past.splice(beginning, 1);
      past.push(value);
      this.#past.set(name, past);
    }
    return said;
  }
}

/** Steps that are remembered of a metric. */
const KEPT = 256;

const WATCHED: ReadonlySet<string> = new Set<keyof CollapseSigns>([
  ...(['reward', 'noVariance', 'gradientNorm', 'entropy', 'ratio', 'kl', 'thinking', 'cutOff'] as const),
]);
