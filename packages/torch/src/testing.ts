/** Gradients against finite differences, and a device that stands in for a GPU, for tests. */
import { grad, noGrad } from './autograd.ts';
import { tensor } from './factories.ts';
import { native } from './native.ts';
import { scope } from './scope.ts';
import type { Device, Tensor } from './tensor.ts';

export interface GradcheckOptions {
  /** Half the distance of the central difference; its error is of the order of step^2. */
  readonly step?: number;
  /** The largest |analytic - numeric| / max(1, |numeric|). */
  readonly tolerance?: number;
}

/**
 * Compares d L / d inputs with (L(x + h) - L(x - h)) / 2h for every element of every input, where L weighs the elements
 * of `f`'s result differently, so that no error cancels in a sum.
 * @param inputs leaves of float64 that require a gradient; their values are moved and put back.
 * @throws Error naming the first element that differs.
 */
export function gradcheck(
  f: (...inputs: Tensor[]) => Tensor,
  inputs: readonly Tensor[],
  { step = 1e-5, tolerance = 1e-7 }: GradcheckOptions = {},
): void {
  if (inputs.some((each) => each.dtype !== 'float64')) throw new TypeError('finite differences need float64');
  const loss = (): Tensor => {
    const result = f(...inputs);
    const weights = Array.from({ length: result.numel }, (_, i) => Math.cos(1 + i));
    return result.mul(tensor(weights, { shape: result.shape, dtype: 'float64', device: result.device })).sum();
  };
  scope(() => {
    const analytic = grad([loss()], inputs).map((each) => each?.toFloat64Array());
    inputs.forEach((input, which) => {
      const flat = input.detach().view(-1);
      const lossAt = (i: number, value: number): number => {
        flat.select(0, i).fill_(value);
        return scope(() => noGrad(() => loss().item()));
      };
      input.toFloat64Array().forEach((value, i) => {
        const numeric = (lossAt(i, value + step) - lossAt(i, value - step)) / (2 * step);
        flat.select(0, i).fill_(value);
        const got = analytic[which]?.[i] ?? 0;
        if (!(Math.abs(got - numeric) <= tolerance * Math.max(1, Math.abs(numeric))))
          throw new Error(`gradient ${i} of input ${which} is ${got}, by finite differences ${numeric}`);
      });
    });
  });
}

/**
 * A device whose tensors lie in the host's memory and whose numbers are the CPU's, but which refuses what a GPU refuses:
 * operands on another device, and kernels of ours that only the CPU has.
 * @returns its name
 */
export function standInDevice(): Device {
  native.startStandIn();
  return 'stand_in:0';
}

/** Names of the kernels that were asked of the stand-in since the last call, those of backward passes included. */
export const standInKernels = (): readonly string[] =>
  native.standInKernels().map((name) => name.replace(/^aten::/, ''));
