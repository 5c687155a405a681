/**
 * What one family of models is, in one value: everything in which it differs from others. The shared
 * parts of this folder, prompt/ and plan/ read the family instead of asking which one it is. A new family is a folder in
 * families/ and a line in its index.ts.
 */
import type { nn } from '@visurf/torch';

import type { ModelShape } from './config.ts';
import type { DecoderBlock } from './decoder.ts';
import type { OwnProcessor, Processor } from './images.ts';
import type { Keys } from './keys.ts';
import type { Kept, KeptByState } from './kept.ts';
import type { TextConfig } from './text-config.ts';
import type { Tower } from './tower.ts';
import type { VisionConfig } from './vision-config.ts';

/**
 * How a video becomes tokens. `clip`: frames are resized each by itself, all patches stand together, and `interval` says
 * how many positions lie between two temporal patches that last so many seconds. `timed`: limits of area hold for all
 * frames together, and every temporal patch stands like an image behind the second at which it is seen. `none`: videos
 * are refused.
 */
export type Videos =
  | {
      readonly kind: 'clip';
      readonly interval: (seconds: number, tokensPerSecond: number | undefined) => number;
    }
  | {
      readonly kind: 'timed';
      /** Control tokens around a temporal patch. */
      readonly start: string;
      readonly end: string;
    }
  | { readonly kind: 'none' };

export interface Family {
  /** `model_type` of config.json, and the name of the folder. */
  readonly name: string;
  /** The name that its authors write. */
  readonly title: string;

  /** The shape that a config.json describes. @throws UserError or ZodError where it describes none of this family */
  readonly readConfig: (file: unknown) => ModelShape;
  /** Names of tensors in files and in the reference's memory. */
  readonly keys: Keys;
  /** Tensors of files that the model has no part for: they are not read, and what is written is without them. */
  readonly ignored?: { readonly names: RegExp; readonly are: string };
  /** Parameters that files may hold in float32 beside others in half precision; what is written does, too. */
  readonly precise?: RegExp;

  /** How images are shown: as patches of the whole picture, for which it says what files leave out, or in its own way. */
  readonly processor: Processor | OwnProcessor;
  /** Units in which the model speaks of places: pixels of the image as it sees it, or thousandths of each side. */
  readonly coordinates: 'resized' | 'thousandths';
  readonly videos: Videos;
  /** How positions count: on three axes over the grids of images (unless said), or one token after the other. */
  readonly positions?: 'grids' | 'sequence';
  readonly tokens: {
    /** Ids of the placeholders, where config.json does not say them. */
    readonly image: number;
    /** Undefined where videos are refused. */
    readonly video?: number;
    /** Control tokens around and in place of pictures, which are never sampled, by their spelling. */
    readonly vision: readonly string[];
  };
  /** What the chat template is rendered with beside the messages. */
  readonly template: Readonly<Record<string, string | boolean>>;
  /** `parts` where chat templates see nothing of a content that is a plain string. */
  readonly contents?: 'parts';
  /** `file` where tokenizer.json is right whatever class of tokenizer the other file declares. */
  readonly tokenizer?: 'file';

  readonly tower: (config: VisionConfig) => Tower;
  readonly layer: (config: TextConfig, index: number) => DecoderBlock;
  /** The norm behind the decoder's last layer, where it is no plain RMSNorm. */
  readonly norm?: (width: number, eps: number) => nn.RMSNorm;
  /** What one block leaves behind for its gradient, per row. */
  readonly kept: {
    /** What a decoder layer keeps, beside its attention. @param casts whether each product casts the stream that it reads */
    readonly layer: (config: TextConfig, casts: boolean) => Kept;
    /** Likewise a layer with a recurrent state, where there are some. */
    readonly recurrent?: (config: TextConfig, casts: boolean) => KeptByState;
    readonly tower: (config: VisionConfig) => Kept;
  };
}
