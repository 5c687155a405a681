/**
 * The checkpoint's chat template, rendered so that we know which parts of the result came from messages.
 *
 * The template runs twice: once as it is, once with a marker in place of every text. Where putting the texts back for the
 * markers, with or without the space at their ends, gives the first rendering, that tells the pieces; a template that
 * changes texts otherwise gives one control piece, and is refused only if a text holds a special token.
 */
import { Template } from '@huggingface/jinja';
import { z } from 'zod';
import { messageOf, UserError } from '../errors.ts';
import type { Clip } from '../types.ts';
import { readJson, readOptional } from './files.ts';
import { renderLimited } from './limited.ts';
import type { Piece } from './tokenizer.ts';

export interface VideoPart extends Clip {
  readonly type: 'video';
}

/** An image: its file, or what a file holds. */
export type ImageSource = string | Uint8Array;

export type Part =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'image'; readonly image: ImageSource }
  | VideoPart;

/** A turn of a conversation, in Hugging Face's form. */
export interface Message {
  readonly role: 'system' | 'user' | 'assistant' | 'tool';
  readonly content: string | readonly Part[];
}

/** The file of an image stands under one of three names. */
const imagePart = z
  .object({
    type: z.literal('image'),
    image: z.string().optional(),
    url: z.string().optional(),
    path: z.string().optional(),
  })
  .refine((part) => [part.image, part.url, part.path].filter((each) => each !== undefined).length === 1, {
    error: 'an image part has its file under one of image, url and path',
  })
  .transform(({ image, url, path }) => ({ type: 'image' as const, image: (image ?? url ?? path)! }));

/** OpenAI's form of the same. */
const imageUrlPart = z
  .object({ type: z.literal('image_url'), image_url: z.union([z.string(), z.object({ url: z.string() })]) })
  .transform(({ image_url: file }) => ({
    type: 'image' as const,
    image: typeof file === 'string' ? file : file.url,
  }));

export const messagesSchema = z
  .array(
    z.object({
      role: z.enum(['system', 'user', 'assistant', 'tool']),
      content: z.union([
        z.string(),
        z.array(
          z.discriminatedUnion('type', [
            z.object({ type: z.literal('text'), text: z.string() }),
            imagePart,
            imageUrlPart,
            z.object({
              type: z.literal('video'),
              video: z.array(z.string()).min(1),
              // The reference's assumption where nothing is known.
              fps: z.number().positive().default(24),
            }),
          ]),
        ),
      ]),
    }),
  )
  .min(1);

const templateHolder = z.looseObject({
  chat_template: z
    .union([z.string(), z.array(z.looseObject({ name: z.string(), template: z.string() }))])
    .nullish()
    .transform((value) =>
      typeof value === 'string' ? value : value?.find(({ name }) => name === 'default')?.template,
    ),
});

const name = z
  .union([z.string(), z.looseObject({ content: z.string() }).transform(({ content }) => content)])
  .nullish()
  .catch(undefined);
const specialNames = z.looseObject({ bos_token: name, eos_token: name, pad_token: name, unk_token: name });

/** Special tokens by the names that templates know them by. */
function namedTokens(directory: string): Record<string, string> {
  const { bos_token, eos_token, pad_token, unk_token } =
    readJson(directory, 'tokenizer_config.json', specialNames) ?? {};
  const all = Object.entries({ bos_token, eos_token, pad_token, unk_token });
  return Object.fromEntries(all.flatMap(([key, value]) => (value ? [[key, value]] : [])));
}

/** What templates may ask for, which we do not have. */
const absent = { tools: null, documents: null };

type Variables = Readonly<Record<string, string | boolean>>;

export class ChatTemplate {
  readonly #template: Template;
  readonly #directory: string | undefined;
  readonly #variables: Variables;
  readonly #inParts: boolean;
  #found: { readonly start: string; readonly end: string } | undefined;

  /**
   * Looks in processor_config.json, chat_template.json, chat_template.jinja, tokenizer_config.json: the order in which the
   * reference lets one of them win.
   * @param settings what the family's templates are to know beside the names of tokens
   * @param contents `parts` where they see nothing of a plain string
   */
  static load(directory: string, settings: Variables = {}, contents?: 'parts'): ChatTemplate {
    const held = (file: string) => readJson(directory, file, templateHolder)?.chat_template;
    const source =
      held('processor_config.json') ??
      held('chat_template.json') ??
      readOptional(directory, 'chat_template.jinja') ??
      held('tokenizer_config.json');
    if (source === undefined) {
      throw new UserError('no chat template', {
        where: directory,
        remedy: 'Add the chat_template.jinja of the model (instruction-tuned models have one).',
      });
    }
    try {
      return new ChatTemplate(source, { ...namedTokens(directory), ...settings }, directory, contents);
    } catch (error) {
      throw new UserError(`the chat template does not parse: ${messageOf(error)}`, { where: directory });
    }
  }

  /**
   * @param variables what the template may name beside the messages
   * @param directory of the model, for messages
   * @param contents `parts` where it sees nothing of a plain string
   */
  constructor(source: string, variables: Variables = {}, directory?: string, contents?: 'parts') {
    this.#template = new Template(source);
    this.#variables = variables;
    this.#directory = directory;
    this.#inParts = contents === 'parts';
  }

  /** The prompt up to where the assistant begins to speak. `isControl` tells whether a text holds a special token. */
  render(given: readonly Message[], isControl: (text: string) => boolean): { rendered: string; pieces: Piece[] } {
    const messages = this.#inParts ? given.map(inParts) : given;
    const texts: string[] = [];
    const marked = mapTexts(messages, (text) => `${marker}${texts.push(text) - 1}${marker}`);
    const rendered = this.#run(messages);
    const pieces = placed(this.#run(marked).split(pattern), texts, rendered);
    if (pieces) return { rendered, pieces };
    if (texts.some(isControl)) {
      throw new UserError('a message holds a special token of the model, and its chat template changes messages', {
        remedy: 'Remove the special token from the message.',
      });
    }
    return { rendered, pieces: [{ text: rendered, control: true }] };
  }

  /** What the template writes behind the words of the assistant's turn; empty where it knows prompts only. */
  get turnEnd(): string {
    return this.#turn.end;
  }

  /** Blanks that the template writes between a prompt and the words of the assistant's turn; mostly none. */
  get turnStart(): string {
    return this.#turn.start;
  }

  get #turn(): { readonly start: string; readonly end: string } {
    if (this.#found) return this.#found;
    const said = `${marker}0${marker}`;
    for (const wrap of [asParts, (text: string): string => text]) {
      const question: Message = { role: 'user', content: wrap('a') };
      const messages: Message[] = [question, { role: 'assistant', content: wrap(said) }];
      try {
        const variables = { ...this.#variables, ...absent };
        const [before, end] = renderLimited(this.#template.parsed, { ...variables, messages }).split(said);
        if (before === undefined || end === undefined) continue;
        const asked = { ...variables, messages: [question], add_generation_prompt: true };
        const prompt = renderLimited(this.#template.parsed, asked);
        const start = before.startsWith(prompt) ? before.slice(prompt.length) : '';
        return (this.#found = { start: start.trim() === '' ? start : '', end });
      } catch {
        // Some templates take one of the two forms of content, or prompts only.
      }
    }
    return (this.#found = { start: '', end: '' });
  }

  /** The thought that a template opens for the assistant at the end of a prompt; empty where it opens none. */
  get opening(): string {
    for (const content of [asParts('a'), 'a']) {
      try {
        return /<think>\s*$/.exec(this.#run([{ role: 'user', content }]))?.[0] ?? '';
      } catch {
        // As above.
      }
    }
    return '';
  }

  #run(given: readonly Message[]): string {
    try {
      const messages = mapParts(given, withoutBytes);
      const variables = { ...this.#variables, ...absent, messages, add_generation_prompt: true };
      return renderLimited(this.#template.parsed, variables);
    } catch (error) {
      throw new UserError(`the chat template refuses the messages: ${messageOf(error)}`, { where: this.#directory });
    }
  }
}

/**
 * Parts of a template and, at odd places, numbers of texts, as pieces of what was rendered with the texts, which may have
 * lost space at their ends; undefined where they are changed in another way.
 */
function placed(parts: readonly string[], texts: readonly string[], rendered: string): Piece[] | undefined {
  const pieces: Piece[] = [{ text: parts[0]!, control: true }];
  if (!rendered.startsWith(parts[0]!)) return undefined;
  let at = parts[0]!.length;
  for (let i = 1; i < parts.length; i += 2) {
    const [text, after] = [texts[Number(parts[i])]!, parts[i + 1]!];
    const found = [text, text.trimEnd(), text.trimStart(), text.trim()].find((each) =>
      rendered.startsWith(each + after, at),
    );
    if (found === undefined) return undefined;
    pieces.push({ text: found, control: false }, { text: after, control: true });
    at += found.length + after.length;
  }
  return at === rendered.length ? pieces : undefined;
}

const asParts = (text: string): readonly Part[] => [{ type: 'text', text }];

const inParts = ({ role, content }: Message): Message => ({
  role,
  content: typeof content === 'string' ? asParts(content) : content,
});

/** A noncharacter of Unicode: not for interchange, so no text has a reason to hold it. */
const marker = '\ufdd0';
const pattern = new RegExp(`${marker}(\\d+)${marker}`);

export function mapTexts(messages: readonly Message[], map: (text: string) => string): Message[] {
  const mapped = (part: Part): Part => (part.type === 'text' ? { type: part.type, text: map(part.text) } : part);
  return mapParts(messages, mapped).map(({ role, content }) => ({
    role,
    content: typeof content === 'string' ? map(content) : content,
  }));
}

function mapParts(messages: readonly Message[], map: (part: Part) => Part): Message[] {
  return messages.map(({ role, content }) => ({
    role,
    content: typeof content === 'string' ? content : content.map(map),
  }));
}

/** What a template has no use for. */
const withoutBytes = (part: Part): Part =>
  part.type === 'image' && typeof part.image !== 'string' ? { type: 'image', image: '' } : part;
