/**
 * One configuration compared with the reference: every number that it has, as a distance with its tolerance. The tests
 * demand the tolerance, `make parity` prints the table.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { noGrad, optim, scope, type Device, type FloatDType, type Tensor } from '@visurf/torch';

import { loadModel } from '../families/load.ts';
import { visualGrids } from '../model/pack.ts';
import type { VisionLanguageModel } from '../model/vlm.ts';
import { PromptEncoder } from '../prompt/encoder.ts';
import { loadImageSettings, patchesOf, type ImageSettings } from '../prompt/image.ts';
import { respond } from '../rollout/respond.ts';
import type { Grid, Prompt } from '../types.ts';
import { differs, largest, worst, type Comparison } from './comparison.ts';
import type { Configuration, ExpectedCase } from './configurations.ts';

type Numbers = ArrayLike<number>;

/** Elements 0, s, 2s, .. as the fixture took them: at most `count`, s odd above 1. */
function thin(values: Numbers, count: number): number[] {
  const step = Math.ceil(values.length / count);
  const odd = step === 1 ? 1 : step | 1;
  return Array.from(values).filter((_, i) => i % odd === 0);
}

const flat = (x: Tensor): Float64Array => scope(() => x.detach().to('float64').contiguous().toFloat64Array());

interface Subject {
  readonly configuration: Configuration;
  readonly prompts: readonly Prompt[];
  /** The expected numbers of a tensor of a case. */
  readonly expected: (case_: ExpectedCase, name: string) => Float64Array;
}

export async function openSubject(configuration: Configuration): Promise<Subject> {
  const encoder = PromptEncoder.load(configuration.model);
  const prompts: Prompt[] = [];
  for (const { messages } of configuration.cases) prompts.push(await encoder.encode({ messages }));
  const expected = (case_: ExpectedCase, name: string): Float64Array =>
    scope(() => flat(configuration.tensors.get(`${case_.name}.${name}`)));
  return { configuration, prompts, expected };
}

/** Cuts rows that lie in the order of appearance into those of images and those of videos. */
function byKind(
  prompt: Prompt,
  model: VisionLanguageModel,
  values: Numbers,
  perPatch: number,
): { image: number[]; video: number[] } {
  if (!prompt.videoGridThw) return { image: Array.from(values), video: [] };
  const grids = visualGrids(prompt, model.config);
  const images = new Set<Grid>(prompt.imageGridThw);
  const kinds = { image: [] as number[], video: [] as number[] };
  let at = 0;
  for (const grid of grids) {
    const length = grid[0] * grid[1] * grid[2] * perPatch;
    const target = images.has(grid) ? kinds.image : kinds.video;
    for (let i = 0; i < length; i++) target.push(values[at + i] ?? NaN);
    at += length;
  }
  return kinds;
}

/** By which values were normalised. */
function statistics(
  directory: string,
  { config: { family } }: VisionLanguageModel,
): Pick<ImageSettings, 'mean' | 'std'> {
  if (!('open' in family.processor)) return loadImageSettings(directory, patchesOf(family));
  const read = (name: string): Record<string, unknown> => {
    const file = join(directory, name);
    return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>) : {};
  };
  const settings = read('processor_config.json')['image_processor'] ?? read('preprocessor_config.json');
  const halves = [0.5, 0.5, 0.5];
  const { image_mean: mean = halves, image_std: std = halves } = settings as Record<string, number[]>;
  return { mean, std };
}

/** What the model sees: text, ids, positions, bytes of resized images, patches. */
export function compareInputs({ configuration, prompts, expected }: Subject, model: VisionLanguageModel): Comparison[] {
  const count = (measure: (case_: ExpectedCase, prompt: Prompt) => number): number =>
    configuration.cases.reduce((sum, each, i) => sum + measure(each, prompts[i]!), 0);
  const settings = statistics(configuration.model, model);
  const kinds = ['image', 'video'] as const;
  const { inChannels, temporalPatchSize, patchSize } = model.config.vision;
  const width = inChannels * temporalPatchSize * patchSize ** 2;
  const pixels = (prompt: Prompt) => byKind(prompt, model, prompt.pixelValues ?? [], width);
  const bytes = (values: readonly number[], shape: Prompt['pixelShape']): string => {
    const perChannel = shape ? shape[2]! * shape[3]! : width / inChannels;
    const data = Uint8Array.from(values, (value, i) => {
      const channel = Math.floor(i / perChannel) % inChannels;
      return Math.round((value * settings.std[channel]! + settings.mean[channel]!) * 255);
    });
    return createHash('sha256').update(data).digest('hex');
  };
  const exact = { measure: 'differences', tolerance: 0 } as const;
  return [
    { subject: 'rendered chat template', ...exact, distance: count((each, p) => differs(p.rendered, each.rendered)) },
    { subject: 'token ids', ...exact, distance: count((each, p) => differs(p.inputIds, each.inputIds)) },
    { subject: 'M-RoPE positions', ...exact, distance: count((each, p) => differs(p.positionIds, each.positionIds)) },
    {
      subject: 'grids',
      ...exact,
      distance: count((each, p) =>
        differs([p.imageGridThw, p.videoGridThw ?? []], [each.imageGridThw, each.videoGridThw]),
      ),
    },
    {
      subject: 'resized bytes',
      ...exact,
      distance: count((each, p) =>
        kinds.reduce((sum, kind) => {
          const digest = each[`${kind}PixelsSha256`];
          return sum + (digest === undefined ? 0 : differs(bytes(pixels(p)[kind], p.pixelShape), digest));
        }, 0),
      ),
    },
    {
      subject: 'patches',
      measure: 'absolute',
      tolerance: 1e-6,
      distance: worst(
        configuration.cases.flatMap((each, i) =>
          kinds.map((kind) =>
            each[`${kind}PixelsSha256`]
              ? largest(thin(pixels(prompts[i]!)[kind], 512), expected(each, `${kind}Pixels`))
              : 0,
          ),
        ),
      ),
    },
  ];
}

interface Forward {
  readonly logProbs: Float64Array;
  readonly logits: Float64Array;
  readonly layers: readonly Float64Array[];
}

/** One prompt with one response: everything on the way. */
function forward(model: VisionLanguageModel, prompt: Prompt, response: readonly number[]): Forward {
  return scope(() =>
    noGrad(() => {
      const layers: Float64Array[] = [];
      const { hidden, targets } = model.hidden([{ prompt, responses: [response] }], (states) => {
        layers.push(...states.layers.map(flat));
      });
      return { logProbs: model.score(hidden, targets).logProbs, logits: flat(model.logits(hidden)), layers };
    }),
  );
}

/** Features, hidden states, logits and log-probabilities, one prompt at a time, float32. */
export function compareForward(
  { configuration, prompts, expected }: Subject,
  model: VisionLanguageModel,
): Comparison[] {
  const found = { features: [0], layers: [0], logits: [0], logProbs: [0] };
  configuration.cases.forEach((each, i) => {
    const prompt = prompts[i]!;
    const features = scope(() => noGrad(() => model.imageFeatures([prompt])?.toFloat64Array()));
    if (features) {
      const { spatialMergeSize, outHiddenSize } = model.config.vision;
      const kinds = byKind(prompt, model, features, outHiddenSize / spatialMergeSize ** 2);
      for (const kind of ['image', 'video'] as const) {
        if (each[`${kind}GridThw`].length > 0)
          found.features.push(largest(kinds[kind], expected(each, `${kind}Features`)));
      }
    }
    each.responses.forEach(({ tokens, logProbs }, j) => {
      const mine = forward(model, prompt, tokens);
      found.logProbs.push(largest(mine.logProbs, logProbs));
      if (j > 0) return;
      found.logits.push(largest(mine.logits, expected(each, 'logits')));
      // The last token of a response is predicted, never read.
      mine.layers.forEach((layer, l) =>
        found.layers.push(largest(layer, expected(each, `layers.${l}`).subarray(0, layer.length))),
      );
    });
  });
  const row = (subject: string, values: number[]): Comparison => {
    return { subject, measure: 'absolute', tolerance: 1e-4, distance: worst(values) };
  };
  return [
    row('vision features', found.features),
    row('hidden state of every layer', found.layers),
    row('logits', found.logits),
    row('log-probabilities', found.logProbs),
  ];
}

/** All prompts with all responses in one packed batch: unequal lengths, padding, shared prefixes. */
function items({ configuration, prompts }: Subject) {
  return configuration.cases.map(({ responses }, i) => ({
    prompt: prompts[i]!,
    responses: responses.map(({ tokens }) => tokens),
  }));
}

function batchLogProbs(subject: Subject, model: VisionLanguageModel): Float64Array {
  return scope(() =>
    noGrad(() => {
      const { hidden, targets } = model.hidden(items(subject));
      return model.score(hidden, targets).logProbs;
    }),
  );
}

const expectedLogProbs = ({ configuration }: Subject, kind: 'logProbs' | 'logProbs64'): number[] =>
  configuration.cases.flatMap(({ responses }) => responses.flatMap((each) => each[kind]));

export function compareBatch(subject: Subject, model: VisionLanguageModel, dtype: FloatDType): Comparison[] {
  const [kind, tolerance] = dtype === 'float64' ? (['logProbs64', 1e-9] as const) : (['logProbs', 1e-4] as const);
  const distance = largest(batchLogProbs(subject, model), expectedLogProbs(subject, kind));
  return [{ subject: `log-probabilities, one padded batch, ${dtype}`, measure: 'absolute', tolerance, distance }];
}

/** Adds d (sum of weight * log pi) / d parameter to every `.grad`. @returns the sum */
function objective(subject: Subject, model: VisionLanguageModel): number {
  return scope(() => {
    const { hidden, targets } = model.hidden(items(subject));
    const scored = model.score(hidden, targets);
    const weights = subject.configuration.cases.flatMap(({ responses }) =>
      responses.flatMap(({ tokens, weight }) => tokens.map(() => weight)),
    );
    hidden.backward(scored.pullback(Float64Array.from(weights)));
    return scored.logProbs.reduce((sum, each, i) => sum + each * (weights[i] ?? NaN), 0);
  });
}

export function compareGradients(subject: Subject, model: VisionLanguageModel, dtype: FloatDType): Comparison[] {
  const { gradient, tensors } = subject.configuration;
  const loss = objective(subject, model);
  const tolerance = dtype === 'float64' ? 1e-8 : 1e-4;
  const distances: number[] = [];
  const most = Math.max(...Object.values(gradient.largest));
  // A gradient that is rounding alone has no size of its own: of a bias of keys, which all scores of a row have alike.
  const sizeOf = (size = NaN): number => (size < 1e-12 * most ? most : size);
  for (const [key, parameter] of model.namedParameters()) {
    const grad = parameter.grad ? flat(parameter.grad) : new Float64Array(parameter.numel);
    const scale = Math.max(sizeOf(gradient.largest[key]), 1e-300);
    const samples = scope(() => flat(tensors.get(`gradient.${key}`)));
    distances.push(largest(thin(grad, 48), samples) / scale);
    const norm = Math.hypot(...grad);
    distances.push(Math.abs(norm - (gradient.norms[key] ?? NaN)) / Math.max(sizeOf(gradient.norms[key]), 1e-300));
    parameter.grad = undefined;
  }
  const lossDistance = Math.abs(loss - gradient.loss) / Math.abs(gradient.loss);
  return [
    { subject: `loss, ${dtype}`, measure: 'relative', tolerance, distance: lossDistance },
    { subject: `gradient of every parameter, ${dtype}`, measure: 'relative', tolerance, distance: worst(distances) },
  ];
}

/** Parameters after steps of gradient descent on the objective. Changes the model. */
export function compareSteps(subject: Subject, model: VisionLanguageModel, name: 'sgd' | 'adamw'): Comparison {
  const { settings, losses, parameters } = subject.configuration.updates[name];
  const mine = model.namedParameters();
  const { lr: learningRate, betas = [0.9, 0.999], weight_decay: weightDecay = 0 } = settings;
  const optimizer =
    name === 'sgd'
      ? new optim.SGD(mine, { learningRate })
      : new optim.AdamW(mine, { learningRate, betas, weightDecay });
  const distances = losses.map((expected) => {
    for (const each of mine.values()) each.grad = undefined;
    const loss = objective(subject, model);
    scope(() => optimizer.step());
    model.weightsChanged();
    return Math.abs(loss - expected) / Math.abs(expected);
  });
  for (const [key, parameter] of mine) {
    const expected = parameters[key]?.samples ?? [];
    distances.push(largest(thin(flat(parameter), 4), expected));
    parameter.grad = undefined;
  }
  optimizer.dispose();
  const steps = losses.length === 1 ? 'one step' : `${losses.length} steps`;
  return {
    subject: `loss and parameters, ${steps} of ${name === 'sgd' ? 'SGD' : 'AdamW'}, float64`,
    measure: 'absolute',
    tolerance: 1e-8,
    distance: worst(distances),
  };
}

/** Greedy tokens that differ: alone and in one batch, by the cache and by whole passes. */
export async function compareGreedy(subject: Subject, model: VisionLanguageModel): Promise<Comparison[]> {
  const { configuration, prompts } = subject;
  const { eosIds } = PromptEncoder.load(configuration.model).tokenizer;
  const options = { group: 1, maxNewTokens: 10, stopIds: eosIds, forbiddenIds: [], temperature: 0, topP: 1, topK: 0, seed: 0, step: 0 }; // prettier-ignore
  const found = { alone: 0, batch: 0, whole: 0 };
  for (const penalty of ['1.0', '1.3']) {
    const sampling = { ...options, repetitionPenalty: Number(penalty) };
    const together = await respond(model, prompts, { ...sampling, promptIds: prompts.map((_, i) => i) });
    for (const [i, { greedy }] of configuration.cases.entries()) {
      const expected = greedy[penalty]!.tokens;
      const [[alone] = []] = await respond(model, [prompts[i]!], { ...sampling, promptIds: [i] });
      found.alone += differs(alone?.tokens, expected);
      found.batch += differs(together[i]?.[0]?.tokens, expected);
      if (penalty !== '1.0') continue;
      const choices = scope(() =>
        noGrad(() => {
          const { hidden } = model.hidden([{ prompt: prompts[i]!, responses: [expected] }]);
          return model.logits(hidden).argmax(-1).toArray();
        }),
      );
      found.whole += differs(choices, expected);
    }
  }
  const row = (how: string, distance: number): Comparison => {
    return { subject: `greedy tokens, ${how}`, measure: 'differences', tolerance: 0, distance };
  };
  return [
    row('cached, alone, penalties 1 and 1.3', found.alone),
    row('cached, in one padded batch, penalties 1 and 1.3', found.batch),
    row('without a cache', found.whole),
  ];
}

/**
 * Our bfloat16 against the reference's float32; the reference's own bfloat16 sets the tolerance. The largest is chance, and
 * another one on every kind of processor: half further is as far. With the stream in it we round as often as the reference,
 * elsewhere: a quarter further is.
 */
export function compareBfloat16(subject: Subject, model: VisionLanguageModel, how: string): Comparison[] {
  const expected = expectedLogProbs(subject, 'logProbs');
  const mine = batchLogProbs(subject, model);
  const { max, rms } = subject.configuration.bfloat16;
  const [further, furthest] = [model.stream === 'bfloat16' ? 1.25 : 1, 1.5];
  const squares = mine.reduce((sum, each, i) => sum + (each - (expected[i] ?? NaN)) ** 2, 0);
  const row = (what: string, tolerance: number, distance: number): Comparison => {
    const subject = `log-probabilities, bfloat16 products, ${how}, ${what}`;
    return { subject, measure: 'absolute', tolerance, distance };
  };
  return [
    row('largest', furthest * max, largest(mine, expected)),
    row('root mean square', further * rms, Math.sqrt(squares / mine.length)),
  ];
}

/** Everything about one configuration, computed on a device. */
export async function compareAll(configuration: Configuration, device: Device = 'cpu'): Promise<Comparison[]> {
  const subject = await openSubject(configuration);
  const open = <T>(dtype: FloatDType | 'auto', use: (model: VisionLanguageModel) => T): T => {
    const model = loadModel(configuration.model, { dtype, device });
    const finish = (): void => {
      model.weightsChanged();
      model.dispose();
    };
    const result = use(model);
    if (result instanceof Promise) return result.finally(finish) as T;
    finish();
    return result;
  };
  const single = await open('float32', async (model) => [
    ...compareInputs(subject, model),
    ...compareForward(subject, model),
    ...compareBatch(subject, model, 'float32'),
    ...(await compareGreedy(subject, model)),
    ...compareGradients(subject, model, 'float32'),
  ]);
  const double = open('float64', (model) => [
    ...compareBatch(subject, model, 'float64'),
    ...compareGradients(subject, model, 'float64'),
    compareSteps(subject, model, 'sgd'),
  ]);
  const adam = open('float64', (model) => compareSteps(subject, model, 'adamw'));
  const half = (
    [
      ['float32 weights', 'float32', 'float32'],
      ['weights of the file', 'auto', 'float32'],
      ['and the stream', 'auto', 'bfloat16'],
    ] as const
  ).flatMap(([how, dtype, stream]) =>
    open(dtype, (model) =>
      compareBfloat16(subject, Object.assign(model, { precision: 'bfloat16', _stream: stream }), how),
    ),
  );
  return [...single, ...double, adam, ...half];
}
