/** Gradients, grad modes and autocast, each for the length of a synchronous function. */
import { dtypeCode } from './dtype.ts';
import { native } from './native.ts';
import { scope } from './scope.ts';
import { Tensor } from './tensor.ts';

const handles = (tensors: readonly Tensor[]): number[] => tensors.map((each) => each.handle);

function during<T>(leave: () => void, body: () => T): T {
  try {
    const result = body();
    if (result instanceof Promise) throw new TypeError('grad modes end with a synchronous function: await outside');
    return result;
  } finally {
    leave();
  }
}

/** Whether a graph is being recorded. */
export const isGradEnabled = (): boolean => native.isGradEnabled();

/** Runs `body` without recording a graph. */
export function noGrad<T>(body: () => T): T {
  const before = native.setGradEnabled(false);
  return during(() => native.setGradEnabled(before), body);
}

/** Runs `body` with a graph, also inside `noGrad`: what a block needs that is computed again for its gradient. */
export function enableGrad<T>(body: () => T): T {
  const before = native.setGradEnabled(true);
  return during(() => native.setGradEnabled(before), body);
}

/** Faster than `noGrad`, but what it makes can never meet a graph: backward would throw. For inference only. */
export function inferenceMode<T>(body: () => T): T {
  native.enterInferenceMode();
  return during(() => native.exitInferenceMode(), body);
}

/** Adds the gradients of `outputs` to the `.grad` of every leaf. */
export function backward(outputs: readonly Tensor[], gradOutputs?: readonly Tensor[]): void {
  native.backward(handles(outputs), gradOutputs ? handles(gradOutputs) : null, false);
}

export interface GradOptions {
  readonly gradOutputs?: readonly Tensor[];
  readonly retainGraph?: boolean;
  readonly createGraph?: boolean;
}

/** d outputs / d inputs; `undefined` for an input that the outputs do not depend on. */
export function grad(
  outputs: readonly Tensor[],
  inputs: readonly Tensor[],
  { gradOutputs, retainGraph = false, createGraph = false }: GradOptions = {},
): (Tensor | undefined)[] {
  const given = gradOutputs ? handles(gradOutputs) : null;
  const results = native.grad(handles(outputs), handles(inputs), given, retainGraph || createGraph, createGraph, true);
  return results.map((handle) => (handle === 0 ? undefined : new Tensor(handle)));
}

/** Runs `body` with products in `dtype`; weights cast inside are cached until the region ends. */
export function autocast<T>(dtype: 'bfloat16' | 'float16', body: () => T, device = 'cpu'): T {
  const [enabled, before] = native.enterAutocast(device, dtypeCode(dtype));
  return during(() => native.exitAutocast(device, enabled, before), body);
}

/** Forgets cast weights: needed between an optimiser step and the next forward of the same region. */
export const clearAutocastCache = (): void => native.clearAutocastCache();

/**
 * A block whose activations are not kept: computed at once without a graph, and by `pull(gradOutputs)` again, which adds the
 * gradients of its parameters to their `.grad` and returns those of its inputs.
 * The engine never calls back into JavaScript: the caller walks the blocks in reverse.
 *
 * The first of several inputs and outputs is the stream, which a block must depend on; gradients may be `undefined` for the
 * others, which the block may hand on as they are.
 *
 * @param parameters those that take a gradient
 * @param options.ofInputs which inputs take a gradient (others may be of integers); all of them unless said
 * @example
 * const { outputs, pull } = recompute(([x]) => [block.forward(x)], [x], block.parameters());
 * const [gradX] = pull([gradOutput]);
 */
export function recompute(
  block: (inputs: Several) => Several,
  inputs: Several,
  parameters: readonly Tensor[],
  { ofInputs = inputs.map(() => true) }: { readonly ofInputs?: readonly boolean[] } = {},
): Recomputed {
  const outputs = scope(() => noGrad(() => block(inputs)));
  const pull = (gradOutputs: Asked): Pulled =>
    scope(() => {
      const leaves = leavesOf(inputs, ofInputs);
      return pulled(
        enableGrad(() => block(leaves)),
        leaves,
        parameters,
        ofInputs,
        gradOutputs,
      );
    });
  return { outputs, pull };
}

/**
 * The same of a block whose activations are kept: a part of a graph that ends where the block does, so that the gradients of
 * its parameters are complete before those of the block before it are begun. `pull` may be called once.
 */
export function segment(
  block: (inputs: Several) => Several,
  inputs: Several,
  parameters: readonly Tensor[],
  { ofInputs = inputs.map(() => true) }: { readonly ofInputs?: readonly boolean[] } = {},
): Recomputed {
  const { leaves, graph, outputs } = scope(() => {
    const leaves = leavesOf(inputs, ofInputs);
    const graph = enableGrad(() => block(leaves));
    // What is handed on as it is stays what it was.
    const outputs = graph.map((each) => inputs[leaves.indexOf(each)] ?? each.detach()) as unknown as Several;
    return { leaves, graph, outputs };
  });
  const pull = (gradOutputs: Asked): Pulled => {
    const gradients = scope(() => pulled(graph, leaves, parameters, ofInputs, gradOutputs));
    for (const each of [...graph, ...leaves]) if (!inputs.includes(each)) each.dispose();
    return gradients;
  };
  return { outputs, pull };
}

type Asked = readonly (Tensor | undefined)[];
type Pulled = (Tensor | undefined)[];

const leavesOf = (inputs: Several, ofInputs: readonly boolean[]): Several =>
  inputs.map((x, i) => (ofInputs[i] ? x.detach().requiresGrad_() : x)) as unknown as Several;

/** Adds the gradients of parameters to their `.grad`. @returns those of the leaves */
function pulled(
  graph: Several,
  leaves: Several,
  parameters: readonly Tensor[],
  ofInputs: readonly boolean[],
  gradOutputs: Asked,
): Pulled {
  const asked = graph.flatMap((output, i) => {
    const gradient = gradOutputs[i];
    return gradient ? [{ output, gradient }] : [];
  });
  const gradients = grad(
    asked.map(({ output }) => output),
    [...leaves.filter((_, i) => ofInputs[i]), ...parameters],
    { gradOutputs: asked.map(({ gradient }) => gradient) },
  );
  const ofLeaves = leaves.map((_, i) => (ofInputs[i] ? gradients.shift() : undefined));
  if (ofInputs[0] && !ofLeaves[0]) throw new Error('the block does not depend on its input');
  parameters.forEach((parameter, i) => {
    accumulate(parameter, gradients[i]);
  });
  return ofLeaves;
}

type Several = readonly [Tensor, ...Tensor[]];
interface Recomputed {
  readonly outputs: Several;
  readonly pull: (gradOutputs: readonly (Tensor | undefined)[]) => (Tensor | undefined)[];
}

/** parameter.grad += gradient. The memory of a first gradient is taken over only where nothing else refers to it. */
export function accumulate(parameter: Tensor, gradient: Tensor | undefined): void {
  if (gradient) native.accumulateGrad(parameter.handle, gradient.handle);
}
