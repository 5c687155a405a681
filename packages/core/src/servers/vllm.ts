/**
 * vLLM (0.10.2 and later): chat completions with ids and log-probabilities, adapters by their files.
 *
 * What is asked for because it is otherwise not so: sampling parameters, all of them (else those of the checkpoint's
 * generation_config.json act), ids of prompt and response (text encoded again may have others). Log-probabilities are those
 * of the raw logits, its default (`--logprobs-mode raw_logprobs`).
 */
import { z } from 'zod';

import { UserError } from '../errors.ts';
import type { Message } from '../prompt/template.ts';
import { smallAnswer, ServerFault, type Endpoint } from './http.ts';
import { answerBytes, type AnswerFrom, type Asked, type Said, type Served, type ServerProtocol } from './protocol.ts'; // prettier-ignore
import { checked } from './said.ts';

const models = z.object({
  data: z.array(z.object({ id: z.string(), parent: z.string().nullish(), max_model_len: z.number().nullish() })).min(1),
});

const completion = z.object({
  prompt_token_ids: z.array(z.number()),
  choices: z.array(
    z.object({
      index: z.number(),
      finish_reason: z.string(),
      token_ids: z.array(z.number()),
      logprobs: z.object({ content: z.array(z.object({ logprob: z.number() })) }),
    }),
  ),
});

/** Bias that makes a token all but impossible: the largest that is allowed. */
const never = -100;

export const vllm: ServerProtocol = {
  title: 'vLLM',
  takes: ['adapter'],
  environment: { VLLM_ALLOW_RUNTIME_LORA_UPDATING: 'True' },
  keepsImages: false,
  readsAllWeights: false,
  health: '/health',

  async served(endpoint, signal): Promise<Served> {
    const said = await endpoint.call({ method: 'GET', path: '/v1/models', seconds: 30, most: smallAnswer, signal });
    // Adapters have a parent.
    const { data } = checked(models, said);
    const own = data.find(({ parent }) => parent === null || parent === undefined) ?? data[0]!;
    const adapters = data.filter((each) => each !== own).map(({ id }) => id);
    return { model: own.id, length: own.max_model_len ?? undefined, adapters };
  },

  async load(endpoint, { name, directory }, seconds, signal): Promise<void> {
    const body = { lora_name: name, lora_path: directory };
    try {
      await endpoint.call({ method: 'POST', path: '/v1/load_lora_adapter', body, seconds, most: smallAnswer, signal });
    } catch (error) {
      // The answer to an earlier try may have been lost.
      if (error instanceof ServerFault && error.message.includes('already been loaded')) return;
      throw explained(error, endpoint, directory);
    }
  },

  async unload(endpoint, { name }, seconds): Promise<void> {
    const body = { lora_name: name };
    await endpoint.call({ method: 'POST', path: '/v1/unload_lora_adapter', body, seconds, most: smallAnswer });
  },

  async answer(endpoint, asked, { model, weights, seconds, signal }: AnswerFrom): Promise<Said> {
    const body = { model: weights?.name ?? model, ...requestOf(asked) };
    const path = '/v1/chat/completions';
    const said = await endpoint.call({ method: 'POST', path, body, seconds, most: answerBytes(asked), signal });
    const { prompt_token_ids: promptIds, choices } = checked(completion, withIds(said));
    return {
      promptIds,
      promptTokens: promptIds.length,
      responses: choices
        .toSorted((a, b) => a.index - b.index)
        .map(({ token_ids: tokens, logprobs: { content }, finish_reason: reason }) => ({
          tokens,
          logProbs: content.map(({ logprob }) => logprob),
          stop: stopOf(reason),
        })),
    };
  },
};

/** An older server leaves out ids that it does not know how to return. */
function withIds(said: unknown): unknown {
  const choices = (said as { choices?: readonly ({ token_ids?: unknown } | null)[] } | null | undefined)?.choices;
  const hasIds = (choice: { token_ids?: unknown } | null): boolean => Array.isArray(choice?.token_ids);
  if (!Array.isArray(choices) || choices.every(hasIds)) return said;
  throw new ServerFault('wrong', 'the ids of what was said are missing: vLLM 0.10.2 or later is needed');
}

export function stopOf(reason: string): 'eos' | 'length' {
  if (reason === 'stop') return 'eos';
  if (reason === 'length') return 'length';
  throw new ServerFault('failed', `a response ended by ${JSON.stringify(reason.slice(0, 80))}`);
}

function requestOf({
  conversation,
  pictures,
  group,
  sampling,
  maxNewTokens,
  seed,
  stopIds,
  forbiddenIds,
}: Asked): object {
  const { temperature, topP, topK, repetitionPenalty } = sampling;
  return {
    messages: messagesOf(conversation.messages, pictures),
    ...(Object.keys(conversation.variables).length > 0 && { chat_template_kwargs: conversation.variables }),
    ...{ n: group, temperature, top_p: topP, top_k: topK === 0 ? -1 : topK, min_p: 0, seed },
    ...{ repetition_penalty: repetitionPenalty, presence_penalty: 0, frequency_penalty: 0 },
    ...{ max_completion_tokens: maxNewTokens, stop_token_ids: stopIds, ignore_eos: false },
    ...{ logprobs: true, top_logprobs: 0, return_token_ids: true, skip_special_tokens: false },
    ...(forbiddenIds.length > 0 && { logit_bias: Object.fromEntries(forbiddenIds.map((id) => [id, never])) }),
  };
}

/** Messages in OpenAI's form, every image with its bytes. */
function messagesOf(messages: readonly Message[], pictures: readonly string[]): object[] {
  let at = 0;
  return messages.map(({ role, content }) => ({
    role,
    content:
      typeof content === 'string'
        ? content
        : content.map((part) =>
            part.type === 'text' ? part : { type: 'image_url', image_url: { url: pictures[at++] } },
          ),
  }));
}

/** What a server that takes no adapter would need. */
function explained(error: unknown, endpoint: Endpoint, directory: string): unknown {
  if (!(error instanceof ServerFault) || error.kind !== 'refused') return error;
  const where = endpoint.url;
  if (/No adapter found|No such file|not a valid|does not exist/i.test(error.message)) {
    return new UserError(`the server cannot read the adapter in ${directory}: ${error.message}`, {
      where,
      remedy: 'It must see that folder under the same path: set rollout.serverFolder to one that both see.',
    });
  }
  if (error.status === 404 || error.status === 405) {
    return new UserError('the server takes no adapters', {
      where,
      remedy:
        'Start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve MODEL --enable-lora --max-lora-rank RANK.',
    });
  }
  return new UserError(`the server refused the adapter: ${error.message}`, {
    where,
    remedy: 'It needs --enable-lora, and --max-lora-rank of train.lora.rank or more.',
  });
}
