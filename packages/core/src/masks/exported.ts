/**
 * A SAM2 that was exported to ONNX, through the package @huggingface/transformers, which is not among our dependencies:
 * whoever wants masks adds it. Pictures are prepared here, because the package's own scaling is not the reference's.
 */
import { createRequire } from 'node:module';
import path from 'node:path';
import { z } from 'zod';
import { messageOf, UserError } from '../errors.ts';
import { isHubId, parseHubName } from '../hub/id.ts';
import { homeOf } from '../hub/cache.ts';

const PACKAGE = '@huggingface/transformers';

/** Of the package's tensors. */
export interface Numbers {
  readonly data: Float32Array;
  readonly dims: readonly number[];
}

type Inputs = Readonly<Record<string, Numbers>>;

interface Model {
  (inputs: Inputs): Promise<{ readonly iou_scores: Numbers; readonly pred_masks: Numbers }>;
  get_image_embeddings(inputs: Inputs): Promise<Inputs>;
}

interface Loading {
  from_pretrained(name: string, options: object): Promise<unknown>;
}

interface Library {
  readonly Sam2Model: Loading;
  readonly AutoImageProcessor: Loading;
  readonly Tensor: new (type: string, data: Float32Array | BigInt64Array, dims: readonly number[]) => Numbers;
  readonly env: Record<string, unknown>;
}

const size = z.union([
  z.looseObject({ width: z.int().positive(), height: z.int().positive() }),
  z.looseObject({ longest_edge: z.int().positive() }),
]);
const rgb = z.array(z.number()).length(3);

/** What is said of pictures beside the model, in preprocessor_config.json. */
const settingsSchema = z.looseObject({
  size: size.default({ width: 1024, height: 1024 }),
  do_pad: z.boolean().nullish(),
  pad_size: z.looseObject({ width: z.int().positive(), height: z.int().positive() }).nullish(),
  image_mean: rgb.default([0.485, 0.456, 0.406]),
  image_std: rgb.default([0.229, 0.224, 0.225]),
  rescale_factor: z.number().default(1 / 255),
});

export interface Preparation {
  /** What the model takes. */
  readonly width: number;
  readonly height: number;
  /** Pictures keep their aspect, and what is left below or to the right is empty; else they are stretched. */
  readonly keepsAspect: boolean;
  readonly mean: readonly number[];
  readonly std: readonly number[];
  readonly rescaleFactor: number;
}

export interface ExportedModel {
  readonly library: Library;
  readonly model: Model;
  readonly preparation: Preparation;
}

/**
 * @param source a directory, or `owner/name` on the hub
 * @throws UserError where the package is missing, or the export is none
 */
export async function openExported(source: string): Promise<ExportedModel> {
  const library = await loadLibrary();
  const isRemote = isHubId(source, path.resolve(source));
  const { env } = library;
  env['cacheDir'] = path.join(homeOf(), 'transformers.js');
  if (process.env.HF_ENDPOINT) env['remoteHost'] = `${process.env.HF_ENDPOINT.replace(/\/+$/, '')}/`;
  const isOffline = /^(?:1|true|yes|on)$/i.test(process.env.HF_HUB_OFFLINE ?? '');
  const named = isRemote ? parseHubName(source) : undefined;
  const { id, revision } = named ?? { id: path.basename(path.resolve(source)) };
  env['allowRemoteModels'] = isRemote && !isOffline;
  env['allowLocalModels'] = !isRemote || isOffline;
  const options = { local_files_only: !isRemote || isOffline, ...(revision !== undefined && { revision }) };
  if (!isRemote) env['localModelPath'] = path.dirname(path.resolve(source));
  try {
    const processor = (await library.AutoImageProcessor.from_pretrained(id, options)) as {
      readonly config?: unknown;
    };
    const preparation = preparationOf(settingsSchema.parse(processor.config ?? {}));
    const model = (await library.Sam2Model.from_pretrained(id, {
      ...options,
      dtype: 'fp32',
      device: 'cpu',
    })) as Model;
    return { library, model, preparation };
  } catch (error) {
    throw new UserError(`no SAM2 export that can be used: ${messageOf(error)}`, {
      where: source,
      remedy:
        'It is a directory, or a model of the hub, with config.json, preprocessor_config.json, onnx/vision_encoder.onnx and ' +
        'onnx/prompt_encoder_mask_decoder.onnx, such as onnx-community/sam2.1-hiera-tiny-ONNX.',
      cause: error,
    });
  }
}

/**
 * Whether the package is there, without loading it.
 * @throws UserError that says how it is added
 */
export function requireLibrary(resolve: (name: string) => string = createRequire(import.meta.url).resolve): void {
  try {
    resolve(PACKAGE);
  } catch (cause) {
    throw new UserError(`masks by SAM2 need the package ${PACKAGE}, which is not installed`, {
      remedy: `Add it: ONNXRUNTIME_NODE_INSTALL=skip npm install ${PACKAGE}`,
      cause,
    });
  }
}

async function loadLibrary(): Promise<Library> {
  requireLibrary();
  // By a name that is not seen when the types are checked.
  const name: string = PACKAGE;
  return (await import(name)) as Library;
}

function preparationOf(settings: z.output<typeof settingsSchema>): Preparation {
  const { size: given, pad_size: pad, image_mean: mean, image_std: std, rescale_factor: rescaleFactor } = settings;
  const rest = { mean, std, rescaleFactor };
  if ('width' in given)
    return { width: given.width as number, height: given.height as number, keepsAspect: false, ...rest };
  const side = given.longest_edge;
  return { width: pad?.width ?? side, height: pad?.height ?? side, keepsAspect: true, ...rest };
}
