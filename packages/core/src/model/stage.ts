/**
 * How the stages of a forward pass are run: once, or so that nothing but their inputs is kept for the gradient.
 * A stage maps one tensor to the next; the forward is a chain of them (patches, vision blocks, features, layers, norm).
 */
import { noGrad, recompute, scope, type nn, type Tensor } from '@visurf/torch';

/** @param parts whose parameters the stage uses */
export type RunStage = (stage: (x: Tensor) => Tensor, x: Tensor, parts: readonly nn.Module[]) => Tensor;

/** The input stays with the caller. */
export const keepingInputs: RunStage = (stage, x) => scope(() => stage(x));

/** The handle of the input is freed; a graph that needs its memory goes on to hold it. */
export const freeingInputs: RunStage = (stage, x) => {
  const output = scope(() => stage(x));
  x.dispose();
  return output;
};

interface Recorded {
  readonly x: Tensor;
  readonly pull: (gradOutput: Tensor) => Tensor | undefined;
}

/**
 * Activation checkpointing: stages run without a graph, and `backward` runs each again, last first, for its gradient.
 * The chain begins at the first stage with something to train. Tensors that stages use live until `backward` returns.
 */
export class Tape {
  readonly #stages: Recorded[] = [];

  readonly run: RunStage = (stage, x, parts) => {
    const parameters = parts.flatMap((part) => part.parameters()).filter((each) => each.requiresGrad);
    const isFirst = this.#stages.length === 0;
    if (isFirst && parameters.length === 0) return noGrad(() => freeingInputs(stage, x, parts));
    const { output, pull } = recompute(stage, x, parameters, { ofInput: !isFirst });
    this.#stages.push({ x, pull });
    return output;
  };

  /** Adds the gradients of all parameters to their `.grad`, given that of the last stage's output. */
  backward(gradOutput: Tensor): void {
    let gradient: Tensor | undefined = gradOutput;
    for (let last = this.#stages.pop(); last && gradient; last = this.#stages.pop()) {
      const next: Tensor | undefined = last.pull(gradient);
      if (gradient !== gradOutput) gradient.dispose();
      last.x.dispose();
      gradient = next;
    }
  }
}
