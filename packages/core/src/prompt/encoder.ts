/** A question and its images become a prompt as the model takes it, answers become tokens and back. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { imageBytes } from '../budgets.ts';
import { fileError, UserError } from '../errors.ts';
import { familyOf, type Family } from '../families/index.ts';
import type { Frame, Prompt } from '../types.ts';
import type { PreparedImage } from './cache.ts';
import { IMAGE_LIMITS } from './decode.ts';
import { requireJson } from './files.ts';
import { gridOf, loadImageSettings, loadVideoSettings, type ImageSettings } from './image.ts';
import { placeImages } from './places.ts';
import { promptPositions } from './positions.ts';
import { frameOf, smartResize, type Coordinates, type Size } from './resize.ts';
import { ChatTemplate, messagesSchema, type ImageSource, type Message, type Part } from './template.ts';
import { Tokenizer, type Piece } from './tokenizer.ts';
import { VisualReader, type Visual } from './visuals.ts';

export interface EncoderOptions {
  /** Limits in place of the checkpoint's own. */
  readonly minPixels?: number | undefined;
  readonly maxPixels?: number | undefined;
  /** Longer prompts are refused; unset: any length. */
  readonly maxPromptTokens?: number | undefined;
  /** Images of more pixels are refused. */
  readonly maxImagePixels?: number | undefined;
  /** Budget for decoded images kept in memory. */
  readonly imageCacheBytes?: number | undefined;
  /** Images are first stretched to a square of that side, whatever their aspect; unset: they are not. */
  readonly stretchedTo?: number | undefined;
}

interface Asked<Image> {
  readonly problem: string;
  readonly images: readonly Image[];
  readonly system?: string | undefined;
  /** Images stand where the problem has `<image>`, as datasets write it; otherwise that is text. */
  readonly places?: boolean;
}

/** A conversation, or a question: images first, then the text. Image paths are absolute or relative to the process. */
export type PromptInput = { readonly messages: readonly Message[] } | Asked<ImageSource>;

const familyFile = z.looseObject({ model_type: z.unknown().optional() });

const modelSchema = ({ tokens, processor }: Family) =>
  z.looseObject({
    image_token_id: z.int().default(tokens.image),
    video_token_id: z.int().default(tokens.video),
    vision_start_token_id: z.int().optional(),
    vision_end_token_id: z.int().optional(),
    vision_config: z
      .looseObject({
        tokens_per_second: z.number().positive().optional(),
        patch_size: z.int().default(processor.patchSize),
        temporal_patch_size: z.int().default(processor.temporalPatchSize),
        spatial_merge_size: z.int().default(processor.mergeSize),
      })
      .nullish(),
  });
type ModelFile = z.output<ReturnType<typeof modelSchema>>;

interface Parts {
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
  readonly settings: ImageSettings;
  readonly videoSettings: ImageSettings;
  readonly family: Family;
  readonly model: ModelFile;
  readonly options: EncoderOptions;
}

export class PromptEncoder {
  readonly tokenizer: Tokenizer;
  /** Vision and padding tokens, which sampling must not choose. */
  readonly forbiddenIds: readonly number[];
  /** Coordinates in which the model speaks of images. */
  readonly coordinates: Coordinates;
  readonly #parts: Parts;
  readonly #visuals: VisualReader;
  readonly #placed = new Set<string>();

  /**
   * @param directory a checkpoint in the Hugging Face layout
   * @throws UserError where a file is missing, malformed or of another model family
   */
  static load(directory: string, options: EncoderOptions = {}): PromptEncoder {
    const { model_type: type } = requireJson(directory, 'config.json', familyFile);
    const family = familyOf(type, path.join(directory, 'config.json'));
    const template = ChatTemplate.load(directory, family.template);
    const parts: Parts = {
      family,
      model: requireJson(directory, 'config.json', modelSchema(family)),
      tokenizer: Tokenizer.load(directory, template.turnEnd),
      template,
      settings: loadImageSettings(directory, family.processor, options),
      videoSettings: loadVideoSettings(directory, family.processor, options),
      options,
    };
    requireOnePatch(parts.model, parts.settings, directory);
    return new PromptEncoder(parts);
  }

  constructor(parts: Parts) {
    this.#parts = parts;
    this.tokenizer = parts.tokenizer;
    this.coordinates = { resize: parts.settings, thousandths: parts.family.coordinates === 'thousandths' };
    const cacheBytes = parts.options.imageCacheBytes ?? imageBytes;
    const { maxImagePixels: maxPixels = IMAGE_LIMITS.maxPixels, stretchedTo: side } = parts.options;
    const limits = { ...IMAGE_LIMITS, maxPixels };
    this.#visuals = new VisualReader(parts.settings, parts.videoSettings, cacheBytes, { limits, side });
    const { model, tokenizer } = parts;
    const vision = [model.image_token_id, model.video_token_id, model.vision_start_token_id, model.vision_end_token_id];
    const named = parts.family.tokens.vision.map((name) => tokenizer.idOf(name));
    const ids = [...vision, ...named, tokenizer.padId];
    this.forbiddenIds = [...new Set(ids)].filter(
      (id) => id !== undefined && !tokenizer.eosIds.includes(id),
    ) as number[];
  }

  /** The same encoder, for which images are first stretched to a square. */
  stretchedTo(side: number): PromptEncoder {
    const { options, ...parts } = this.#parts;
    return new PromptEncoder({ ...parts, options: { ...options, stretchedTo: side } });
  }

  /** Decodes images that will be asked for, beside what else is done. */
  prefetch(images: readonly string[]): void {
    void this.#visuals.prefetch(images);
  }

  /**
   * @param where names the sample in messages
   * @throws UserError for an unusable image, or a prompt longer than the limit
   */
  async encode(input: PromptInput, where?: string): Promise<Prompt> {
    const { settings, model } = this.#parts;
    const messages = 'messages' in input ? input.messages : conversation(input, where);
    const { rendered, pieces } = this.#render(messages);
    const visuals = await this.#visuals.read(messages);
    const images = visuals.filter((each) => each.kind === 'image');
    const videos = visuals.filter((each) => each.kind === 'video');
    if (videos.length > 0) requireOnePatch(model, this.#parts.videoSettings, where);
    const inputIds = this.#expand(pieces, visuals, where);
    this.#checkLength(inputIds.length, visuals, where);
    const imageGridThw = images.map(({ grid }) => grid);
    const videoGridThw = videos.map(({ grid }) => grid);
    return {
      rendered,
      inputIds,
      pixelValues: this.#visuals.patches(visuals),
      images: images.map(({ file }) => file),
      imageGridThw,
      ...(videos.length > 0 && { videoGridThw }),
      positionIds: promptPositions(inputIds, imageGridThw, {
        imageId: model.image_token_id,
        mergeSize: settings.mergeSize,
        videos: {
          id: model.video_token_id,
          gridThw: videoGridThw,
          intervals: videos.map((each) => this.#interval(each)),
        },
      }),
      frames: images.map(({ image }) => this.#frame(image)),
    };
  }

  /**
   * What `encode` would say of a question whose images are so large, without looking at them.
   * @returns the frames of the images
   * @throws UserError as `encode` does, but for images that cannot be used
   */
  measure(input: Asked<string>, sizeOf: (file: string) => Size, where?: string): readonly Frame[] {
    const { settings, options } = this.#parts;
    const messages = conversation(input, where);
    const { rendered, pieces } = this.#render(messages);
    const { stretchedTo: side } = options;
    const sizes = input.images.map(sizeOf);
    const shown = sizes.map((size) => smartResize(side === undefined ? size : { width: side, height: side }, settings));
    const visuals = shown.map((size): Seen => ({ kind: 'image', grid: gridOf(size, settings) }));
    const limit = options.maxPromptTokens ?? Infinity;
    const most = mostTokens(rendered) + this.#tokens(visuals);
    if (most > limit) this.#checkLength(this.#expand(pieces, visuals, where).length, visuals, where);
    else this.#requirePlaces(pieces, visuals, where);
    return sizes.map((size, i) => frameOf(size, shown[i]!, this.coordinates.thousandths));
  }

  #render(messages: readonly Message[]): { rendered: string; pieces: Piece[] } {
    const { tokenizer, template } = this.#parts;
    return template.render(messages, (text) => tokenizer.hasSpecial(text));
  }

  /** Tokens of images and videos. */
  #tokens(visuals: readonly Seen[]): number {
    return visuals.reduce((sum, each) => sum + this.#count(each), 0);
  }

  #count({ grid: [t, h, w] }: Seen): number {
    return (t * h * w) / this.#parts.settings.mergeSize ** 2;
  }

  #expand(pieces: readonly Piece[], visuals: readonly Seen[], where: string | undefined): number[] {
    const { tokenizer, model } = this.#parts;
    const counts = (kind: Seen['kind']) =>
      visuals.filter((each) => each.kind === kind).map((each) => this.#count(each));
    const placeholders = new Map([
      [model.image_token_id, { what: 'image', counts: counts('image') }],
      [model.video_token_id, { what: 'video', counts: counts('video') }],
    ]);
    return expand(tokenizer.encodePieces(pieces), placeholders, where);
  }

  /** Texts of messages hold no placeholder: what the template writes around them is looked at once. */
  #requirePlaces(pieces: readonly Piece[], visuals: readonly Seen[], where: string | undefined): void {
    const around = pieces.filter(({ control }) => control);
    const key = `${visuals.length} ${around.map(({ text }) => text).join('\0')}`;
    if (this.#placed.has(key)) return;
    this.#expand(around, visuals, where);
    if (this.#placed.size < REMEMBERED) this.#placed.add(key);
  }

  /**
   * Ids of a whole response as the policy would have said it: nothing in the text is control, and it ends as the chat
   * template ends a turn.
   */
  encodeResponse(text: string): number[] {
    const { beforeEos, eosId } = this.tokenizer;
    return [...this.encodeText(text + beforeEos), eosId];
  }

  /** Ids of text in which nothing is control; nothing is added. */
  encodeText(text: string): number[] {
    return this.tokenizer.encodeText(text);
  }

  decode(tokens: readonly number[], options: { special?: boolean } = {}): string {
    return this.tokenizer.decode(tokens, options);
  }

  /** Positions between two temporal patches. */
  #interval({ seconds }: { readonly seconds: number }): number {
    const { family, model } = this.#parts;
    return family.interval(seconds, model.vision_config?.tokens_per_second);
  }

  #frame({ originalWidth, originalHeight, pixels }: PreparedImage): Frame {
    return frameOf({ width: originalWidth, height: originalHeight }, pixels, this.coordinates.thousandths);
  }

  #checkLength(length: number, visuals: readonly Seen[], where: string | undefined): void {
    const limit = this.#parts.options.maxPromptTokens;
    if (limit === undefined || length <= limit) return;
    throw new UserError(
      `the prompt has ${length} tokens (${this.#tokens(visuals)} of them image), more than ${limit}`,
      {
        where,
        remedy: 'Raise data.maxPromptTokens, lower data.maxPixels, or shorten the text.',
      },
    );
  }
}

/** An image or a video as far as its tokens are concerned. */
type Seen = Pick<Visual, 'kind' | 'grid'>;

/** Texts that templates write around messages, of which it is known that they have their places. */
const REMEMBERED = 1000;

/** Tokens that a text can have at most: one for every byte, of which normalisation may make three. */
const mostTokens = (text: string): number => (isAscii(text) ? text.length : 9 * text.length) + 16;

const isAscii = (text: string): boolean => /^[\0-\x7f]*$/.test(text);

/** Both files of a checkpoint name the size of its patches; a model with one size reads patches of another as noise. */
function requireOnePatch(model: ModelFile, settings: ImageSettings, where: string | undefined): void {
  const vision = model.vision_config;
  if (!vision) return;
  const wanted = [vision.patch_size, vision.temporal_patch_size, vision.spatial_merge_size].join(', ');
  const found = [settings.patchSize, settings.temporalPatchSize, settings.mergeSize].join(', ');
  if (found === wanted) return;
  throw new UserError(
    `patch, temporal patch and merge size are ${wanted} in config.json, but ${found} in the processor's file`,
    { where, remedy: 'Copy the processor file of the model that config.json describes.' },
  );
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
    if (!(error instanceof SyntaxError)) throw fileError(error, { where: file });
    throw new UserError(`malformed JSON: ${error.message.replaceAll('\n', ' ')}`, { where: file });
  }
  const parsed = messagesSchema.safeParse(value);
  if (!parsed.success) {
    const { path: place, message } = deepest(parsed.error.issues[0]!);
    throw new UserError(`${place.length > 0 ? `${place.join('.')}: ` : ''}${message}`, {
      where: file,
      remedy:
        'Expected [{"role": "user", "content": [{"type": "image", "image": PATH}, {"type": "text", "text": TEXT}]}].',
    });
  }
  const folder = path.dirname(path.resolve(file));
  const locate = (name: string): string => {
    if (/^(https?|data):/.test(name)) {
      throw new UserError(`${name.slice(0, 60)} is no file`, {
        where: file,
        remedy: 'Save the image to a file first.',
      });
    }
    return path.resolve(folder, name.startsWith('file://') ? fileURLToPath(name) : name);
  };
  return parsed.data.map(({ role, content }) => ({
    role,
    content: typeof content === 'string' ? content : content.map((part) => located(part, locate)),
  }));
}

type Issue = Pick<z.core.$ZodIssue, 'path' | 'message'>;

/** The issue of the form that a value comes closest to: it says best what is wrong with it. */
function deepest(issue: z.core.$ZodIssue): Issue {
  if (issue.code !== 'invalid_union') return issue;
  const inner = issue.errors.flat().map(deepest);
  const best = inner.reduce<Issue | undefined>((a, b) => (a && a.path.length >= b.path.length ? a : b), undefined);
  return best ? { path: [...issue.path, ...best.path], message: best.message } : issue;
}

function located(part: Part, locate: (name: string) => string): Part {
  if (part.type === 'image' && typeof part.image === 'string') return { ...part, image: locate(part.image) };
  if (part.type === 'video') return { ...part, video: part.video.map(locate) };
  return part;
}

function conversation({ problem, images, system, places }: Asked<ImageSource>, where: string | undefined): Message[] {
  const content: Part[] = places
    ? placeImages(problem, images, where)
    : [...images.map((image) => ({ type: 'image', image }) as const), { type: 'text', text: problem }];
  const user: Message = { role: 'user', content };
  return system === undefined ? [user] : [{ role: 'system', content: system }, user];
}

/** Repeats the i-th placeholder of a kind as often as the i-th count of its kind says. */
function expand(
  ids: readonly number[],
  placeholders: ReadonlyMap<number, { readonly what: string; readonly counts: readonly number[] }>,
  where: string | undefined,
): number[] {
  const found = new Map([...placeholders.keys()].map((id) => [id, 0]));
  const expanded = ids.flatMap((id) => {
    const at = found.get(id);
    if (at === undefined) return [id];
    found.set(id, at + 1);
    return new Array<number>(placeholders.get(id)?.counts[at] ?? 0).fill(id);
  });
  for (const [id, { what, counts }] of placeholders) {
    if (found.get(id) === counts.length) continue;
    throw new UserError(`the chat template has ${found.get(id)} ${what} placeholders for ${counts.length} ${what}s`, {
      where,
      remedy: `The chat template must write one ${what} placeholder per ${what} part.`,
    });
  }
  return expanded;
}
