/**
 * SGLang (0.5 and later): its own `/generate`, adapters by their files, whole weights by `update_weights_from_disk`.
 *
 * The prompt goes as text with one placeholder per image. The ids of image tokens are not told: in their places SGLang has
 * hashes of the picture. Ids of the prompt cost its log-probabilities, so they are asked for with the first prompt of a
 * server alone; the number of its tokens is always compared. Log-probabilities are those after the bias, at temperature 1
 * the same but for forbidden tokens. Whole weights carry a version, which every answer names: a server that was started
 * again has another.
 */
import { z } from 'zod';

import { UserError } from '../errors.ts';
import { smallAnswer, ServerFault, type Endpoint } from './http.ts';
import { answerBytes, type AnswerFrom, type Asked, type Said, type Served, type ServerProtocol } from './protocol.ts';
import { checked } from './said.ts';
import { stopOf } from './vllm.ts';

const info = z.object({ model_path: z.string() });
const limits = z.object({ max_req_input_len: z.number().nullish() });
const models = z.object({ data: z.array(z.object({ id: z.string(), parent: z.string().nullish() })) });

/** [log-probability, id, text]; the first token of a prompt has none. */
const scored = z.tuple([z.number().nullable(), z.number()], z.unknown());

const generated = z.object({
  meta_info: z.object({
    prompt_tokens: z.number(),
    finish_reason: z.object({ type: z.string() }),
    output_token_logprobs: z.array(scored),
    input_token_logprobs: z.array(scored).nullish(),
    weight_version: z.string().nullish(),
  }),
});

const never = -100;

/**
 * Tokens that a prompt with its response may have beyond `max_req_input_len`. Of what is more the response is cut off
 * without a word, though the context is two tokens longer.
 */
const beyondInput = 4;

/** What it says of an adapter that it was given before it was started again. */
const hasLost = /LoRA adapters? .*(never been loaded|not loaded)/;

/** Servers that have told the ids of a prompt. */
const compared = new WeakSet<Endpoint>();

export const sglang: ServerProtocol = {
  title: 'SGLang',
  takes: ['adapter', 'whole'],
  // Otherwise an image that was seen before a change of the weights looks as it did.
  environment: { SGLANG_VLM_CACHE_SIZE_MB: '0' },
  keepsImages: true,
  readsAllWeights: true,
  health: '/health',

  async served(endpoint, signal): Promise<Served> {
    const get = (path: string): Promise<unknown> =>
      endpoint.call({ method: 'GET', path, seconds: 30, most: smallAnswer, signal });
    // Of old versions alone: newer ones say that it will be removed.
    const told = (name: string): Promise<unknown> =>
      get(`/${name}`).catch((error: unknown) => {
        if (error instanceof ServerFault && error.status === 404) return get(`/get_${name}`);
        throw error;
      });
    const { model_path: model } = checked(info, await told('model_info'));
    const { max_req_input_len: input } = checked(limits, await told('server_info'));
    const { data } = checked(models, await get('/v1/models'));
    const adapters = data.flatMap(({ id, parent }) => (parent ? [id] : []));
    return { model, length: typeof input === 'number' ? input + beyondInput : undefined, adapters };
  },

  async load(endpoint, { kind, name, directory }, seconds, signal): Promise<void> {
    const [path, body] =
      kind === 'adapter'
        ? ['/load_lora_adapter', { lora_name: name, lora_path: directory }]
        : ['/update_weights_from_disk', { model_path: directory, weight_version: name, flush_cache: true }];
    const remedy =
      kind === 'adapter'
        ? 'Start it with --enable-lora --max-lora-rank RANK --lora-target-modules all; it must see rollout.serverFolder under ' +
          'the same path.'
        : 'It must see rollout.serverFolder under the same path.';
    try {
      await endpoint.call({ method: 'POST', path, body, seconds, most: smallAnswer, signal });
    } catch (error) {
      if (!(error instanceof ServerFault) || error.kind !== 'refused') throw error;
      // The answer to an earlier try may have been lost.
      if (/already (exists|loaded)/.test(error.message)) return;
      throw new UserError(`the server refused the weights in ${directory}: ${error.message}`, {
        where: endpoint.url,
        remedy,
      });
    }
  },

  async unload(endpoint, { kind, name }, seconds): Promise<void> {
    if (kind === 'whole') return;
    const body = { lora_name: name };
    await endpoint.call({ method: 'POST', path: '/unload_lora_adapter', body, seconds, most: smallAnswer });
  },

  async answer(endpoint, asked, { weights, seconds, signal }: AnswerFrom): Promise<Said> {
    const tellsIds = !compared.has(endpoint);
    const body = {
      ...requestOf(asked),
      ...(tellsIds && { logprob_start_len: 0 }),
      ...(weights?.kind === 'adapter' && { lora_path: weights.name }),
    };
    const most = answerBytes(asked);
    const said = await endpoint
      .call({ method: 'POST', path: '/generate', body, seconds, most, signal })
      .catch((error: unknown) => {
        if (!(error instanceof ServerFault) || !hasLost.test(error.message)) throw error;
        throw new ServerFault('lost', error.message, { cause: error });
      });
    const all = (Array.isArray(said) ? said : [said]).map((each) => checked(generated, each).meta_info);
    const versions = all.map((each) => each.weight_version);
    if (weights?.kind === 'whole' && versions.some((version) => version !== weights.name)) {
      throw new ServerFault('lost', `it has the weights ${versions[0] ?? 'of its start'}`);
    }
    const first = all[0]?.input_token_logprobs;
    if (tellsIds && first) compared.add(endpoint);
    return {
      promptIds: tellsIds && first ? idsOf(first, asked) : undefined,
      promptTokens: all[0]?.prompt_tokens ?? 0,
      responses: all.map(({ output_token_logprobs: tokens, finish_reason: { type } }) => ({
        tokens: tokens.map(([, id]) => id),
        logProbs: tokens.map(([value]) => value ?? NaN),
        stop: stopOf(type),
      })),
    };
  },
};

function requestOf({ prompt, pictures, group, sampling, maxNewTokens, stopIds, forbiddenIds }: Asked): object {
  const { temperature, topP, topK, repetitionPenalty } = sampling;
  return {
    text: prompt.rendered,
    ...(pictures.length > 0 && { image_data: pictures }),
    return_logprob: true,
    sampling_params: {
      ...{ n: group, temperature, top_p: topP, top_k: topK === 0 ? -1 : topK, min_p: 0 },
      ...{ repetition_penalty: repetitionPenalty, presence_penalty: 0, frequency_penalty: 0 },
      ...{ max_new_tokens: maxNewTokens, stop_token_ids: stopIds, ignore_eos: false, skip_special_tokens: false },
      ...(forbiddenIds.length > 0 && { logit_bias: Object.fromEntries(forbiddenIds.map((id) => [id, never])) }),
    },
  };
}

/** Ids of the prompt; NaN where ours is that of an image, whose place has a hash there. */
function idsOf(told: readonly z.output<typeof scored>[], { prompt: { inputIds }, visionIds }: Asked): number[] {
  const hidden = new Set(visionIds);
  return told.map(([, id], i) => (hidden.has(inputIds[i] ?? NaN) && id !== inputIds[i] ? NaN : id));
}
