/**
 * `visurf init`: from a folder of pictures and labels to data that can be trained on and a configuration that fits it, the
 * base and this machine. Everything that it decides is in the file, with the reason.
 */
import { rmSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { deviceMemory, type Device } from '@visurf/torch';

import { checkData } from './check.ts';
import { loadConfig } from './config/load.ts';
import type { Config } from './config/schema.ts';
import { permutation } from './data/cursor.ts';
import type { Finding } from './data/findings.ts';
import type { RowOptions } from './data/formats/formats.ts';
import { previewData } from './data/preview.ts';
import type { DatasetOptions } from './data/dataset.ts';
import { resolveDevice } from './device.ts';
import { fileError, UserError } from './errors.ts';
import { positionsOf } from './plan/refusals.ts';
import { loadModelConfig } from './families/config.ts';
import type { DownloadProgress } from './hub/repository.ts';
import { advise, type Advice } from './init/advice.ts';
import { linesOf, SMALL, WAYS, yamlOf, type Way } from './init/configuration.ts';
import { makeParts, PART_FILES, partFile, requireFree, type Parts } from './init/files.ts';
import { probe, type Probe } from './init/probe.ts';
import { survey, type Survey } from './init/survey.ts';
import { precisionWarning, productRate } from './machine.ts';
import { availableMemory, plan, type Plan } from './plan.ts';
import { sizesOf } from './plan/sizes.ts';
import { loadLocalPolicy, locateModel, type LocatedModel, type ModelSource } from './policy.ts';
import { PromptEncoder } from './prompt/encoder.ts';
import { Experiment } from './question/experiment.ts';
import { carriedSettings, promptSettings } from './question/settings.ts';
import { loadData } from './question/training.ts';

export interface InitOptions
  extends Pick<ModelSource, 'revision'>, Pick<RowOptions, 'format' | 'boxes' | 'units' | 'split' | 'ask' | 'classes'> {
  readonly model: string;
  /** Folder that gets config.yaml, train.jsonl, validation.jsonl and preview.html; unset: the working directory. */
  readonly folder?: string | undefined;
  /** Images may lie outside of the folder of the set. */
  readonly allowOutside?: boolean | undefined;
  /** Share that is held out; unset: 20%. */
  readonly validation?: number | undefined;
  /** Whether questions with nothing to find stay, however many they are. */
  readonly keepsEmpty?: boolean | undefined;
  readonly seed?: number | undefined;
  /** Whether files that are there may be overwritten. */
  readonly overwrite?: boolean | undefined;
  /** Whether the base is asked anything. */
  readonly probes?: boolean | undefined;
  /** Questions that it is asked; unset: 64. */
  readonly questions?: number | undefined;
  /** Seconds that asking may take; unset: 180. */
  readonly seconds?: number | undefined;
  readonly prompt?: string | undefined;
  readonly device?: string | undefined;
  readonly precision?: Config['precision'] | undefined;
  readonly onStage?: ((stage: string, done: number, total: number) => void) | undefined;
  readonly onRead?: DatasetOptions['onProgress'];
  readonly onDownload?: ((progress: DownloadProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface Initialised {
  readonly format: string;
  readonly n: Parts['n'];
  readonly notes: readonly string[];
  readonly survey: Survey;
  readonly findings: readonly Finding[];
  /** Undefined where the base was not asked, or gave no answer in time. */
  readonly probe: Probe | undefined;
  /** Why it was not, where that was not wanted. */
  readonly unasked: string | undefined;
  readonly advice: Advice;
  /** Undefined where nobody can tell: a card that is not known. */
  readonly plan: Plan | undefined;
  /** Names of what was written, in the folder. */
  readonly files: readonly string[];
}

const CONFIG = 'config.yaml';
const PREVIEW = 'preview.html';
/** Samples that the page shows. */
const SHOWN = 60;
/** States that tell whether kinds are apart: a share of .8 of 256 is known to 3 points. */
const STATES = 256;

/** @throws UserError where the set or the model cannot be used, or something would be overwritten; nothing is left then */
export async function initialise(source: string, options: InitOptions): Promise<Initialised> {
  const { folder = process.cwd(), overwrite = false, signal } = options;
  requireFree(folder, [CONFIG, PREVIEW, ...PART_FILES], overwrite);
  requireOther(source, folder);
  const device = resolveDevice(options.device ?? 'auto');
  const { onDownload: onProgress, revision } = options;
  const located = await locateModel(options.model, { onProgress, revision, weights: options.probes !== false });
  try {
    return await prepare(source, folder, located, { ...options, device });
  } catch (error) {
    for (const name of [...PART_FILES, PREVIEW, CONFIG, DRAFT]) rmSync(path.join(folder, name), { force: true });
    throw signal?.aborted ? error : fileError(error, { where: folder });
  }
}

const DRAFT = '.config.yaml.part';

/** A set that would be written over what it is read from. */
function requireOther(source: string, folder: string): void {
  const file = path.resolve(source);
  if (!PART_FILES.some((name) => path.join(path.resolve(folder), name) === file)) return;
  throw new UserError('the file is one of those that are written', { where: source, remedy: 'Rename it first.' });
}

type Resolved = InitOptions & { readonly device: Device };

async function prepare(source: string, folder: string, located: LocatedModel, options: Resolved): Promise<Initialised> {
  const { onRead, signal, device, seed = 0, validation = 0.2, keepsEmpty = false } = options;
  const { format, boxes, units, split, ask, classes, allowOutside } = options;
  // What is wrong with the model is said before anything is read.
  const directories = [located.adapter, located.base];
  const { images: shown, limits } = PromptEncoder.load(located.base, promptSettings(directories, {})).sight;
  const parameters = parametersOf(located.base);
  options.onStage?.('reading', 0, 0);
  const parts = await makeParts(path.resolve(source), folder, {
    ...{ format, boxes, units, split, ask, classes, allowOutside, validation, keepsEmpty, seed, signal },
  });
  const [train, held] = [partFile('train'), partFile('validation')].map((name) => path.join(folder, name));
  const carried = carriedSettings(directories)?.settings;
  const [prompt, system] = [options.prompt ?? carried?.prompt, carried?.system];
  const checked = await checkData(train!, {
    ...{ validation: held, model: options.model, revision: options.revision, prompt, allowOutside, signal, onRead },
  });
  const { samples, frames } = await Experiment.open({ prompt, system }).load(train!, { allowOutside, signal });
  const found = await survey(samples, frames, shown, signal);
  const page = path.join(folder, PREVIEW);
  await previewData(train!, { task: 'grounding', output: page, shown: SHOWN, allowOutside, signal });

  const precision = options.precision ?? precisionOf(device, parameters);
  const { n } = parts;
  const draft = (way: Way, probed: Probe | undefined): Config => {
    const lines = linesOf({
      ...{ model: options.model, folder, name: nameOf(source), device, precision, way },
      ...{ samples: n.train ?? 0, validation: n.validation ?? 0, parameters },
      ...{
        survey: found,
        probe: probed,
        advice: advise(found, probed),
        limits,
        positions: positionsOf(located.base),
      },
      ...{ prompt, system, allowOutside: allowOutside ?? false },
    });
    writeFileSync(path.join(folder, DRAFT), yamlOf(lines, headingOf(source, parts.format)));
    return loadConfig(path.join(folder, DRAFT));
  };
  const before = draft(WAYS[0]!, undefined);
  const probed = options.probes === false ? undefined : await askBase(located, before, options);
  const planned = await fittingPlan((way) => draft(way, probed?.found), options);
  renameSync(path.join(folder, DRAFT), path.join(folder, CONFIG));
  return {
    ...{
      format: parts.format,
      n,
      survey: found,
      findings: checked.findings.map((each) => ({ ...each, file: path.relative(folder, each.file) })),
      notes: parts.notes,
    },
    ...{ probe: probed?.found, unasked: probed?.why, advice: advise(found, probed?.found), plan: planned },
    files: [CONFIG, ...Object.keys(n).map((part) => `${part}.jsonl`), PREVIEW],
  };
}

const nameOf = (source: string): string => /[\w-]+/.exec(path.parse(path.resolve(source)).name)?.[0] ?? 'run';

const headingOf = (source: string, format: string): string[] => [
  `Made by visurf init of ${path.basename(path.resolve(source))} (${format}). Every line is for this data, this base and this`,
  'machine, and says why; whatever is left out has its default (docs/configuration.md).',
];

const parametersOf = (base: string): number =>
  sizesOf(loadModelConfig(base), () => 0, {
    train: { freezeVision: false, microBatch: { prompts: 1 }, checkpointActivations: false, offloadActivations: false },
    precision: 'float32',
  }).all;

/** Half precision where it is faster. */
function precisionOf(device: Device, parameters: number): Config['precision'] {
  if (parameters < SMALL) return 'float32';
  if (device !== 'cpu') return 'bfloat16';
  if (precisionWarning('bfloat16', device) !== undefined) return 'float32';
  return productRate('bfloat16', 512) > 1.3 * productRate('float32', 512) ? 'bfloat16' : 'float32';
}

/** What the base does, or why that is not known. */
async function askBase(
  { base, adapter }: LocatedModel,
  config: Config,
  options: Resolved,
): Promise<{ readonly found: Probe | undefined; readonly why: string | undefined }> {
  const { signal, onStage, onRead, questions = 64, seconds = 180, seed = 0 } = options;
  const needed = parametersOf(base) * (config.precision === 'bfloat16' ? 2 : 4);
  const available = config.device === 'cpu' ? availableMemory() : (deviceMemory(options.device)?.free ?? Infinity);
  if (needed > available) {
    const why = `its weights need ${gigabytes(needed)}, and ${gigabytes(available)} are free here`;
    return { found: undefined, why };
  }
  const { samples, experiment } = await loadData(config, { signal, onProgress: onRead });
  onStage?.('loading the base', 0, 0);
  const seen = { minPixels: config.data.minPixels, maxPixels: config.data.maxPixels };
  const { device, precision } = options;
  using policy = loadLocalPolicy(base, {
    ...seen,
    adapter,
    device,
    precision: precision ?? config.precision,
    dtype: 'auto',
  });
  const order = permutation(samples.length, seed, 0).slice(0, MOST_LOOKED_AT);
  const drawn = [...order].map((place) => samples.at(place)!);
  const found = await probe(policy, experiment, drawn, {
    ...{
      questions,
      states: Math.max(questions, STATES),
      maxNewTokens: config.rollout.maxNewTokens,
      seconds,
      seed,
      signal,
    },
    onProgress: (what, done, total) => onStage?.(`asking the base: ${what}`, done, total),
  });
  return { found, why: found ? undefined : `it gave no answer in ${seconds} s` };
}

/** Samples among which those that are asked are chosen, so that both kinds are there. */
const MOST_LOOKED_AT = 4096;

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`;

/** The plan of the first way of training that fits, whose configuration is then the draft; else of the smallest. */
async function fittingPlan(draft: (way: Way) => Config, { signal, onStage }: InitOptions): Promise<Plan | undefined> {
  let planned: Plan | undefined;
  for (const way of WAYS) {
    onStage?.('planning', WAYS.indexOf(way) + 1, WAYS.length);
    const config = draft(way);
    try {
      planned = await plan(config, { signal });
    } catch (error) {
      // A card that nobody describes: all that is known is that there is one.
      if (!(error instanceof UserError) || config.device === 'cpu') throw error;
      return undefined;
    }
    if (planned.fits) return planned;
  }
  return planned;
}
