/** From a question and its images to a prompt as the model takes it, and from answers to tokens and back. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { messageOf, UserError } from '../errors.ts';
import type { Frame, Prompt } from '../types.ts';
import { ImageCache, type PreparedImage } from './cache.ts';
import { decodeImage } from './decode.ts';
import { requireJson } from './files.ts';
import { gridOf, loadImageSettings, resizePixels, smartResize, writePatches, type ImageSettings } from './image.ts';
import { promptPositions } from './positions.ts';
import { ChatTemplate, messagesSchema, type Message } from './template.ts';
import { Tokenizer } from './tokenizer.ts';

export interface EncoderOptions {
  /** In place of the checkpoint's own limits. */
  readonly minPixels?: number | undefined;
  readonly maxPixels?: number | undefined;
  /** Longer prompts are refused; unset: any length. */
  readonly maxPromptTokens?: number | undefined;
  /** Budget for decoded images kept in memory. */
  readonly imageCacheBytes?: number | undefined;
}

/** A conversation, or a question: images first, then the text. Image paths are absolute or relative to the process. */
export type PromptInput =
  | { readonly messages: readonly Message[] }
  | { readonly problem: string; readonly images: readonly string[]; readonly system?: string | undefined };

const modelConfig = z.looseObject({
  model_type: z.enum(['qwen2_vl', 'qwen2_5_vl']),
  image_token_id: z.int(),
  video_token_id: z.int().optional(),
  vision_start_token_id: z.int().optional(),
  vision_end_token_id: z.int().optional(),
});
type ModelConfig = z.output<typeof modelConfig>;

interface Parts {
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
  readonly settings: ImageSettings;
  readonly model: ModelConfig;
  readonly options: EncoderOptions;
}

export class PromptEncoder {
  readonly tokenizer: Tokenizer;
  /** Vision and padding tokens, which sampling must not choose. */
  readonly forbiddenIds: readonly number[];
  private readonly parts: Parts;
  private readonly cache: ImageCache;

  /**
   * @param directory a checkpoint in the Hugging Face layout
   * @throws UserError where a file is missing, malformed or of another model family
   */
  static load(directory: string, options: EncoderOptions = {}): PromptEncoder {
    return new PromptEncoder({
      model: requireJson(directory, 'config.json', modelConfig),
      tokenizer: Tokenizer.load(directory),
      template: ChatTemplate.load(directory),
      settings: loadImageSettings(directory, options),
      options,
    });
  }

  constructor(parts: Parts) {
    this.parts = parts;
    this.tokenizer = parts.tokenizer;
    this.cache = new ImageCache(parts.options.imageCacheBytes ?? 256 * 2 ** 20);
    const { model, tokenizer } = parts;
    const vision = [model.image_token_id, model.video_token_id, model.vision_start_token_id, model.vision_end_token_id];
    const named = ['<|vision_start|>', '<|vision_end|>', '<|vision_pad|>', '<|image_pad|>', '<|video_pad|>'];
    const ids = [...vision, ...named.map((name) => tokenizer.idOf(name)), tokenizer.padId];
    this.forbiddenIds = [...new Set(ids)].filter(
      (id) => id !== undefined && !tokenizer.eosIds.includes(id),
    ) as number[];
  }

  /**
   * @param where names the sample in messages
   * @throws UserError for an unusable image, or a prompt longer than the limit
   */
  async encode(input: PromptInput, where?: string): Promise<Prompt> {
    const { tokenizer, template, settings, model } = this.parts;
    const messages = 'messages' in input ? input.messages : conversation(input);
    const { rendered, pieces } = template.render(messages, (text) => tokenizer.hasSpecial(text));
    const images: PreparedImage[] = [];
    for (const file of imagesOf(messages)) images.push(await this.cache.get(file, (path) => this.prepare(path)));

    const imageGridThw = images.map(({ pixels }) => gridOf(pixels, settings));
    const placeholders = imageGridThw.map(([t, h, w]) => (t * h * w) / settings.mergeSize ** 2);
    const inputIds = expand(tokenizer.encodePieces(pieces), model.image_token_id, placeholders, where);
    this.checkLength(inputIds.length, placeholders, where);
    return {
      rendered,
      inputIds,
      pixelValues: images.length === 0 ? undefined : patches(images, settings),
      imageGridThw,
      positionIds: promptPositions(inputIds, imageGridThw, {
        imageId: model.image_token_id,
        mergeSize: settings.mergeSize,
      }),
      frames: images.map((image) => this.frame(image)),
    };
  }

  /** Ids of a whole response as the policy would have said it: nothing in the text is control, the stop token is added. */
  encodeResponse(text: string): number[] {
    return [...this.encodeText(text), this.tokenizer.eosId];
  }

  /** Ids of text in which nothing is control; nothing is added. */
  encodeText(text: string): number[] {
    return this.tokenizer.encodeText(text);
  }

  decode(tokens: readonly number[], options: { special?: boolean } = {}): string {
    return this.tokenizer.decode(tokens, options);
  }

  private async prepare(file: string): Promise<PreparedImage> {
    const decoded = await decodeImage(file);
    const pixels = resizePixels(decoded, smartResize(decoded, this.parts.settings));
    return { pixels, originalWidth: decoded.width, originalHeight: decoded.height };
  }

  /** Qwen2.5-VL speaks pixels of the resized image, Qwen2-VL thousandths. */
  private frame({ originalWidth, originalHeight, pixels }: PreparedImage): Frame {
    const thousandths = this.parts.model.model_type === 'qwen2_vl';
    return {
      width: originalWidth,
      height: originalHeight,
      modelWidth: thousandths ? 1000 : pixels.width,
      modelHeight: thousandths ? 1000 : pixels.height,
    };
  }

  private checkLength(length: number, placeholders: readonly number[], where: string | undefined): void {
    const limit = this.parts.options.maxPromptTokens;
    if (limit === undefined || length <= limit) return;
    const image = placeholders.reduce((sum, count) => sum + count, 0);
    throw new UserError(`the prompt has ${length} tokens (${image} of them image), more than ${limit}`, {
      where,
      remedy: 'Raise data.maxPromptTokens, lower data.maxPixels, or shorten the text.',
    });
  }
}

/**
 * Reads messages in Hugging Face's form from a JSON file; image paths are relative to the file.
 * @throws UserError
 */
export function readMessages(file: string): Message[] {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new UserError(`cannot read messages: ${messageOf(error)}`, { where: file });
  }
  const parsed = messagesSchema.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new UserError(`${issue!.path.join('.')}: ${issue!.message}`, {
      where: file,
      remedy:
        'Expected [{"role": "user", "content": [{"type": "image", "image": PATH}, {"type": "text", "text": TEXT}]}].',
    });
  }
  const folder = path.dirname(path.resolve(file));
  return parsed.data.map(({ role, content }) => ({
    role,
    content:
      typeof content === 'string'
        ? content
        : content.map((part) => (part.type === 'image' ? { ...part, image: path.resolve(folder, part.image) } : part)),
  }));
}

function conversation({
  problem,
  images,
  system,
}: {
  problem: string;
  images: readonly string[];
  system?: string | undefined;
}): Message[] {
  const content = [
    ...images.map((image) => ({ type: 'image', image }) as const),
    { type: 'text', text: problem } as const,
  ];
  const user: Message = { role: 'user', content };
  return system === undefined ? [user] : [{ role: 'system', content: system }, user];
}

function imagesOf(messages: readonly Message[]): string[] {
  return messages.flatMap(({ content }) =>
    typeof content === 'string' ? [] : content.flatMap((part) => (part.type === 'image' ? [part.image] : [])),
  );
}

/** Repeats the placeholder of image i `counts[i]` times. */
function expand(
  ids: readonly number[],
  imageId: number,
  counts: readonly number[],
  where: string | undefined,
): number[] {
  let image = 0;
  const expanded = ids.flatMap((id) => (id === imageId ? new Array<number>(counts[image++] ?? 0).fill(id) : [id]));
  if (image === counts.length) return expanded;
  throw new UserError(`the chat template has ${image} image placeholders for ${counts.length} images`, {
    where,
    remedy: 'The chat template must write one image placeholder per image part.',
  });
}

function patches(images: readonly PreparedImage[], settings: ImageSettings): Float32Array {
  const values = images.reduce((sum, { pixels }) => sum + pixels.data.length, 0) * settings.temporalPatchSize;
  const out = new Float32Array(values);
  let offset = 0;
  for (const { pixels } of images) offset = writePatches(pixels, settings, out, offset);
  return out;
}
