/** The useful work of one step of a workload. */
import { loadModelConfig } from '../packages/core/src/families/config.ts';
import type { Grid } from '../packages/core/src/types.ts';
import { decodeBytes, decodeOperations, forwardOperations, updateOperations, type Work } from './operations.ts';
import type { Workload } from './workloads.ts';

/** Counted from shapes (operations.ts). */
export interface Counts {
  /** L */
  readonly promptTokens: number;
  /** Useful operations of the update of an RLVR step. */
  readonly update: number;
  /** The whole step: sampling is one more forward pass. */
  readonly step: number;
  /** Useful operations of one step of decoding. */
  readonly decode: number;
  /** Bytes that one step of decoding reads, by the precision of the weights. */
  readonly decodeBytes: { readonly float32: number; readonly bfloat16: number };
}

export function countWork(workload: Workload, grid: Grid, promptTokens: number): Counts {
  const config = loadModelConfig(workload.model);
  const work: Work = {
    prompts: workload.samples.length,
    promptTokens,
    grid,
    responses: workload.group,
    responseTokens: workload.maxNewTokens,
  };
  const update = updateOperations(config, work);
  return {
    promptTokens,
    update,
    step: update + forwardOperations(config, work),
    decode: decodeOperations(config, work),
    decodeBytes: { float32: decodeBytes(config, work, 4), bfloat16: decodeBytes(config, work, 2) },
  };
}
