/** Rollouts by servers, in place of a policy's own: the same prompts, the same noise keys, tokens with log-probabilities. */
import { UserError } from '../errors.ts';
import { conversationOf, type PromptEncoder } from '../prompt/encoder.ts';
import { philox } from '../philox.ts';
import type { SamplingOptions } from '../rollout/respond.ts';
import type { Prompt, Rollout } from '../types.ts';
import { ServerFault } from './http.ts';
import { dataUri } from './pictures.ts';
import type { Server, ServerPool } from './pool.ts';
import type { Asked, ServerProtocol, Weights } from './protocol.ts';
import { requirePrompt, requireResponses } from './said.ts';

export interface ServerSamplerOptions {
  readonly pool: ServerPool;
  readonly protocol: ServerProtocol;
  readonly encoder: PromptEncoder;
  /** Rows of the model's embedding. */
  readonly vocabulary: number;
  /** Seconds that an answer may take. */
  readonly seconds: number;
  /** The weights for the rollouts of a step; undefined: those that servers have. */
  readonly weightsOf?: ((step: number) => Weights) | undefined;
  /** What names of adapters begin with that an earlier process of the run may have left. */
  readonly leftovers?: string | undefined;
}

/** Of the noise, so that a seed for servers is not one of ours. */
const key = 0x5e7e;

export class ServerSampler implements AsyncDisposable {
  readonly encoder: PromptEncoder;
  readonly #options: ServerSamplerOptions;
  readonly #forbidden: readonly number[];
  readonly #ends = new AsyncDisposableStack();

  constructor(options: ServerSamplerOptions) {
    const { encoder, vocabulary } = options;
    this.encoder = encoder;
    this.#options = options;
    this.#forbidden = [...encoder.tokenizer.missingIds(vocabulary), ...encoder.forbiddenIds];
  }

  /**
   * Samples `group` responses per prompt, [B][G].
   * @throws UserError where servers do not answer, or otherwise than a model of ours could; the signal's reason when it is aborted
   */
  async sample(prompts: readonly Prompt[], options: SamplingOptions): Promise<Rollout[][]> {
    const { group, step, onEnded } = options;
    const weights = this.#options.weightsOf?.(step);
    // One that fails ends the others.
    const failed = new AbortController();
    const signal = options.signal ? AbortSignal.any([options.signal, failed.signal]) : failed.signal;
    let ended = 0;
    const answer = async (prompt: Prompt, i: number): Promise<Rollout[]> => {
      const said = await this.#options.pool.run(async (server) => {
        const asked = await this.#asked(prompt, i, options, server);
        return await this.#answer(server, asked, weights, signal);
      }, signal);
      ended += group;
      onEnded?.(ended, group * prompts.length);
      return said.responses.map((each) => this.encoder.rollout(each));
    };
    const all = prompts.map(answer);
    try {
      return await Promise.all(all);
    } catch (error) {
      failed.abort(error);
      await Promise.allSettled(all);
      throw error;
    }
  }

  /** Something that is to end with it. */
  ends(other: AsyncDisposable): void {
    this.#ends.use(other);
  }

  /** Takes back what an earlier process of the run, which died, has given to servers. */
  async clear(): Promise<void> {
    const { pool, protocol, leftovers } = this.#options;
    const left = pool.servers.flatMap(({ endpoint, served: { adapters } }) =>
      adapters
        .filter((name) => leftovers !== undefined && name.startsWith(leftovers))
        .map((name) => ({ endpoint, name })),
    );
    await Promise.allSettled(
      left.map(({ endpoint, name }) => protocol.unload(endpoint, { kind: 'adapter', name, directory: '' }, 30)),
    );
  }

  /** Takes back what servers were given. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ends.disposed) return;
    const { pool, protocol } = this.#options;
    await Promise.allSettled(
      pool.servers.map(async ({ has, endpoint }) => has && protocol.unload(endpoint, has.weights, 10)),
    );
    pool[Symbol.dispose]();
    await this.#ends.disposeAsync();
  }

  async #asked(prompt: Prompt, i: number, options: SamplingOptions, server: Server): Promise<Asked> {
    const { encoder, vocabulary } = this.#options;
    const { group, maxNewTokens, seed, step, promptIds, temperature, topP, topK, repetitionPenalty } = options;
    const { length = Infinity } = server.served;
    if (prompt.inputIds.length + maxNewTokens > length) {
      throw new UserError(
        `a prompt of ${prompt.inputIds.length} tokens and a response of ${maxNewTokens} are more than the server takes, ${length}`,
        { where: server.endpoint.url, remedy: 'Start it with a greater --max-model-len (SGLang: --context-length).' },
      );
    }
    const conversation = conversationOf(prompt);
    if (prompt.videoGridThw) {
      throw new UserError('servers are not asked about videos', { remedy: 'Use rollout.backend: local.' });
    }
    const spoken = conversation.messages.flatMap(({ content }) =>
      typeof content === 'string' ? [content] : content.flatMap((part) => (part.type === 'text' ? [part.text] : [])),
    );
    // Our prompt has it as text, a server would read the token. A request with one for an image and no image is never
    // answered by SGLang.
    const control = spoken.find((text) => encoder.tokenizer.hasSpecial(text));
    if (control !== undefined) {
      throw new UserError('a text of a prompt holds a control token, which servers do not take for text', {
        where: JSON.stringify(control.slice(0, 200)),
        remedy: 'Take it out of the data, or use rollout.backend: local.',
      });
    }
    return {
      ...{ prompt, conversation, group, maxNewTokens, vocabulary },
      pictures: await Promise.all(conversation.pictures.map(dataUri)),
      sampling: { temperature, topP, topK, repetitionPenalty },
      seed: philox([step, promptIds[i] ?? i, 0, 0], [seed >>> 0, key])[0] >>> 1,
      stopIds: encoder.tokenizer.eosIds,
      visionIds: encoder.forbiddenIds,
      forbiddenIds: temperature === 0 ? [] : this.#forbidden,
    };
  }

  async #answer(server: Server, asked: Asked, weights: Weights | undefined, signal: AbortSignal) {
    const { protocol, seconds } = this.#options;
    const { endpoint, served } = server;
    if (weights) await this.#give(server, weights, signal);
    try {
      const said = await protocol.answer(endpoint, asked, { model: served.model, weights, seconds, signal });
      requirePrompt(said, asked, endpoint.url);
      requireResponses(said, asked);
      return said;
    } catch (error) {
      // A server that was started again in between has lost them.
      const isLost = weights && error instanceof ServerFault && (error.kind === 'lost' || error.status === 404);
      if (!isLost) throw error;
      server.has = undefined;
      throw new ServerFault('failed', error.message, { cause: error });
    }
  }

  /** Sees to it that a server has these weights, and has given up those before. */
  async #give(server: Server, weights: Weights, signal: AbortSignal): Promise<void> {
    if (server.has?.weights.name === weights.name) {
      await server.has.loaded;
      return;
    }
    const { protocol, seconds } = this.#options;
    const { endpoint, has: before } = server;
    const give = async (): Promise<void> => {
      if (before) await protocol.unload(endpoint, before.weights, seconds).catch(() => undefined);
      await protocol.load(endpoint, weights, seconds, signal);
    };
    const has = { weights, loaded: give() };
    server.has = has;
    try {
      await has.loaded;
    } catch (error) {
      if (server.has === has) server.has = undefined;
      throw error;
    }
  }
}
