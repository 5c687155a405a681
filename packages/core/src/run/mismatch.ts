/** Watches how far rollouts are from the policy that they are taken for, and warns once. */

/** Nats of a token. Two programs that compute the same in bfloat16 are 0.02 to 0.04 apart. */
const limit = 0.05;

export class MismatchGuard {
  #warned = false;

  /** @param past steps of a run that goes on */
  constructor(past: readonly { readonly mismatch?: number }[] = []) {
    for (const metrics of past) this.observe(metrics);
  }

  /** @returns a warning where there is something to say for the first time */
  observe({ mismatch = 0 }: { readonly mismatch?: number }): string | undefined {
    if (mismatch <= limit || this.#warned) return undefined;
    this.#warned = true;
    return (
      `rollouts are ${Number(mismatch.toPrecision(3))} nats a token from the policy that learns from them, more than ${limit}: ` +
      'a server computes otherwise (its precision, a stale adapter, --logprobs-mode), or rollout.ahead and a large step of ' +
      'the optimizer lie between them'
    );
  }
}
