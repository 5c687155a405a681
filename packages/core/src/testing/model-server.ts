/**
 * A server of models for tests: it speaks vLLM's and SGLang's protocols as `make vllm-check` and `make sglang-check` show
 * them, with their quirks, and answers with a policy of ours. What can go wrong can be had from it.
 */
import { readdirSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';

import { noGrad } from '@visurf/torch';

import { loadLocalPolicy, type Policy } from '../policy.ts';
import type { Message, Part } from '../prompt/template.ts';
import type { Prompt, Rollout } from '../types.ts';

type Fields = Record<string, unknown>;

/** An answer as it would be sent. */
export interface Draft {
  promptIds: number[];
  responses: { tokens: number[]; logProbs: number[]; stop: string }[];
}

export interface ModelServerOptions {
  readonly program: 'vllm' | 'sglang';
  /** Directory of the model that it serves. */
  readonly model: string;
  /** Changes a policy that answers. */
  readonly spoil?: (policy: Policy) => void;
  /** The address to listen at; unset: any. */
  readonly port?: number;
}

/** What the next requests meet; changed at any time. */
export interface Faults {
  /** Prompts are never answered. */
  hang?: boolean;
  /** Prompts that are cut off, without an answer. */
  cut?: number;
  /** Prompts (with 401: requests) that are answered with a status, so many. */
  refuse?: { status: number; times: number; body?: string };
  /** Changes an answer before it is sent. */
  change?: (draft: Draft) => void;
  /** Answers in place of what would be said. */
  body?: string;
  /** Takes no adapters, as without VLLM_ALLOW_RUNTIME_LORA_UPDATING, or --enable-lora. */
  isFixed?: boolean;
  /** Prompts before which it loses its adapters, as a server that was started again. */
  forget?: number;
  /** SGLang from before its paths were named anew. */
  isOld?: boolean;
  /** Tokens of a prompt below which SGLang takes it. */
  input?: number;
}

interface Sampling {
  readonly n: number;
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  readonly repetitionPenalty: number;
  readonly maxNewTokens: number;
  readonly seed: number;
  readonly bias: Readonly<Record<string, number>>;
}

export class ModelServer implements AsyncDisposable {
  readonly faults: Faults = {};
  /** What was asked: paths, adapters with their names. */
  readonly asked: string[] = [];
  readonly #options: ModelServerOptions;
  readonly #server = createServer((request, response) => void this.#serve(request, response));
  #policy: Policy;
  #version = 'default';
  /** By name, also of those that were unloaded: what is cached of a name outlives it. */
  readonly #adapters = new Map<string, { readonly policy: Policy; loaded: boolean }>();
  #turn: Promise<unknown> = Promise.resolve();
  #count = 0;

  static async start(options: ModelServerOptions): Promise<ModelServer> {
    const server = new ModelServer(options);
    await new Promise<void>((resolve) => server.#server.listen(options.port ?? 0, '127.0.0.1', resolve));
    return server;
  }

  private constructor(options: ModelServerOptions) {
    this.#options = options;
    this.#policy = this.#load(options.model);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    await this.#turn.catch(() => undefined);
    for (const { policy } of this.#adapters.values()) policy[Symbol.dispose]();
    this.#policy[Symbol.dispose]();
  }

  #load(base: string, adapter?: string): Policy {
    const policy = loadLocalPolicy(base, { adapter });
    noGrad(() => this.#options.spoil?.(policy));
    return policy;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? '';
    const body = request.method === 'POST' ? ((await json(request)) as Fields) : {};
    const send = (status: number, said: unknown): void => {
      response.writeHead(status, { 'content-type': typeof said === 'string' ? 'text/plain' : 'application/json' });
      response.end(typeof said === 'string' ? said : JSON.stringify(said));
    };
    if (path === '/health') {
      send(200, '');
      return;
    }
    if (path === '/exit' && import.meta.main) process.exit(1);
    this.asked.push([path, body['lora_name'] ?? body['weight_version'] ?? body['model']].filter(Boolean).join(' '));
    const { refuse } = this.faults;
    const isPrompt = /completions|generate/.test(path);
    if (this.faults.hang && isPrompt) return;
    if (this.faults.cut && isPrompt) {
      this.faults.cut--;
      request.socket.destroy();
      return;
    }
    if (refuse && refuse.times > 0 && (isPrompt || refuse.status === 401)) {
      refuse.times--;
      send(refuse.status, refuse.body ?? { error: { message: 'injected' } });
      return;
    }
    if (this.faults.forget && isPrompt) {
      this.faults.forget--;
      for (const each of this.#adapters.values()) each.loaded = false;
    }
    try {
      const [status, said] = await (this.#options.program === 'vllm'
        ? this.#vllm(path, body)
        : this.#sglang(path, body));
      send(status, said);
    } catch (error) {
      send(500, { error: { message: String(error), type: 'InternalServerError', code: 500 } });
    }
  }

  async #vllm(path: string, body: Fields): Promise<[number, unknown]> {
    const name = body['lora_name'] as string;
    const error = (status: number, message: string): [number, unknown] => [
      status,
      { error: { message, code: status } },
    ];
    const cards = [...this.#adapters].flatMap(([id, { loaded }]) => (loaded ? [{ id, parent: 'served' }] : []));
    switch (path) {
      case '/v1/models':
        return [200, { data: [{ id: 'served', parent: null, max_model_len: 4096 }, ...cards] }];
      case '/v1/load_lora_adapter':
        if (this.faults.isFixed) return [404, { detail: 'Not Found' }];
        if (this.#adapters.get(name)?.loaded) return error(400, `The lora adapter '${name}' has already been loaded.`);
        this.#give(name, body['lora_path'] as string);
        return [200, `Success: LoRA adapter '${name}' added successfully.`];
      case '/v1/unload_lora_adapter':
        if (!this.#adapters.get(name)?.loaded) return error(404, `The lora adapter '${name}' cannot be found.`);
        this.#adapters.get(name)!.loaded = false;
        return [200, `Success: LoRA adapter '${name}' removed successfully.`];
      case '/v1/chat/completions': {
        const policy = this.#named(body['model'] as string);
        if (!policy) return error(404, `The model \`${String(body['model'])}\` does not exist.`);
        const draft = await this.#answer(
          policy,
          { messages: ownMessages(body['messages'] as Fields[]) },
          samplingOfVllm(body),
        );
        return [200, this.faults.body ?? vllmForm(draft, body['return_token_ids'] === true)];
      }
      default:
        return [404, { detail: 'Not Found' }];
    }
  }

  async #sglang(path: string, body: Fields): Promise<[number, unknown]> {
    const name = body['lora_name'] as string;
    const { isFixed, isOld, input: most = 4090 } = this.faults;
    const refused = (why: string): [number, unknown] => [400, { rid: null, success: false, error_message: why }];
    switch (path) {
      case isOld ? '/get_model_info' : '/model_info':
        return [200, { model_path: this.#options.model, weight_version: this.#version }];
      case isOld ? '/get_server_info' : '/server_info':
        // `context_length` is what it was started with, null where the checkpoint says it.
        return [200, { context_length: null, max_req_input_len: most }];
      case '/v1/models':
        return [200, { data: [{ id: 'served', parent: null, max_model_len: most + 6 }] }];
      case '/load_lora_adapter': {
        const directory = body['lora_path'] as string;
        if (isFixed) return refused('LoRA is not enabled. Please set `--enable-lora` to enable LoRA.');
        // It takes every file of weights for the adapter's.
        if (readdirSync(directory).filter((file) => file.endsWith('.safetensors')).length > 1)
          return refused('zero-dimensional tensor (at position 0) cannot be concatenated');
        this.#give(name, directory);
        return [200, { success: true, error_message: null, loaded_adapters: {} }];
      }
      case '/unload_lora_adapter':
        if (!this.#adapters.get(name)?.loaded) return refused(`LoRA with name ${name} does not exist.`);
        this.#adapters.get(name)!.loaded = false;
        return [200, { success: true }];
      case '/update_weights_from_disk': {
        const before = this.#policy;
        this.#policy = this.#load(body['model_path'] as string);
        before[Symbol.dispose]();
        this.#version = body['weight_version'] as string;
        return [200, { success: true, message: 'Succeeded to update model weights.', num_paused_requests: 0 }];
      }
      case '/generate': {
        const adapter = body['lora_path'] as string | undefined;
        const policy = adapter === undefined ? this.#policy : this.#named(adapter);
        if (!policy)
          return [
            400,
            { error: { message: `Got LoRA adapter that has never been loaded: ${adapter}\nAll loaded: []` } },
          ];
        const input = { messages: messagesOfText(body['text'] as string, body['image_data'] as string[] | undefined) };
        const draft = await this.#answer(
          policy,
          input,
          samplingOfSglang(body['sampling_params'] as Fields, ++this.#count),
        );
        const form = sglangForm(draft, body['logprob_start_len'] === 0, policy.encoder.forbiddenIds, this.#version);
        return [200, this.faults.body ?? form];
      }
      default:
        return [404, { detail: 'Not Found' }];
    }
  }

  #give(name: string, directory: string): void {
    const stale = this.#adapters.get(name)?.policy;
    this.#adapters.set(name, { policy: stale ?? this.#load(this.#options.model, directory), loaded: true });
  }

  #named(name: string): Policy | undefined {
    if (name === 'served') return this.#policy;
    const { policy, loaded } = this.#adapters.get(name) ?? {};
    return loaded ? policy : undefined;
  }

  /** One after the other: a policy answers one batch at a time. */
  #answer(policy: Policy, input: { messages: Message[] }, sampling: Sampling): Promise<Draft> {
    const turn = this.#turn.then(async () => {
      const prompt = await policy.encoder.encode(input);
      const { n: group, bias, ...rest } = sampling;
      const [said = []] = await policy.sample([prompt], { ...rest, group, step: 0, promptIds: [0] });
      const draft = draftOf(prompt, said);
      const forbidden = policy.encoder.forbiddenIds;
      // The model may say what it is not kept from.
      if (rest.temperature > 0 && forbidden.some((id) => bias[id] !== -100))
        draft.responses[0]!.tokens[0] = forbidden[0]!;
      this.faults.change?.(draft);
      return draft;
    });
    this.#turn = turn.catch(() => undefined);
    return turn;
  }
}

const draftOf = ({ inputIds }: Prompt, said: readonly Rollout[]): Draft => ({
  promptIds: [...inputIds],
  responses: said.map(({ tokens, logProbs, stop }) => ({
    ...{ tokens: [...tokens], logProbs: [...logProbs] },
    stop: stop === 'eos' ? 'stop' : 'length',
  })),
});

const bytesOf = (uri: string): Uint8Array => Buffer.from(uri.slice(uri.indexOf(',') + 1), 'base64');

function ownMessages(messages: readonly Fields[]): Message[] {
  return messages.map(({ role, content }) => ({
    role: role as Message['role'],
    content:
      typeof content === 'string'
        ? content
        : (content as { type: string; text?: string; image_url?: { url: string } }[]).map(
            ({ text, image_url: image }) =>
              image
                ? { type: 'image' as const, image: bytesOf(image.url) }
                : { type: 'text' as const, text: text ?? '' },
          ),
  }));
}

/** A rendered conversation of one turn of a user, taken apart again. */
function messagesOfText(rendered: string, pictures: readonly string[] = []): Message[] {
  const [, system, user = ''] =
    /^(?:<\|im_start\|>system\n([^]*?)<\|im_end\|>\n)?<\|im_start\|>user\n([^]*?)<\|im_end\|>\n<\|im_start\|>assistant\n$/.exec(
      rendered,
    ) ?? [];
  let at = 0;
  const content = user.split(/(<\|vision_start\|><\|image_pad\|><\|vision_end\|>)/).flatMap((part): Part[] => {
    if (part === '') return [];
    if (part.startsWith('<|vision_start|>')) return [{ type: 'image', image: bytesOf(pictures[at++] ?? '') }];
    return [{ type: 'text', text: part }];
  });
  return [...(system === undefined ? [] : [{ role: 'system' as const, content: system }]), { role: 'user', content }];
}

/** Whatever is left out is as generation_config.json of the checkpoint says: greedy. */
function samplingOfVllm(body: Fields): Sampling {
  const number = (key: string, otherwise: number): number => (body[key] as number | undefined) ?? otherwise;
  return {
    ...{ n: number('n', 1), temperature: number('temperature', 0), topP: number('top_p', 1) },
    ...{ topK: Math.max(0, number('top_k', 0)), repetitionPenalty: number('repetition_penalty', 1.05) },
    ...{ maxNewTokens: number('max_completion_tokens', 16), seed: number('seed', 0) },
    bias: (body['logit_bias'] ?? {}) as Record<string, number>,
  };
}

function samplingOfSglang(body: Fields, seed: number): Sampling {
  const { max_new_tokens: length, ...rest } = body;
  return samplingOfVllm({ ...rest, max_completion_tokens: length, seed });
}

const vllmForm = ({ promptIds, responses }: Draft, withIds: boolean): object => ({
  object: 'chat.completion',
  ...(withIds && { prompt_token_ids: promptIds }),
  choices: responses.map(({ tokens, logProbs, stop }, index) => ({
    index,
    finish_reason: stop,
    message: { role: 'assistant', content: '' },
    logprobs: { content: logProbs.map((logprob) => ({ token: '', logprob, bytes: [], top_logprobs: [] })) },
    ...(withIds && { token_ids: tokens }),
  })),
});

/** Image tokens of a prompt show as hashes of the picture. */
const sglangForm = (
  { promptIds, responses }: Draft,
  tellsIds: boolean,
  hidden: readonly number[],
  version: string,
): object[] =>
  responses.map(({ tokens, logProbs, stop }) => ({
    text: '',
    meta_info: {
      ...{ prompt_tokens: promptIds.length, finish_reason: { type: stop }, weight_version: version },
      output_token_logprobs: logProbs.map((value, i) => [value, tokens[i], null]),
      ...(tellsIds && {
        input_token_logprobs: promptIds.map((id, i) => [
          i === 0 ? null : -1,
          hidden.includes(id) ? 7_000_000 + i : id,
          null,
        ]),
      }),
    },
  }));

// As a command: node model-server.ts vllm MODEL PORT
if (import.meta.main) {
  const [program, model = '', port] = process.argv.slice(2);
  await ModelServer.start({ program: program === 'sglang' ? 'sglang' : 'vllm', model, port: Number(port) });
}
