/**
 * Questions that wait for a model: those that wait together are answered together, in one forward, each in its own way.
 * Whoever comes later begins a batch of its own beside it: batches take turns, a token each, so that a short answer does
 * not wait for the end of a long one.
 */
import { setImmediate } from 'node:timers/promises';

import { evaluatedTogether } from '../budgets.ts';
import { Constraint, Vocabulary } from '../constrain/constraint.ts';
import { UserError } from '../errors.ts';
import { requireVisible } from '../model/pack.ts';
import type { Policy } from '../policy.ts';
import type { PromptInput } from '../prompt/messages.ts';
import { greedy, type Sampling } from '../rollout/sampler.ts';
import type { Told, Turn } from '../rollout/turns.ts';
import type { AnswerSchema } from '../tasks/schema.ts';
import type { Frame, Prompt } from '../types.ts';
import { Utterance, type Piece } from './utterance.ts';

/** How one question is answered; what is left out is greedy, of at most 512 tokens. Plain data, but for the signal. */
export interface AskOptions extends Partial<Sampling> {
  readonly maxNewTokens?: number | undefined;
  readonly seed?: number | undefined;
  /** Answers; the noise of each is its own. */
  readonly n?: number | undefined;
  /** An answer ends before the first of these texts that it says. */
  readonly stops?: readonly string[] | undefined;
  /** How many other likely tokens are told with every token. */
  readonly others?: number | undefined;
  /** Of what stands between the answer tags. */
  readonly schema?: AnswerSchema | undefined;
  /** Longer prompts are refused. */
  readonly maxPromptTokens?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** One answer. `stop`: a stop string was said. `length` also where an answer of a schema had to be cut short. */
export interface Said {
  readonly text: string;
  readonly tokens: readonly Told[];
  readonly stop: 'eos' | 'length' | 'stop';
}

export interface Answered {
  readonly answers: readonly Said[];
  /** Of the prompt, one per image. */
  readonly frames: readonly Frame[];
  readonly promptTokens: number;
}

/** Sees what an answer says as it grows. */
export type OnPiece = (member: number, piece: Piece) => void;

interface Waiting {
  readonly prompt: Prompt;
  readonly options: AskOptions;
  readonly onPiece: OnPiece;
  readonly resolve: (answered: Answered) => void;
  readonly reject: (error: unknown) => void;
}

const LONGEST = 512;
/** Batches that take turns, at most: each reads all weights for its token, so those who come beyond wait, to share one. */
const MOST_BATCHES = 4;

/** Members of a question in the model's hands. */
class Members implements Turn {
  readonly sampling: Sampling;
  readonly seed: number;
  readonly maxNewTokens: number;
  readonly others: number;
  readonly forbidden: Turn['forbidden'];
  readonly #utterances: readonly Utterance[];
  readonly #constraints: readonly Constraint[];
  readonly #waiting: Waiting;
  readonly #eosIds: readonly number[];

  constructor(waiting: Waiting, { encoder }: Policy, vocabulary: () => Vocabulary) {
    const {
      schema,
      signal: _,
      n = 1,
      stops = [],
      seed = 0,
      others = 0,
      maxNewTokens = LONGEST,
      ...sampling
    } = waiting.options;
    this.sampling = samplingOf(sampling);
    [this.seed, this.maxNewTokens, this.others] = [seed, maxNewTokens, others];
    this.#waiting = waiting;
    this.#eosIds = encoder.tokenizer.eosIds;
    this.#utterances = Array.from(
      { length: n },
      (_each, member) =>
        new Utterance(
          (tokens) => encoder.decode(tokens),
          stops,
          (piece) => waiting.onPiece(member, piece),
        ),
    );
    this.#constraints = schema ? this.#utterances.map(() => new Constraint(vocabulary(), schema, maxNewTokens)) : [];
    this.forbidden = schema && ((member) => this.#constraints[member]!.forbidden());
  }

  onToken(member: number, told: Told): boolean {
    if (this.#waiting.options.signal?.aborted) return true;
    this.#constraints[member]?.push(told.token);
    return this.#utterances[member]!.push(told, this.#eosIds.includes(told.token));
  }

  finish(): void {
    const { prompt, options, resolve, reject } = this.#waiting;
    if (options.signal?.aborted) return reject(options.signal.reason);
    const answers = this.#utterances.map((utterance, member): Said => {
      utterance.end();
      const { text, told } = utterance;
      const isEnded = this.#eosIds.includes(told.at(-1)?.token ?? -1) && !this.#constraints[member]?.isCut;
      return { text, tokens: told, stop: utterance.isStopped ? 'stop' : isEnded ? 'eos' : 'length' };
    });
    resolve({ answers, frames: prompt.frames, promptTokens: prompt.inputIds.length });
  }
}

function samplingOf({ temperature, topP, topK, repetitionPenalty }: Partial<Sampling>): Sampling {
  return {
    temperature: temperature ?? greedy.temperature,
    topP: topP ?? greedy.topP,
    topK: topK ?? greedy.topK,
    repetitionPenalty: repetitionPenalty ?? greedy.repetitionPenalty,
  };
}

export class AnswerQueue {
  readonly #policy: Policy;
  readonly #most: number;
  readonly #arriving = new Set<Promise<Prompt>>();
  #waiting: Waiting[] = [];
  #works = false;
  /** Batches that are being answered, by what they wait for, with how many answers each gives. */
  readonly #live = new Map<Promise<void>, number>();
  /** Who waits for the model to be idle, or has it for itself. */
  #loners = 0;
  #alone: Promise<unknown> = Promise.resolve();
  #vocabulary: Vocabulary | undefined;
  /** How many batches were answered, and how many questions in them. */
  readonly counts = { batches: 0, questions: 0 };

  /** @param most answers at once, of all batches: what bounds the memory of their caches */
  constructor(policy: Policy, most = evaluatedTogether) {
    [this.#policy, this.#most] = [policy, most];
  }

  /**
   * @throws UserError for an image that cannot be used, a prompt that is too long, or a model whose probabilities are NaN; the
   * signal's reason
   */
  async ask(input: PromptInput, options: AskOptions = {}, onPiece: OnPiece = () => undefined): Promise<Answered> {
    const { signal, maxPromptTokens = Infinity, maxNewTokens = LONGEST } = options;
    signal?.throwIfAborted();
    const encoding = this.#policy.encoder.encode(input);
    this.#arriving.add(encoding);
    const prompt = await encoding.finally(() => this.#arriving.delete(encoding));
    const { length } = prompt.inputIds;
    requireVisible(length + maxNewTokens, this.#policy.model.config);
    if (length > maxPromptTokens) {
      throw new UserError(`the prompt has ${length} tokens, more than ${maxPromptTokens}`, {
        remedy: 'Shorten the conversation, or show fewer or smaller images.',
      });
    }
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<Answered>();
    this.#waiting.push({ prompt, options, onPiece, resolve, reject });
    const forget = (): void => this.#forget(signal!);
    signal?.addEventListener('abort', forget);
    void this.#work();
    return await promise.finally(() => signal?.removeEventListener('abort', forget));
  }

  /** Does what needs the model for itself, once what is being answered is done. */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    this.#loners += 1;
    const done = this.#alone
      .then(async () => {
        await Promise.all(this.#live.keys());
        return await work();
      })
      .finally(() => (this.#loners -= 1));
    this.#alone = done.catch(() => undefined);
    return await done;
  }

  /** What waits is given up; what is being answered ends with its next token. */
  #forget(signal: AbortSignal): void {
    const [gone, kept] = [[] as Waiting[], [] as Waiting[]];
    for (const each of this.#waiting) (each.options.signal === signal ? gone : kept).push(each);
    this.#waiting = kept;
    for (const { reject } of gone) reject(signal.reason);
  }

  async #work(): Promise<void> {
    if (this.#works) return;
    this.#works = true;
    while (this.#waiting.length > 0) {
      // Those that are asked in the same breath come along.
      await setImmediate();
      await Promise.allSettled(this.#arriving);
      const batch = this.#loners > 0 ? [] : this.#take();
      if (batch.length > 0) this.#begin(batch);
      else if (this.#loners > 0) await this.#alone;
      else if (this.#live.size > 0) await Promise.race(this.#live.keys());
    }
    this.#works = false;
  }

  /**
   * The longest waiting, and those that go with it: a group has one size. Whoever finds no room waits for it before those
   * that came later, so that many small questions keep no large one out.
   */
  #take(): Waiting[] {
    const [first] = this.#waiting;
    if (!first) return [];
    const size = sizeOf(first);
    const taken = this.#live.values().reduce((sum, each) => sum + each, 0);
    const places = Math.floor((this.#most - taken) / size);
    const isFull = this.#live.size >= MOST_BATCHES || places < 1;
    if (this.#live.size > 0 && isFull) return [];
    const fitting = this.#waiting.filter((each) => sizeOf(each) === size).slice(0, Math.max(1, places));
    this.#waiting = this.#waiting.filter((each) => !fitting.includes(each));
    return fitting;
  }

  #begin(batch: readonly Waiting[]): void {
    const answering = this.#answer(batch)
      .catch((error: unknown) => {
        for (const { reject } of batch) reject(error);
      })
      .finally(() => this.#live.delete(answering));
    this.#live.set(answering, batch.length * sizeOf(batch[0]!));
  }

  async #answer(batch: readonly Waiting[]): Promise<void> {
    const policy = this.#policy;
    const vocabulary = (): Vocabulary =>
      (this.#vocabulary ??= new Vocabulary(policy.encoder.tokenizer, policy.model.config.text.vocabularySize));
    const turns = batch.map((waiting) => new Members(waiting, policy, vocabulary));
    await policy.sample(
      batch.map(({ prompt }) => prompt),
      {
        ...{ ...greedy, seed: 0, step: 0, promptIds: batch.map(() => 0), turns },
        group: batch[0]!.options.n ?? 1,
        maxNewTokens: Math.max(...turns.map(({ maxNewTokens }) => maxNewTokens)),
      },
    );
    this.counts.batches += 1;
    this.counts.questions += batch.length;
    for (const turn of turns) turn.finish();
  }
}

const sizeOf = ({ options: { n = 1 } }: Waiting): number => n;

const queues = new WeakMap<Policy, AnswerQueue>();

/** The queue of a policy: whoever asks it waits in one. */
export function queueOf(policy: Policy): AnswerQueue {
  const queue = queues.get(policy) ?? new AnswerQueue(policy);
  queues.set(policy, queue);
  return queue;
}
