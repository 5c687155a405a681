/** A process that takes itself for one of many, for tests: the others have no prompts, no gradients, and its own weights. */
import { noGrad, scope, type distributed, type Tensor } from '@visurf/torch';

import { alone, type Processes } from '../distributed/processes.ts';

/** Exchanges of tensors are copies within this process. */
export function groupOf(rank: number, size: number): distributed.ProcessGroup {
  const done = { wait: () => undefined, done: Promise.resolve() };
  return {
    ...{ rank, size },
    reduceScatter: (out: Tensor, input: Tensor) => {
      scope(() => void out.copy_(input.view(size, -1).select(0, rank)));
      return done;
    },
    allGather: (out: Tensor, input: Tensor) => {
      scope(() => noGrad(() => void out.view(size, -1).copy_(input)));
      return done;
    },
    agree: (numbers: readonly number[]) => Promise.resolve([...numbers]),
  } as unknown as distributed.ProcessGroup;
}

/** The first of so many; weights are nonsense after its step. */
export const firstOf = (size: number): Processes => ({ ...alone, size, group: groupOf(0, size) });
