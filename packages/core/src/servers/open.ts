/** Servers for the rollouts of a training: found or started, met, and given weights. */
import { randomBytes } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { join } from 'node:path';

import type { Config } from '../config/schema.ts';
import { UserError } from '../errors.ts';
import { isVision } from '../model/keys.ts';
import type { PromptEncoder } from '../prompt/encoder.ts';
import { ServerPool } from './pool.ts';
import { ServerProcess } from './process.ts';
import type { ServerProtocol, Weights } from './protocol.ts';
import { ServerSampler } from './sampler.ts';
import { sglang } from './sglang.ts';
import { vllm } from './vllm.ts';
import { adapterAlone, WeightsFolder } from './weights.ts';

export type Backend = 'vllm' | 'sglang';
export const protocols: Readonly<Record<Backend, ServerProtocol>> = { vllm, sglang };

/** The policy that servers sample for. */
interface Learning {
  /** Rows of its embedding. */
  readonly vocabulary: number;
  readonly encoder: PromptEncoder;
  /** Modules with an adapter; undefined where all weights are trained. */
  readonly adapted: readonly string[] | undefined;
  /** Writers of the files of its weights. */
  readonly files: Readonly<Record<string, (file: string) => void>>;
}

interface Opening {
  /** Of this process among those that train together. */
  readonly rank?: number;
  readonly onWarning: (message: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/** Whether servers are to sample, and have been started by somebody else: what is wrong with them is known beforehand. */
export const runAlready = ({ rollout }: Config): boolean =>
  rollout.backend !== 'local' && rollout.serverCommand === undefined;

/**
 * @returns undefined where the policy samples itself
 * @throws UserError where servers cannot sample for this policy, or do not come
 */
export async function openServers(
  { rollout, output, train }: Config,
  policy: Learning,
  { rank = 0, onWarning, signal }: Opening,
): Promise<ServerSampler | undefined> {
  const { backend, servers: urls, serverCommand, timeout: seconds, concurrent } = rollout;
  if (backend === 'local') return undefined;
  const protocol = protocols[backend];
  requireServable(backend, policy);
  const { encoder, vocabulary, adapted } = policy;
  await using resources = new AsyncDisposableStack();
  // Processes that train together have the same servers: the first starts them.
  const process =
    serverCommand === undefined || rank > 0
      ? undefined
      : resources.use(new ServerProcess(serverCommand, join(output, 'server.log'), protocol.environment));
  const pool = await ServerPool.open({ protocol, urls, seconds, concurrent, process, onWarning, signal });
  if (protocol.keepsImages && !process && rank === 0 && !adapted && !train.freezeVision) {
    const variables = Object.entries(protocol.environment).map((each) => each.join('='));
    onWarning(
      `${protocol.title} must have been started with ${variables.join(' ')}: else it goes on with what the vision tower of ` +
        'earlier weights has made of an image',
    );
  }
  const folder = new WeightsFolder(
    rollout.serverFolder ?? join(output, 'weights'),
    rank,
    adapted ? 'adapter' : 'whole',
    policy.files,
  );
  resources.defer(() => folder.remove());
  const sampler = new ServerSampler({
    ...{ pool, protocol, encoder, seconds, vocabulary },
    weightsOf: (step) => folder.write(step),
    leftovers: folder.prefix,
  });
  await sampler.clear();
  sampler.ends(resources.move());
  return sampler;
}

/** A model that servers answer with. */
interface Answering {
  readonly encoder: PromptEncoder;
  /** Rows of its embedding. */
  readonly vocabulary: number;
  /** Directory of its adapter, which servers are given; undefined: they have the whole model. */
  readonly adapter: string | undefined;
}

/** Where answers come from, in place of a model that is loaded here. */
export interface AnsweredBy {
  readonly backend: Backend;
  /** Addresses. */
  readonly servers: readonly string[];
}

/** Seconds that an answer may take, and prompts that a server has at once, where nothing else is said. */
const defaults = { seconds: 600, concurrent: 64 };

/** Servers that answer for a model. @throws UserError where they do not come */
export async function openAnswering(
  { backend, servers: urls }: AnsweredBy,
  { encoder, vocabulary, adapter }: Answering,
  { onWarning, signal }: Opening,
): Promise<ServerSampler> {
  const protocol = protocols[backend];
  requirePatches(encoder);
  const pool = await ServerPool.open({ ...defaults, protocol, urls, onWarning, signal });
  const name = `visurf-eval-${randomBytes(4).toString('hex')}`;
  await using resources = new AsyncDisposableStack();
  const directoryOf = (own: string): string => (protocol.readsAllWeights ? adapterAlone(own, name, resources) : own);
  const weights: Weights | undefined =
    adapter === undefined ? undefined : { kind: 'adapter', name, directory: directoryOf(realpathSync(adapter)) };
  const sampler = new ServerSampler({
    ...{ pool, protocol, encoder, vocabulary, seconds: defaults.seconds },
    weightsOf: weights && (() => weights),
  });
  sampler.ends(resources.move());
  return sampler;
}

/** @throws UserError where the server could not have this policy's weights, or not show it images as they are */
export function requireServable(backend: Backend, { encoder, adapted }: Pick<Learning, 'encoder' | 'adapted'>): void {
  const { title, takes } = protocols[backend];
  const where = 'rollout.backend';
  requirePatches(encoder);
  if (!takes.includes(adapted ? 'adapter' : 'whole')) {
    throw new UserError(`${title} cannot be given all weights of a model while it runs`, {
      where,
      remedy: 'Train an adapter (train.lora: {}), or sample with rollout.backend: sglang or local.',
    });
  }
  if (adapted?.some(isVision)) {
    throw new UserError(`${title} leaves out the part of an adapter that is in the vision tower`, {
      where,
      remedy: 'Set train.lora.vision: false, or sample with rollout.backend: local.',
    });
  }
}

/** @throws UserError for a family whose images are not patches of the whole picture */
export function requirePatches(encoder: PromptEncoder): void {
  if (encoder.sight.limits) return;
  throw new UserError('servers answer for models of the Qwen families alone', {
    where: 'rollout.backend',
    remedy: 'Use rollout.backend: local.',
  });
}
