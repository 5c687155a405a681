/**
 * How the stages of a forward pass are run: once, or so that nothing but their inputs is kept for the gradient.
 * The forward is a chain of stages (patches, vision blocks, features, layers, norm): each takes what the one before gave.
 */
import { noGrad, recompute, scope, segment, type Device, type nn, type Tensor } from '@visurf/torch';

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
  readonly parameters: readonly Tensor[];
  readonly pull: (gradients: readonly (Tensor | undefined)[]) => readonly (Tensor | undefined)[];
}

/** Follows gradients while a backward pass makes them. */
export interface GradientWatch {
  /** @param stages parameters that gradients are still to be added to, by stage, the last first */
  begin(stages: readonly (readonly Tensor[])[]): void;
  /** The stage that comes next has added all of its own. */
  stageDone(): void;
}

export interface TapeOptions {
  /** Where streams wait that only a gradient asks for; undefined: where they are. */
  readonly aside?: Device | undefined;
  /** Keeps what stages computed, in place of computing it again. */
  readonly keepsGraphs?: boolean | undefined;
  readonly watch?: GradientWatch | undefined;
}

/**
 * A backward pass that is driven stage by stage, last first. Activation checkpointing: stages run without a graph, and
 * `backward` runs each again for its gradient; or each keeps a graph of its own.
 * The streams between stages may wait on another device meanwhile. The chain begins at the first stage with something to
 * train. Tensors that stages use live until `backward` returns.
 */
export class Tape {
  readonly #options: TapeOptions;
  readonly #stages: Recorded[] = [];
  /** Outputs of recorded stages: these take a gradient. */
  readonly #made = new Set<Tensor>();

  constructor(options: TapeOptions = {}) {
    this.#options = options;
  }

  readonly run: RunStage = (stage, flow, parts) => {
    const parameters = parts.flatMap((part) => part.parameters()).filter((each) => each.requiresGrad);
    const before = this.#stages.at(-1);
    if (!before && parameters.length === 0) return noGrad(() => freeingInputs(stage, flow, parts));
    if (before?.outputs.some((each, i) => each !== flow[i])) throw new Error('a stage takes what the one before gave');
    const ofInputs = flow.map((each) => this.#made.has(each));
    const { aside, keepsGraphs = false } = this.#options;
    const { outputs, pull } = (keepsGraphs ? segment : recompute)(stage, flow, parameters, { ofInputs });
    for (const each of outputs) if (!flow.includes(each)) this.#made.add(each);
    this.#stages.push({ inputs: flow, outputs, parameters, pull });
    const [stream] = flow;
    if (aside && this.#made.has(stream) && !outputs.includes(stream)) stream.move_(aside);
    return outputs;
  };

  /** Adds the gradients of all parameters to their `.grad`, given that of the last stage's stream. */
  backward(gradOutput: Tensor): void {
    const { aside, watch } = this.#options;
    let gradients: readonly (Tensor | undefined)[] = [gradOutput];
    watch?.begin(this.#stages.map(({ parameters }) => parameters).reverse());
    for (let last = this.#stages.pop(); last; last = this.#stages.pop()) {
      if (aside) last.inputs[0].move_(gradOutput.device);
      const next = last.pull(gradients);
      watch?.stageDone();
      disposeBut([gradOutput], gradients);
      // What was handed on is an input of the stage before, too.
      disposeBut(this.#stages.at(-1)?.inputs ?? [], last.inputs);
      gradients = next;
    }
    this.#made.clear();
  }
}
