/** Rules over several keys of a configuration. */
import { twiceNamed } from './sets.ts';
import { shareOf } from './share.ts';
import { paradigmFaults, type Fault } from '../schedule/paradigm.ts';
import type { Written } from './schema.ts';

/** What contradicts itself in a configuration whose keys are right one by one. */
export function* conflicts(config: Written): Generator<Fault> {
  const { rollout, objective, sft } = config;
  yield* paradigmFaults({ ...config, steps: config.steps ?? Infinity });
  const truncated =
    rollout.temperature !== 1 || rollout.topP !== 1 || rollout.topK !== 0 || rollout.repetitionPenalty !== 1;
  if (truncated && !rollout.allowTruncatedSampling) {
    yield {
      path: ['rollout'],
      message:
        'the loss takes rollouts for samples of the policy itself, so training needs temperature 1, topP 1, topK 0 ' +
        'and repetitionPenalty 1 (rollout.allowTruncatedSampling: true trains from others anyway)',
    };
  }
  yield* serverConflicts(rollout);
  if (objective.baseline === 'leave-one-out' && objective.std !== 'none') {
    yield { path: ['objective', 'baseline'], message: 'leave-one-out goes with std: none' };
  }
  for (const [path, { tokens, over, normalizer }] of [
    [['objective', 'aggregate'], objective.aggregate],
    [['sft', 'aggregate'], sft.aggregate],
  ] as const) {
    if (tokens === 'sum' && over === 'batch') yield { path, message: 'tokens: sum goes with over: sequence' };
    if (tokens === 'mean' && (normalizer ?? 1) !== 1) {
      yield { path: [...path, 'normalizer'], message: 'only tokens: sum has a normalizer' };
    }
  }
  if (config.stream === 'bfloat16' && config.precision !== 'bfloat16') {
    yield { path: ['stream'], message: 'bfloat16 goes with precision: bfloat16' };
  }
  yield* loraConflicts(config);
  if (config.train.offloadActivations && !config.train.checkpointActivations) {
    yield { path: ['train', 'offloadActivations'], message: 'goes with checkpointActivations: true' };
  }
  if (config.optimizer.states === '8bit') {
    const path = ['optimizer', 'states'];
    if (config.optimizer.name === 'sgd') yield { path, message: 'sgd has no states' };
    if (config.precision === 'float64') yield { path, message: '8bit states go with float32 weights' };
  }
  if (config.eval.every > 0 && config.data.validation === undefined) {
    yield { path: ['eval', 'every'], message: 'evaluation needs data.validation' };
  }
  if (config.eval.patience !== undefined && config.eval.every === 0) {
    yield { path: ['eval', 'patience'], message: 'counts evaluations: say eval.every' };
  }
  const twice = twiceNamed(config.data.train);
  if (twice !== undefined) {
    yield { path: ['data', 'train', twice], message: 'the file is in the list twice: give it one weight' };
  }
  const share = shareOf(config.data.validation);
  if (share !== undefined && !(share > 0 && share < 1)) {
    yield { path: ['data', 'validation'], message: 'a share must be above 0% and below 100%' };
  }
  const { minPixels, maxPixels } = config.data;
  if (minPixels !== undefined && maxPixels !== undefined && minPixels > maxPixels) {
    yield { path: ['data', 'minPixels'], message: `minPixels is more than maxPixels (${maxPixels})` };
  }
}

function* serverConflicts({ backend, servers, serverCommand, serverFolder }: Written['rollout']): Generator<Fault> {
  const path = ['rollout', 'servers'];
  if (backend === 'local') {
    const said = { servers: servers.length > 0, serverCommand, serverFolder };
    const key = Object.entries(said).find(([, value]) => value)?.[0];
    if (key) yield { path: ['rollout', key], message: 'goes with rollout.backend: vllm or sglang' };
  } else if (servers.length === 0) {
    const message = `${backend} needs addresses: rollout.servers=[http://127.0.0.1:8000]`;
    yield { path: ['rollout', 'backend'], message };
  }
  for (const [i, url] of servers.entries()) {
    const { protocol, username, password } = URL.parse(url) ?? {};
    if (protocol !== 'http:' && protocol !== 'https:') {
      yield { path: [...path, i], message: 'is no address such as http://127.0.0.1:8000' };
    } else if (username || password) {
      yield { path: [...path, i], message: 'leave the password out: VISURF_SERVER_TOKEN is sent as an API key' };
    }
    if (servers.indexOf(url) < i) yield { path: [...path, i], message: 'the server is in the list twice' };
  }
}

function* loraConflicts({ train: { lora, freezeVision }, precision }: Written): Generator<Fault> {
  if (lora?.quantize && precision === 'float64') {
    yield { path: ['train', 'lora', 'quantize'], message: 'weights in four bits go with float32 or bfloat16' };
  }
  if (lora?.vision && freezeVision) {
    yield { path: ['train', 'lora', 'vision'], message: 'freezeVision leaves nothing of the vision tower to adapt' };
  }
  if (typeof lora?.targets === 'string' && !isPattern(lora.targets)) {
    yield { path: ['train', 'lora', 'targets'], message: 'is no regular expression' };
  }
}

function isPattern(text: string): boolean {
  try {
    return Boolean(new RegExp(text));
  } catch {
    return false;
  }
}
