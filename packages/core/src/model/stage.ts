/**
 * How the stages of a forward pass are run: once, or so that nothing but their inputs is kept for the gradient.
 * The forward is a chain of stages (patches, vision blocks, features, layers, norm): each takes what the one before gave.
 */
import { noGrad, recompute, scope, type Device, type nn, type Tensor } from '@visurf/torch';

/** What a stage gives to the next: the stream, and what travels beside it until a later stage takes it up. */
export type Flow = readonly [stream: Tensor, ...beside: Tensor[]];

/** What it does not use it hands on as it is. */
export type Stage = (flow: Flow) => Flow;

/** @param parts whose parameters the stage uses */
export type RunStage = (stage: Stage, flow: Flow, parts: readonly nn.Module[]) => Flow;

/** A stage that leaves alone what travels beside the stream. */
export const onStream =
  (body: (x: Tensor) => Tensor): Stage =>
  ([stream, ...beside]) => [body(stream), ...beside];

/** The inputs stay with the caller. */
export const keepingInputs: RunStage = (stage, flow) => scope(() => stage(flow));

/** The handles of inputs that are not handed on are freed; a graph that needs their memory goes on to hold it. */
export const freeingInputs: RunStage = (stage, flow) => {
  const output = scope(() => stage(flow));
  disposeBut(output, flow);
  return output;
};

/** Frees the handles of tensors that are not among those that are kept. */
export function disposeBut(kept: readonly Tensor[], tensors: readonly (Tensor | undefined)[]): void {
  for (const each of tensors) if (each && !kept.includes(each)) each.dispose();
}

interface Recorded {
  readonly inputs: Flow;
  readonly outputs: Flow;
  readonly pull: (gradients: readonly (Tensor | undefined)[]) => readonly (Tensor | undefined)[];
}

/**
 * Activation checkpointing: stages run without a graph, and `backward` runs each again, last first, for its gradient.
 * The streams between stages may wait on another device meanwhile. The chain begins at the first stage with something to train. Tensors that stages use live until `backward` returns.
 */
export class Tape {
  /** Where streams wait that only a gradient asks for; undefined: where they are. */
  readonly #aside: Device | undefined;
  readonly #stages: Recorded[] = [];
  /** Outputs of recorded stages: these take a gradient. */
  readonly #made = new Set<Tensor>();

  constructor(aside?: Device) {
    this.#aside = aside;
  }

  readonly run: RunStage = (stage, flow, parts) => {
    const parameters = parts.flatMap((part) => part.parameters()).filter((each) => each.requiresGrad);
    const before = this.#stages.at(-1);
    if (!before && parameters.length === 0) return noGrad(() => freeingInputs(stage, flow, parts));
    if (before?.outputs.some((each, i) => each !== flow[i])) throw new Error('a stage takes what the one before gave');
    const ofInputs = flow.map((each) => this.#made.has(each));
    const { outputs, pull } = recompute(stage, flow, parameters, { ofInputs });
    for (const each of outputs) if (!flow.includes(each)) this.#made.add(each);
    this.#stages.push({ inputs: flow, outputs, pull });
    const [stream] = flow;
    if (this.#aside && this.#made.has(stream) && !outputs.includes(stream)) stream.move_(this.#aside);
    return outputs;
  };

  /** Adds the gradients of all parameters to their `.grad`, given that of the last stage's stream. */
  backward(gradOutput: Tensor): void {
    let gradients: readonly (Tensor | undefined)[] = [gradOutput];
    for (let last = this.#stages.pop(); last; last = this.#stages.pop()) {
      if (this.#aside) last.inputs[0].move_(gradOutput.device);
      const next = last.pull(gradients);
      disposeBut([gradOutput], gradients);
      // What was handed on is an input of the stage before, too.
      disposeBut(this.#stages.at(-1)?.inputs ?? [], last.inputs);
      gradients = next;
    }
    this.#made.clear();
  }
}
