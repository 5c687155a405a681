/** A question and its images become a prompt as the model takes it, answers become tokens and back. */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { imageBytes } from '../budgets.ts';
import { fileError, invariant, UserError } from '../errors.ts';
import { readText } from '../regular.ts';
import { familyOf, type Family } from '../families/index.ts';
import type { ImageProcessor, PixelArea, Processor, Size } from '../model/images.ts';
import type { Clip, Frame, Grid, Prompt } from '../types.ts';
import type { PreparedImage } from './cache.ts';
import { IMAGE_LIMITS } from './decode.ts';
import { requireJson } from './files.ts';
import {
  loadImageSettings,
  loadVideoSettings,
  mergedTokens,
  openOwnProcessor,
  patchesOf,
  patchProcessor,
  type ImageSettings,
} from './image.ts';
import { placeVisuals } from './places.ts';
import { promptPositions, sequencePositions, type Positions } from './positions.ts';
import { frameOf, type Coordinates } from './resize.ts';
import { ChatTemplate, messagesSchema, type ImageSource, type Message, type Part } from './template.ts';
import { Tokenizer, type Piece } from './tokenizer.ts';
import { timesOf, withTimes } from './timed.ts';
import { VisualReader, type StillImage, type Video } from './visuals.ts';

export interface EncoderOptions {
  /** Limits in place of the checkpoint's own. */
  readonly minPixels?: number | undefined;
  readonly maxPixels?: number | undefined;
  /** Whether prompts open a thought, where the chat template can; unset: as it does of itself. */
  readonly think?: boolean | undefined;
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
  readonly videos?: readonly Clip[] | undefined;
  readonly system?: string | undefined;
  /** Images and videos stand where the problem has `<image>` and `<video>`, as datasets write it; otherwise that is text. */
  readonly places?: boolean;
}

/** A conversation, or a question: images first, then the text. Image paths are absolute or relative to the process. */
export type PromptInput = { readonly messages: readonly Message[] } | Asked<ImageSource>;

const familyFile = z.looseObject({ model_type: z.unknown().optional() });

const modelSchema = ({ tokens }: Family) =>
  z.looseObject({
    image_token_id: z.int().default(tokens.image),
    video_token_id: z
      .int()
      .optional()
      .transform((id) => tokens.video && (id ?? tokens.video)),
    vision_start_token_id: z.int().optional(),
    vision_end_token_id: z.int().optional(),
    vision_config: z
      .looseObject({
        tokens_per_second: z.number().positive().optional(),
        // Of both sides, where images are shown in a way of the family's own.
        patch_size: z.int().optional().catch(undefined),
        temporal_patch_size: z.int().optional(),
        spatial_merge_size: z.int().optional(),
      })
      .nullish(),
  });
type ModelFile = z.output<ReturnType<typeof modelSchema>>;

/** How images and videos are shown, and in which coordinates the model speaks of them. */
interface Sight {
  readonly images: ImageProcessor;
  /** Of patches; undefined where the family shows images in a way of its own. */
  readonly settings: ImageSettings | undefined;
  readonly videos: ImageSettings | undefined;
  readonly coordinates: Coordinates;
}

function openSight(directory: string, family: Family, model: ModelFile, options: EncoderOptions): Sight {
  const thousandths = family.coordinates === 'thousandths';
  if (thousandths && 'open' in family.processor) {
    const images = openOwnProcessor(directory, family.processor, options);
    return { images, settings: undefined, videos: undefined, coordinates: { thousandths } };
  }
  const processor = patchesOf(family);
  const settings = loadImageSettings(directory, processor, options);
  requireOnePatch(model, processor, settings, directory);
  return {
    images: patchProcessor(settings),
    settings,
    videos: loadVideoSettings(directory, processor, options),
    coordinates: thousandths ? { thousandths } : { thousandths, resize: settings },
  };
}

interface Parts {
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
  readonly sight: Sight;
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
  /** The beginning of every response that stands in the prompt already, a thought that the template opens; mostly empty. */
  readonly opening: string;
  readonly #parts: Parts;
  readonly #visuals: VisualReader;
  readonly #placed = new Set<string>();
  /** Ids of texts that stand in place of images. */
  readonly #spelled = new Map<string, readonly number[]>();

  /**
   * @param directory a checkpoint in the Hugging Face layout
   * @throws UserError where a file is missing, malformed or of another model family
   */
  static load(directory: string, options: EncoderOptions = {}): PromptEncoder {
    const { model_type: type } = requireJson(directory, 'config.json', familyFile);
    const family = familyOf(type, path.join(directory, 'config.json'));
    const settings = { ...family.template, ...(options.think !== undefined && { enable_thinking: options.think }) };
    const template = ChatTemplate.load(directory, settings, family.contents);
    const model = requireJson(directory, 'config.json', modelSchema(family));
    const tokenizer = Tokenizer.load(directory, template.turnEnd, family.tokenizer);
    const sight = openSight(directory, family, model, options);
    return new PromptEncoder({ family, model, tokenizer, template, sight, options });
  }

  constructor(parts: Parts) {
    this.#parts = parts;
    this.tokenizer = parts.tokenizer;
    this.opening = parts.template.opening;
    const { images, videos, coordinates } = parts.sight;
    this.coordinates = coordinates;
    const cacheBytes = parts.options.imageCacheBytes ?? imageBytes;
    const { maxImagePixels: maxPixels = IMAGE_LIMITS.maxPixels, stretchedTo: side } = parts.options;
    const limits = { ...IMAGE_LIMITS, maxPixels };
    const framesTogether = parts.family.videos.kind === 'timed';
    this.#visuals = new VisualReader(images, videos, cacheBytes, { limits, side, framesTogether });
    const { model, tokenizer } = parts;
    const vision = [model.image_token_id, model.video_token_id, model.vision_start_token_id, model.vision_end_token_id];
    const named = parts.family.tokens.vision.map((name) => tokenizer.idOf(name));
    const ids = [...vision, ...named, tokenizer.padId];
    this.forbiddenIds = [...new Set(ids)].filter(
      (id) => id !== undefined && !tokenizer.eosIds.includes(id),
    ) as number[];
  }

  /** How images are shown, and the area that they are scaled to where they are patches of the whole picture. */
  get sight(): { readonly images: ImageProcessor; readonly limits: PixelArea | undefined } {
    const { images, settings } = this.#parts.sight;
    return { images, limits: settings };
  }

  /** The same encoder, for which images are first stretched to a square. */
  stretchedTo(side: number): PromptEncoder {
    const { options, ...parts } = this.#parts;
    return new PromptEncoder({ ...parts, options: { ...options, stretchedTo: side } });
  }

  /** Decodes images that will be asked for, beside what else is done. */
  prefetch(samples: readonly Pick<Asked<string>, 'images' | 'videos'>[]): void {
    void this.#visuals.prefetch(samples);
  }

  /**
   * @param where names the sample in messages
   * @throws UserError for an unusable image, or a prompt longer than the limit
   */
  async encode(input: PromptInput, where?: string): Promise<Prompt> {
    const { sight, model } = this.#parts;
    const messages = 'messages' in input ? input.messages : conversation(input, where);
    if (!sight.videos) this.#refuseVideos(messages, where);
    const { rendered, pieces } = this.#render(messages);
    const visuals = await this.#visuals.read(messages);
    const images = visuals.filter((each) => each.kind === 'image');
    const videos = visuals.filter((each) => each.kind === 'video');
    if (videos.length > 0) requireOnePatch(model, patchesOf(this.#parts.family), sight.videos!, where);
    const inputIds = this.#expand(pieces, visuals, where);
    this.#checkLength(inputIds.length, visuals, where);
    const imageGridThw = images.map(({ grid }) => grid);
    const videoGridThw = videos.map(({ grid }) => grid);
    const shown = this.#visuals.values(visuals);
    return {
      rendered,
      inputIds,
      pixelValues: shown?.values,
      ...(shown && !sight.settings && { pixelShape: shown.shape }),
      images: images.map(({ file }) => file),
      imageGridThw,
      ...(videos.length > 0 && { videoGridThw }),
      positionIds: this.#positions(inputIds, imageGridThw, videos),
      frames: images.map(({ image }) => this.#frame(image)),
    };
  }

  #positions(inputIds: readonly number[], images: readonly Grid[], videos: readonly Video[]): Positions {
    const { family, model, sight } = this.#parts;
    if (family.positions === 'sequence' || !sight.settings) return sequencePositions(inputIds.length);
    return promptPositions(inputIds, images, {
      imageId: model.image_token_id,
      mergeSize: sight.settings.mergeSize,
      ...(model.video_token_id !== undefined && {
        videos: {
          id: model.video_token_id,
          gridThw: videos.flatMap((each) => this.#runs(each)),
          intervals: videos.map((each) => this.#interval(each)),
        },
      }),
    });
  }

  #refuseVideos(messages: readonly Message[], where: string | undefined): void {
    const isVideo = ({ content }: Message): boolean =>
      typeof content !== 'string' && content.some(({ type }) => type === 'video');
    if (!messages.some(isVideo)) return;
    throw new UserError(`videos are not supported for ${this.#parts.family.title}`, {
      where,
      remedy: 'Give its frames as images, each with {"type": "image", "image": PATH}.',
    });
  }

  /**
   * What `encode` would say of a question whose images are so large, without looking at them.
   * @returns the frames of the images
   * @throws UserError as `encode` does, but for images that cannot be used
   */
  measure(input: Asked<string>, sizeOf: (file: string) => Size, where?: string): readonly Frame[] {
    const { sight, options, model, family } = this.#parts;
    const messages = conversation(input, where);
    const { rendered, pieces } = this.#render(messages);
    const { stretchedTo: side } = options;
    const sizes = input.images.map(sizeOf);
    const shown = sizes.map((size) => sight.images.shown(side === undefined ? size : { width: side, height: side }));
    const clips = input.videos ?? [];
    if (clips.length > 0) {
      if (sight.videos) requireOnePatch(model, patchesOf(family), sight.videos, where);
      else this.#refuseVideos(messages, where);
    }
    const visuals: Seen[] = [
      ...shown.map(({ grid, tokens, text }): Still => ({ kind: 'image', grid, tokens, text })),
      ...clips.map((clip) => this.#visuals.measure(clip, sizeOf)),
    ];
    const limit = options.maxPromptTokens ?? Infinity;
    const spelled = visuals.reduce((sum, each) => sum + this.#mostOf(each), 0);
    if (mostTokens(rendered) + spelled > limit)
      this.#checkLength(this.#expand(pieces, visuals, where).length, visuals, where);
    else this.#requirePlaces(pieces, visuals, where);
    return sizes.map((size, i) => frameOf(size, shown[i]!.size, this.coordinates.thousandths));
  }

  /** Tokens that it can take in a prompt at most, its times included. */
  #mostOf(each: Seen): number {
    if (each.kind === 'image') return this.#spell(each.text)?.length ?? each.tokens;
    return this.#merged(each.grid) + each.grid[0] * MOST_OF_TIME;
  }

  #render(messages: readonly Message[]): { rendered: string; pieces: Piece[] } {
    const { tokenizer, template } = this.#parts;
    return template.render(messages, (text) => tokenizer.hasSpecial(text));
  }

  /** Tokens of images and videos. */
  #tokens(visuals: readonly Seen[]): number {
    return visuals.reduce((sum, each) => sum + (each.kind === 'image' ? each.tokens : this.#merged(each.grid)), 0);
  }

  /** Of patches of a video. */
  #merged(grid: Grid): number {
    const { videos } = this.#parts.sight;
    invariant(videos, 'videos are known');
    return mergedTokens(grid, videos);
  }

  /** Runs of placeholders that it takes in the prompt. */
  #runs({ kind, grid: [t, h, w] }: Seen): Grid[] {
    const isTimed = kind === 'video' && this.#parts.family.videos.kind === 'timed';
    return isTimed ? Array.from({ length: t }, () => [1, h, w] as const) : [[t, h, w]];
  }

  #expand(pieces: readonly Piece[], visuals: readonly Seen[], where: string | undefined): number[] {
    const { tokenizer, model } = this.#parts;
    const { image_token_id: image, video_token_id: video } = model;
    const written = visuals.flatMap((each) =>
      each.kind === 'image' ? [this.#spell(each.text) ?? new Array<number>(each.tokens).fill(image)] : [],
    );
    const placeholders = new Map([[image, { what: 'image', written }]]);
    if (video !== undefined) {
      const runs = visuals.flatMap((each) => (each.kind === 'video' ? this.#runs(each) : []));
      const pads = runs.map((run) => new Array<number>(this.#merged(run)).fill(video));
      placeholders.set(video, { what: 'video', written: pads });
    }
    return expand(tokenizer.encodePieces(this.#withTimes(pieces, visuals, where)), placeholders, where);
  }

  #withTimes(pieces: readonly Piece[], visuals: readonly Seen[], where: string | undefined): readonly Piece[] {
    const { family, model, tokenizer, sight } = this.#parts;
    const videos = visuals.filter((each) => each.kind === 'video');
    if (family.videos.kind !== 'timed' || videos.length === 0) return pieces;
    const video = tokenizer.tokenOf(model.video_token_id ?? NaN) ?? '';
    const times = videos.map(({ count, fps }) => timesOf(count, fps, sight.videos!.temporalPatchSize));
    return withTimes(pieces, times, { ...family.videos, video }, where);
  }

  /** Ids of a text that stands in place of an image: it begins and ends with control tokens. */
  #spell(text: string | undefined): readonly number[] | undefined {
    if (text === undefined) return undefined;
    const known = this.#spelled.get(text);
    if (known) return known;
    const ids = this.tokenizer.encodePieces([{ text, control: true }]);
    if (this.#spelled.size < REMEMBERED) this.#spelled.set(text, ids);
    return ids;
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
   * Ids of a whole response as the policy would have said it: nothing in the text is control, and it begins and ends as
   * the chat template has a turn begin and end. A thought that the prompt opens is gone on with, or closed where the text
   * has none.
   */
  encodeResponse(text: string): number[] {
    const { beforeEos, eosId } = this.tokenizer;
    return [...this.encodeText(this.#behindOpening(text) + beforeEos), eosId];
  }

  #behindOpening(text: string): string {
    if (this.opening === '') return (/^\s/.test(text) ? '' : this.#parts.template.turnStart) + text;
    if (text.startsWith(this.opening)) return text.slice(this.opening.length);
    const [thought] = /^\s*<think>/.exec(text) ?? [];
    return thought === undefined ? `\n</think>\n\n${text}` : text.slice(thought.length);
  }

  /** The text of what the policy said, with what the prompt had said for it. */
  readResponse(tokens: readonly number[]): string {
    return this.opening + this.decode(tokens);
  }

  /** Ids of text in which nothing is control; nothing is added. */
  encodeText(text: string): number[] {
    return this.tokenizer.encodeText(text);
  }

  decode(tokens: readonly number[], options: { special?: boolean } = {}): string {
    return this.tokenizer.decode(tokens, options);
  }

  /** Positions between two temporal patches. */
  #interval({ fps }: { readonly fps: number }): number {
    const { family, model, sight } = this.#parts;
    if (family.videos.kind !== 'clip') return 1;
    return family.videos.interval(sight.videos!.temporalPatchSize / fps, model.vision_config?.tokens_per_second);
  }

  #frame({ originalWidth, originalHeight, shown }: PreparedImage): Frame {
    return frameOf({ width: originalWidth, height: originalHeight }, shown.size, this.coordinates.thousandths);
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
type Still = Pick<StillImage, 'kind' | 'grid' | 'tokens' | 'text'>;
type Seen = Still | Pick<Video, 'kind' | 'grid' | 'fps' | 'count'>;

/** Tokens of a time and what stands around a temporal patch, at most. */
const MOST_OF_TIME = 24;

/** Texts that templates write around messages, of which it is known that they have their places; texts of images. */
const REMEMBERED = 1000;

/** Tokens that a text can have at most: one for every byte, of which normalisation may make three. */
const mostTokens = (text: string): number => (isAscii(text) ? text.length : 9 * text.length) + 16;

const isAscii = (text: string): boolean => /^[\0-\x7f]*$/.test(text);

/** Both files of a checkpoint name the size of its patches; a model with one size reads patches of another as noise. */
function requireOnePatch(
  { vision_config: vision }: ModelFile,
  { patchSize, temporalPatchSize, mergeSize }: Processor,
  settings: ImageSettings,
  where: string | undefined,
): void {
  if (!vision) return;
  const wanted = [
    vision.patch_size ?? patchSize,
    vision.temporal_patch_size ?? temporalPatchSize,
    vision.spatial_merge_size ?? mergeSize,
  ].join(', ');
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
    value = JSON.parse(readText(file));
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

function conversation(
  { problem, images, videos = [], system, places }: Asked<ImageSource>,
  where: string | undefined,
): Message[] {
  const shown = [
    ...images.map((image): Part => ({ type: 'image', image })),
    ...videos.map((clip): Part => ({ type: 'video', ...clip })),
  ];
  const content: Part[] = places
    ? placeVisuals(problem, images, videos, where)
    : [...shown, { type: 'text', text: problem }];
  const user: Message = { role: 'user', content };
  return system === undefined ? [user] : [{ role: 'system', content: system }, user];
}

/** Writes, in place of the i-th placeholder of a kind, what is written for the i-th picture of its kind. */
function expand(
  ids: readonly number[],
  placeholders: ReadonlyMap<number, { readonly what: string; readonly written: readonly (readonly number[])[] }>,
  where: string | undefined,
): number[] {
  const found = new Map([...placeholders.keys()].map((id) => [id, 0]));
  const expanded = ids.flatMap((id) => {
    const at = found.get(id);
    if (at === undefined) return [id];
    found.set(id, at + 1);
    return placeholders.get(id)?.written[at] ?? [];
  });
  for (const [id, { what, written }] of placeholders) {
    const { length } = written;
    if (found.get(id) === length) continue;
    throw new UserError(`the chat template has ${found.get(id)} ${what} placeholders for ${length} ${what}s`, {
      where,
      remedy: `The chat template must write one ${what} placeholder per ${what} part.`,
    });
  }
  return expanded;
}
