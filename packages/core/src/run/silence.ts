/** A run that learns nothing looks like one that has nothing to learn: this tells them apart, once. */

/** Metrics of a step that are watched; absent where nothing was sampled, or there was no label. */
export interface SilenceSigns {
  readonly gradientNorm?: number;
  /** Shares of rollouts: cut off by the limit on their length, left out of the loss. */
  readonly cutOff?: number;
  readonly masked?: number;
  /** Share of groups whose rollouts earn the same. */
  readonly noVariance?: number;
  /** Share of labels that teach. */
  readonly labelActive?: number;
  /** Responses that a reward could not judge. */
  readonly skipped?: number;
  readonly reward?: number;
}

/** Steps in a row that teach nothing before there is a warning. */
const patience = 5;

/** Whether the gradient of a step, but for a penalty, is 0. */
const isSilent = ({ gradientNorm, noVariance, labelActive = 0 }: SilenceSigns): boolean =>
  gradientNorm === 0 || (noVariance === 1 && labelActive === 0);

/** Causes with what helps, the one that explains the others first. */
const CAUSES: readonly {
  readonly holds: (signs: SilenceSigns) => boolean;
  readonly why: string;
  readonly remedy: string;
}[] = [
  {
    holds: ({ masked }) => masked === 1,
    why: 'all rollouts are cut off at rollout.maxNewTokens and masked',
    remedy: 'raise rollout.maxNewTokens, or set objective.truncated: keep',
  },
  {
    holds: ({ cutOff }) => cutOff === 1,
    why: 'all rollouts are cut off at rollout.maxNewTokens',
    remedy: 'raise rollout.maxNewTokens; a base that never ends its answers needs supervised steps first',
  },
  {
    holds: ({ reward, skipped = 0 }) => reward === undefined && skipped > 0,
    why: 'a reward skips every response',
    remedy: 'look at what the reward is given: visurf reward check',
  },
  {
    holds: ({ noVariance, labelActive }) => noVariance === 1 && labelActive === 0,
    why: 'all rollouts of a prompt earn the same, and reach every label',
    remedy: 'the data is learned, or the reward cannot tell answers apart: use harder prompts, or visurf reward check',
  },
  {
    holds: ({ noVariance }) => noVariance === 1,
    why: 'all rollouts of a prompt earn the same',
    remedy: 'use prompts that some rollouts answer and some do not, more rollouts (rollout.group), or labels (visurf)',
  },
];

/** Watches a run. It warns once, when nothing could be learned for some steps in a row. */
export class SilenceGuard {
  #silent = 0;
  #warned = false;

  /** @param past steps of a run that goes on */
  constructor(past: readonly SilenceSigns[] = []) {
    for (const signs of past) this.observe(signs);
  }

  /** @returns a warning where there is something to say for the first time */
  observe(signs: SilenceSigns): string | undefined {
    this.#silent = isSilent(signs) ? this.#silent + 1 : 0;
    if (this.#silent < patience || this.#warned) return undefined;
    this.#warned = true;
    const { why, remedy } = CAUSES.find(({ holds }) => holds(signs)) ?? {
      why: 'the gradient is 0',
      remedy: 'look at the groups of these steps in the run directory',
    };
    return `nothing was learned in the last ${patience} steps: ${why}. What helps: ${remedy}`;
  }
}
