/** Chat completions: a conversation as the model was trained to see it, and its answer in OpenAI's form. */
import { randomInt, randomUUID } from 'node:crypto';
import type { Message } from '@visurf/core';
import { narrowed, readAnswer } from '@visurf/core/internals';
import type { Answered, AnswerSchema, AskOptions, OpenedThread, Piece, Said } from '@visurf/core/internals';
import { Refusal, refusalOf } from './failure.ts';
import { imageOf } from './images.ts';
import { logprobsOf, type TokenLogprob } from './logprobs.ts';
import { readRequest, type ChatMessage, type ChatRequest } from './request.ts';
import { heardIn, Speech } from './speech.ts';

export interface ChatLimits {
  /** Of one request. */
  readonly maxImages: number;
  /** Bytes of a request. */
  readonly maxBody: number;
  /** Of an answer. */
  readonly maxTokens: number;
  readonly maxPromptTokens: number;
  /** Whether images are fetched from http and https addresses. */
  readonly allowHttpImages: boolean;
}

/** What one request asks of the model. */
export interface Chat {
  readonly asked: ChatRequest;
  readonly messages: readonly Message[];
  /** Images of the last message, which answers are about; they are the last of the conversation. */
  readonly shown: number;
  readonly options: AskOptions;
}

interface Words {
  readonly content?: string;
  readonly reasoning?: string;
  readonly reasoning_content?: string;
}

/** Whoever answers, under the names that clients know it by. */
export interface Served {
  readonly opened: OpenedThread;
  readonly names: readonly [string, ...string[]];
  readonly limits: ChatLimits;
}

export class ChatService {
  readonly #served: Served;

  constructor(served: Served) {
    this.#served = served;
  }

  /** Schema of what stands between the answer tags; undefined where the task has none, or nothing says how it was trained. */
  get schema(): AnswerSchema | undefined {
    const { isGuided, experiment } = this.#served.opened;
    return isGuided ? experiment.taskOf().schema : undefined;
  }

  /** @throws Refusal */
  async read(body: unknown): Promise<Chat> {
    const asked = readRequest(body);
    const { names, limits } = this.#served;
    if (!names.includes(asked.model)) throw new Refusal(404, `there is no model ${asked.model}: ${names[0]}`, 'model');
    const parts = asked.messages.flatMap(({ content }) => (typeof content === 'string' ? [] : content));
    const images = parts.filter(({ type }) => type === 'image_url').length;
    if (images > limits.maxImages)
      throw new Refusal(400, `${images} images are more than ${limits.maxImages}`, 'messages');
    const last = asked.messages.at(-1)!;
    if (last.role !== 'user') throw new Refusal(400, 'the last message must be of the user', 'messages');
    const messages = await Promise.all(asked.messages.map((each) => this.#message(each)));
    const { content } = messages.at(-1)!;
    const shown = typeof content === 'string' ? 0 : content.filter(({ type }) => type === 'image').length;
    return { asked, messages: this.#introduced(messages), shown, options: this.#options(asked) };
  }

  /** Answers. @throws Refusal */
  async complete({ asked, messages, shown, options }: Chat, signal: AbortSignal): Promise<object> {
    const answered = await this.#served.opened.policy.ask({ messages }, { ...options, signal });
    const choices = await Promise.all(
      answered.answers.map(async (said, index) => {
        const { reasoning, content } = this.#words(said.text, asked);
        const thought = reasoning === '' ? null : reasoning;
        return {
          index,
          message: {
            ...{ role: 'assistant', content, refusal: null, reasoning: thought, reasoning_content: thought },
            ...this.#places(said, answered, shown),
          },
          logprobs: asked.logprobs ? { content: await this.#logprobs(said.tokens), refusal: null } : null,
          finish_reason: finishOf(said),
        };
      }),
    );
    return { ...this.#head('chat.completion'), choices, usage: usageOf(answered) };
  }

  /**
   * Answers piece by piece.
   * @param send takes the data of an event; what it throws ends the answer
   * @throws Refusal before the first piece only
   */
  async stream(chat: Chat, signal: AbortSignal, start: () => Send): Promise<void> {
    const { asked, messages, shown, options } = chat;
    const head = this.#head('chat.completion.chunk');
    const speeches = Array.from({ length: options.n ?? 1 }, () => new Speech(this.#served.opened.isGuided));
    let send: Send | undefined;
    const chunk = (index: number, delta: object, more: object = {}): Promise<void> => {
      const choice = { index, delta, logprobs: null, finish_reason: null, ...more };
      return send!({ ...head, choices: [choice], ...(asked.stream_options?.include_usage && { usage: null }) });
    };
    const begin = async (): Promise<void> => {
      send = start();
      for (const index of speeches.keys()) await chunk(index, { role: 'assistant', content: '' });
    };
    let sent = Promise.resolve();
    const stop = new AbortController();
    const then = (work: () => Promise<void>): void => {
      sent = sent.then(work);
      // Whoever does not read any more is not answered any more.
      sent.catch((error: unknown) => stop.abort(error));
    };
    const onPiece = (index: number, { text, tokens }: Piece): void =>
      then(async () => {
        if (!send) await begin();
        const words = this.#isEncoded(asked) ? {} : wordsOf(speeches[index]!.push(text));
        const logprobs = asked.logprobs && { content: await this.#logprobs(tokens), refusal: null };
        if (Object.keys(words).length > 0 || logprobs) await chunk(index, words, logprobs ? { logprobs } : {});
      });
    const answered = await this.#served.opened.policy.ask(
      { messages },
      { ...options, signal: AbortSignal.any([signal, stop.signal]) },
      onPiece,
    );
    then(async () => {
      if (!send) await begin();
      for (const [index, said] of answered.answers.entries()) {
        const rest = this.#isEncoded(asked) ? this.#words(said.text, asked) : speeches[index]!.end();
        await chunk(
          index,
          { ...wordsOf(rest), ...this.#places(said, answered, shown) },
          { finish_reason: finishOf(said) },
        );
      }
      if (asked.stream_options?.include_usage) await send!({ ...head, choices: [], usage: usageOf(answered) });
    });
    await sent;
  }

  async #message({ role, content }: ChatMessage): Promise<Message> {
    const { opened, limits } = this.#served;
    const isUsers = role === 'user';
    const put = (text: string): string => (isUsers && opened.isGuided ? opened.experiment.userTurn(text) : text);
    const named = role === 'developer' ? 'system' : role;
    if (typeof content === 'string') return { role: named, content: put(content) };
    const parts = await Promise.all(
      content.map(async (part) =>
        part.type === 'text'
          ? part
          : {
              type: 'image' as const,
              image: await imageOf(part.image_url.url, limits.allowHttpImages, limits.maxBody),
            },
      ),
    );
    const texts = parts.flatMap((part) => (part.type === 'text' ? [part.text] : []));
    if (!isUsers) return { role: named, content: texts.join('\n') };
    if (!opened.isGuided) return { role: named, content: parts };
    // As training showed them: images first, then the question.
    const images = parts.filter(({ type }) => type === 'image');
    return { role: named, content: [...images, { type: 'text', text: put(texts.join('\n')) }] };
  }

  /** With the system message of the training, where the client has none. */
  #introduced(messages: readonly Message[]): readonly Message[] {
    const { system } = this.#served.opened.experiment.settings;
    if (system === undefined || messages.some(({ role }) => role === 'system')) return messages;
    return [{ role: 'system', content: system }, ...messages];
  }

  #options(asked: ChatRequest): AskOptions {
    const { limits, opened } = this.#served;
    const usual = Math.min(limits.maxTokens, opened.experiment.settings.maxNewTokens);
    const maxNewTokens = asked.max_completion_tokens ?? asked.max_tokens ?? usual;
    if (maxNewTokens > limits.maxTokens) {
      throw new Refusal(400, `${maxNewTokens} tokens are more than ${limits.maxTokens}`, 'max_tokens');
    }
    const stops = typeof asked.stop === 'string' ? [asked.stop] : (asked.stop ?? []);
    const schema = this.#schemaOf(asked);
    return {
      ...{ maxNewTokens, maxPromptTokens: limits.maxPromptTokens, n: asked.n ?? 1, stops },
      temperature: asked.temperature ?? 0,
      topP: asked.top_p ?? 1,
      topK: Math.max(0, asked.top_k ?? 0),
      repetitionPenalty: asked.repetition_penalty ?? 1,
      seed: Math.abs(asked.seed ?? randomInt(2 ** 31)),
      others: asked.logprobs ? (asked.top_logprobs ?? 0) : 0,
      ...(schema && { schema }),
    };
  }

  #schemaOf({ response_format: format }: ChatRequest): AnswerSchema | undefined {
    if (format?.type !== 'json_schema') return undefined;
    if (!this.schema) throw new Refusal(400, 'this model has no task whose answers have a schema', 'response_format');
    try {
      return narrowed(format.json_schema.schema, this.schema);
    } catch (error) {
      throw new Refusal(400, refusalOf(error).message, 'response_format');
    }
  }

  /** Texts stand in the answer as they are: who asks for JSON is given them as JSON, whole. */
  #isEncoded({ response_format: format }: ChatRequest): boolean {
    return format?.type === 'json_schema' && this.schema?.type === 'string';
  }

  #words(text: string, asked: ChatRequest): { reasoning: string; content: string } {
    const { reasoning, content } = heardIn(text, this.#served.opened.isGuided);
    return { reasoning, content: this.#isEncoded(asked) ? JSON.stringify(content.trim()) : content };
  }

  #places({ text }: Said, { frames }: Answered, shown: number): object {
    const { boxes, points } = readAnswer(this.#served.opened.experiment, text, shown > 0 ? frames.slice(-shown) : []);
    return { boxes, points };
  }

  #logprobs(told: Said['tokens']): Promise<TokenLogprob[]> {
    return logprobsOf(told, (tokens) => this.#served.opened.policy.spell(tokens));
  }

  #head(object: string): object {
    const created = Math.floor(Date.now() / 1000);
    return { id: `chatcmpl-${randomUUID()}`, object, created, model: this.#served.names[0], system_fingerprint: null };
  }
}

/** Takes the data of an event. */
export type Send = (data: object) => Promise<void>;

function wordsOf({ reasoning, content }: { readonly reasoning: string; readonly content: string }): Words {
  return {
    ...(reasoning !== '' && { reasoning, reasoning_content: reasoning }),
    ...(content !== '' && { content }),
  };
}

const finishOf = ({ stop }: Said): 'stop' | 'length' => (stop === 'length' ? 'length' : 'stop');

function usageOf({ answers, promptTokens }: Answered): object {
  const completion = answers.reduce((sum, { tokens }) => sum + tokens.length, 0);
  return { prompt_tokens: promptTokens, completion_tokens: completion, total_tokens: promptTokens + completion };
}
