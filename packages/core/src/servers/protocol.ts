/** What a server of models is asked and answers, whichever program it is. */
import type { Conversation } from '../prompt/encoder.ts';
import type { Sampling } from '../rollout/sampler.ts';
import type { Prompt } from '../types.ts';
import type { Drawn } from '../rollout/respond.ts';
import type { Endpoint } from './http.ts';

/** Weights as files, under a name that nothing else has ever had: what a server remembers of a name may be stale. */
export interface Weights {
  readonly kind: 'adapter' | 'whole';
  readonly name: string;
  /** Absolute, here and where the server is. */
  readonly directory: string;
}

/** One prompt, to be answered `group` times. */
export interface Asked {
  readonly prompt: Prompt;
  readonly conversation: Conversation;
  /** Its images as `data:` addresses. */
  readonly pictures: readonly string[];
  readonly group: number;
  readonly sampling: Sampling;
  readonly maxNewTokens: number;
  /** Of the sampling, where the server has some. */
  readonly seed: number;
  readonly stopIds: readonly number[];
  readonly forbiddenIds: readonly number[];
  /** That stand for images, and around them. */
  readonly visionIds: readonly number[];
  /** Rows of the model's embedding: ids are below that. */
  readonly vocabulary: number;
}

/** What came back, of the right types and nothing more. */
export interface Said {
  /** The prompt as the server had it; undefined where it does not tell. NaN: an id that it does not tell. */
  readonly promptIds: readonly number[] | undefined;
  readonly promptTokens: number;
  readonly responses: readonly Drawn[];
}

/** The model that a server has. */
export interface Served {
  /** Its name there. */
  readonly model: string;
  /** Longest prompt with its response; undefined where the server does not tell. */
  readonly length: number | undefined;
  /** Names of adapters that it has. */
  readonly adapters: readonly string[];
}

export interface ServerProtocol {
  /** As its authors write it. */
  readonly title: string;
  /** Kinds of weights that it can be given while it runs. */
  readonly takes: readonly Weights['kind'][];
  /** Variables that it needs where visurf starts it. */
  readonly environment: Readonly<Record<string, string>>;
  /** Whether it goes on with what it has computed of images when all weights are others, unless its environment is as above. */
  readonly keepsImages: boolean;
  /** Whether it takes every file of weights in an adapter's directory for the adapter's. */
  readonly readsAllWeights: boolean;
  readonly health: string;
  /** @throws ServerFault */
  served(endpoint: Endpoint, signal?: AbortSignal): Promise<Served>;
  /** @throws ServerFault; UserError with what to do where the server is not set up for it */
  load(endpoint: Endpoint, weights: Weights, seconds: number, signal?: AbortSignal): Promise<void>;
  /** Gives up weights that it was given. */
  unload(endpoint: Endpoint, weights: Weights, seconds: number): Promise<void>;
  /**
   * @param model its name; weights it was given go before
   * @throws ServerFault, of kind `lost` where it has not got these weights
   */
  answer(endpoint: Endpoint, asked: Asked, from: AnswerFrom): Promise<Said>;
}

export interface AnswerFrom {
  readonly model: string;
  readonly weights: Weights | undefined;
  readonly seconds: number;
  readonly signal?: AbortSignal | undefined;
}

/** Bytes that an answer can have at most: ids and log-probabilities of the responses, texts, ids of the prompt. */
export const answerBytes = ({ group, maxNewTokens, prompt }: Asked): number =>
  65_536 + 64 * prompt.inputIds.length + group * maxNewTokens * 1024;
