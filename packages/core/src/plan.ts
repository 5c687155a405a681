/** `visurf plan`: what a run will need of this machine, before it starts. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { freemem } from 'node:os';
import path from 'node:path';

import { cards, deviceMemory, info, setNumThreads } from '@visurf/torch';

import { calibrate, roundedRows } from './calibrate/calibrate.ts';
import { mayChange } from './config/load.ts';
import { resolveSteps, type Config } from './config/schema.ts';
import type { DatasetOptions } from './data/dataset.ts';
import { breathe } from './data/paced.ts';
import { setsOf } from './data/samples.ts';
import { resolveDevice } from './device.ts';
import { statedDtype } from './export/config.ts';
import type { HubOptions } from './hub/repository.ts';
import { labelTexts } from './label/align.ts';
import { byteSeconds, callSeconds, precisionWarning, productRate, repeated } from './machine.ts';
import { loadModelConfig } from './families/config.ts';
import type { ModelConfig } from './model/config.ts';
import { isVision } from './model/keys.ts';
import { chosenModules } from './model/lora.ts';
import { adaptedModules, readPeftConfig, settingsOf } from './model/peft.ts';
import type { Precision } from './model/projection.ts';
import { imageBytes } from './budgets.ts';
import { UserError } from './errors.ts';
import { decoderLayers, pixelBytes } from './plan/activations.ts';
import { advise, dominant, NEW_ADAPTER, type Advice } from './plan/advice.ts';
import { hasten, reached as shares, type CardTime } from './plan/card.ts';
import { efficiencies, parseNetwork, planCardsTime, reachedLinks, shareOf, type Fleet } from './plan/cards.ts';
import { findMachine, machineNames, machineOfCard, type CardMachine } from './plan/machines.ts';
import { planMemory, type MemoryPlan } from './plan/memory.ts';
import type { Part } from './plan/parts.ts';
import { withExchange, type Together } from './plan/processes.ts';
import { planServers, samplesElsewhere, type ServersPlan } from './plan/servers.ts';
import { requirePositions, requireSameAdapter } from './plan/refusals.ts';
import { onOutline, sizesOf } from './plan/sizes.ts';
import { planTime, type Rates, type TimePlan } from './plan/time.ts';
import { packedTokens, type Sizes, type Subject, type Workload } from './plan/workload.ts';
import { locateModel, type LocatedModel } from './policy.ts';
import { PromptEncoder } from './prompt/encoder.ts';
import { promptSettings } from './question/settings.ts';
import { scorerOf } from './reward/reward.ts';
import { busiestPart, checkParadigm } from './schedule/paradigm.ts';
import { requireServable } from './servers/open.ts';
import { loadData, type TrainingData } from './question/training.ts';

export interface PlanOptions extends HubOptions {
  /** Bytes of memory to fit in; unset: what is free here. */
  readonly memory?: number | undefined;
  /** Rate of products in 10^9 operations per second; unset: measured here. */
  readonly gflops?: number | undefined;
  /** Tokens of a response; unset: the longest allowed. */
  readonly responseTokens?: number | undefined;
  /** Called as the data is read. */
  readonly onRead?: DatasetOptions['onProgress'];
  readonly signal?: AbortSignal | undefined;
  /** A machine with a card (plan/machines.ts), or a file that describes one. */
  readonly machine?: string | undefined;
  /** Cards of every node; 1 unless said. */
  readonly cards?: number | undefined;
  /** Machines; 1 unless said. */
  readonly nodes?: number | undefined;
  /** Bits per second between nodes, such as 400G. */
  readonly network?: string | undefined;
  /** That train together on the processors of this machine; 1 unless said. */
  readonly processes?: number | undefined;
}

/** What `planData` is told by a training that is about to begin. */
interface Beginning {
  /** Samples of a set that stand for it. */
  readonly sampled?: number;
  /** Processes that train together, and those of them on this machine, which are there already. */
  readonly world?: { readonly size: number; readonly here: number };
}

export interface Plan {
  /** Of the host, of every card, or of every process. */
  readonly memory: MemoryPlan;
  /** Processes of this machine that share its memory and its processors. */
  readonly processes: number;
  /** Where servers sample for cards. */
  readonly servers?: ServersPlan;
  /** With a card also by phase, and what binds it. */
  readonly time: TimePlan & Partial<CardTime>;
  /** With a card: memory of the machine around it, in bytes. */
  readonly host?: { readonly peak: number; readonly available: number };
  /** Seconds for all steps. */
  readonly total: number;
  readonly steps: number;
  readonly parameters: Pick<Sizes, 'all' | 'trainable'>;
  readonly workload: Workload;
  /** For what `memory` is of. */
  readonly available: number;
  readonly fits: boolean;
  readonly dominant: Part;
  /** What would lower the peak. */
  readonly advice: readonly Advice[];
  /** What makes a run needlessly slow here. */
  readonly warnings: readonly string[];
  /** With a card: what would shorten the longest phase. */
  readonly hint?: string;
  /** With a card: time of this step on one, by that of all together, for 1, 8, 64 and 1024 cards. */
  readonly efficiency?: ReturnType<typeof efficiencies>;
  /** What the numbers rest on, of a card. */
  readonly assumptions?: readonly string[];
  /** With a card, in the currency of its price. */
  readonly costPer1000Steps?: number;
}

/** Samples that stand for the dataset. */
const SAMPLED = 64;

/** Predicts peak memory and time of a run. @throws UserError as training would */
export async function plan(asked: Config, options: PlanOptions = {}): Promise<Plan> {
  if (asked.threads !== undefined) setNumThreads(asked.threads);
  const { base, revision } = asked;
  const located = await locateModel(asked.model, { ...options, base, revision, weights: false });
  const { signal, onRead, onProgress: onDownload } = options;
  return await planData(asked, await loadData(asked, { signal, onProgress: onRead, onDownload }), located, options);
}

/** The same of data and a model that are at hand. */
export async function planData(
  asked: Config,
  data: TrainingData,
  located: LocatedModel,
  options: PlanOptions & Beginning = {},
): Promise<Plan> {
  const { base: directory, adapter } = located;
  const counted = resolveSteps(asked, data.samples.length);
  const model = loadModelConfig(directory);
  const trained = adapter === undefined ? counted : withAdapter(counted, adapter, model);
  const machine = machineFor(asked.device, options);
  const device = machine ? 'cuda' : resolveDevice(asked.device);
  const config = { ...trained, device };
  requirePositions(config, directory);
  requireAllowed(options.responseTokens, config);
  checkParadigm(config);
  const workload = await workloadOf(config, data, { base: directory, adapter }, { ...options, model });
  const sizes = sizesOf(model, (parameters) => fileBytes(directory, parameters), config);
  const frozenVision = config.train.freezeVision || (config.train.lora !== undefined && !config.train.lora.vision);
  const subject = { model, sizes, workload, config, frozenVision, card: options.memory ?? machine?.memory };
  const fleet = fleetOf(options, machine);
  const { processes = 1, world = { size: processes, here: processes } } = options;
  const shares = machine && !options.world ? fleet.cards : world.size;
  const local = shareOf(subject, shares);
  const program = programBytes();
  const memory = planMemory(local, program);
  const warning = options.gflops === undefined ? precisionWarning(config.precision, config.device) : undefined;
  const started = options.world ? world.here : 1;
  const free = options.memory ?? machine?.memory ?? availableMemory() + started * program;
  const available = machine ? free : free / world.here;
  const kept = decoderLayers(subject).kept / model.text.layers / packedTokens(workload);
  const learned = machine && planCardsTime(subject, machine, fleet, kept);
  const served = learned && samplesElsewhere(subject) ? planServers(subject, machine, kept, learned) : undefined;
  const time = served?.time ?? learned ?? (await hostTime(local, world.size, options, config));
  return {
    memory,
    time,
    processes: machine ? 1 : world.here,
    ...(machine && {
      ...aroundCards(local, machine, fleet, { time, servers: served?.servers.count ?? 0 }),
      efficiency: efficiencies(subject, machine, fleet, kept),
    }),
    ...(served && { servers: served.servers }),
    total: time.step * config.steps,
    steps: config.steps,
    parameters: { all: sizes.all, trainable: sizes.trainable },
    workload,
    available,
    fits: memory.peak <= available,
    dominant: dominant(memory),
    advice: advise(subject, program, shares, machine && more(fleet)).filter(({ change }) =>
      isPossible(change, counted),
    ),
    warnings: [
      warning,
      idle(workload, shares, machine ? 'cards' : 'processes'),
      machine || !samplesElsewhere(subject)
        ? undefined
        : 'rollouts are sampled by servers, whose time is not planned here',
    ].flatMap((each) => each ?? []),
  };
}

/**
 * The machine that is planned for; undefined: this one's processor.
 * @throws UserError where a card is asked for that nobody describes
 */
function machineFor(device: string, { machine }: PlanOptions): CardMachine | undefined {
  if (machine !== undefined) return findMachine(machine);
  if (device === 'cpu' || (device === 'auto' && info().cudaDevices === 0)) return undefined;
  const card = cards().cards[device.startsWith('cuda:') ? Number(device.slice('cuda:'.length)) : 0];
  const here = card && machineOfCard(card.name, card.memory);
  if (here) return { ...here, memory: deviceMemory(device === 'auto' ? 'cuda' : device)?.free ?? card.memory };
  throw new UserError(card ? `a ${card.name} is not known here` : 'there is no card here to plan for', {
    where: `device ${device}`,
    remedy: `Say which machine it will be: --machine ${machineNames.join(' | ')} | FILE.yaml`,
  });
}

/** @throws UserError for cards of no machine, rates beside one, and a network that is none */
function fleetOf(options: PlanOptions, machine: CardMachine | undefined): Fleet {
  const { cards = 1, nodes = 1, network, processes } = options;
  if (options.machine !== undefined && options.gflops !== undefined) {
    throw new UserError('a machine with a card has rates of its own', {
      where: '--gflops',
      remedy: 'Leave it out, or describe the machine in a file: --machine FILE.yaml.',
    });
  }
  if (machine && processes !== undefined) {
    throw new UserError('processes share the processors of this machine, and the plan is for cards', {
      where: '--processes',
      remedy: 'Say how many cards: --cards N.',
    });
  }
  if (!machine && (cards > 1 || nodes > 1 || network !== undefined))
    throw new UserError('cards, nodes and their network are those of a machine', {
      where: '--cards, --nodes, --network',
      remedy: `Say which machine it will be: --machine ${machineNames.join(' | ')} | FILE.yaml`,
    });
  return { cards: cards * nodes, nodes, network: parseNetwork(network ?? usualNetwork) };
}

const more = ({ cards, nodes }: Fleet): string => (nodes > 1 ? `--nodes ${2 * nodes}` : `--cards ${2 * cards}`);

/** Between nodes, where nobody says. */
const usualNetwork = '100G';

/** Whether a change that is advised is one that training accepts. An adapter that is gone on with keeps its settings. */
function isPossible(change: string, config: Config): boolean {
  if (change.startsWith('--')) return true;
  if (change.startsWith('train.lora.') && change !== NEW_ADAPTER && !config.train.lora) return false;
  return mayChange(config, change.split(' '));
}

/** A group is never split. */
function idle({ prompts }: Workload, shares: number, what: string): string | undefined {
  if (shares <= prompts) return undefined;
  return `${shares - prompts} of ${shares} ${what} have no prompt of a step: raise promptsPerStep to ${shares} or more`;
}

/** Of a plan for cards: the machine around each, what they cost, and what all of it rests on. */
function aroundCards(
  subject: Subject,
  { name, hostMemory, price, link }: CardMachine,
  { cards, nodes, network }: Fleet,
  { time, servers }: { readonly time: Plan['time']; readonly servers: number },
): Pick<Plan, 'host' | 'hint' | 'assumptions' | 'costPer1000Steps'> {
  const { prompts, patches, images } = subject.workload;
  const { model, config } = subject;
  const { text } = model;
  const waiting = config.train.offloadActivations
    ? packedTokens(subject.workload) * text.layers * text.hiddenSize * 4
    : 0;
  const resized = images * patches * model.vision.patchSize ** 2 * model.vision.inChannels;
  const peak = hostProgram + 2 * prompts * pixelBytes(model, patches) + Math.min(imageBytes, resized) + waiting;
  return {
    host: { peak, available: hostMemory },
    hint: hasten(time.phases ?? []),
    assumptions: [
      `machine ${name}: ${shares.bandwidth * 100}% of its bandwidth and ${shares.operations * 100}% of its rate of products are reached`,
      `${cards} cards on ${nodes} nodes share the prompts of a step, a group on one card; memory, also the host’s, is that of each`,
      'weights are whole on each card; full training shares masters of bfloat16 weights, moments and gradients among cards',
      `links within a node carry ${(reachedLinks * link) / 1e9} GB/s, the network of a node ${(reachedLinks * network) / 1e9} GB/s (70% of what is stated, assumed); half of what the layers take is backward, which hides them`,
      `efficiency is that of this step, with its number of prompts, on so many cards${servers > 0 ? ', without its rollouts' : ''}`,
      ...(servers > 0
        ? [`${servers} servers have a card each, like those that learn, and launch nothing for a token`]
        : []),
      ...(price === undefined ? [] : [`a card costs ${price} per hour; a machine’s file may say another price`]),
      'launches are counted, not timed: their cost is the machine’s `launch`',
      'prompts are as long as the longest of the first samples, answers as long as they may become',
    ],
    ...(price !== undefined && { costPer1000Steps: (price * (cards + servers) * time.step * 1000) / 3600 }),
  };
}

/** @throws UserError where answers are planned that are longer than a run cuts them off */
function requireAllowed(responseTokens: number | undefined, { rollout: { maxNewTokens } }: Config): void {
  if (responseTokens === undefined || responseTokens <= maxNewTokens) return;
  throw new UserError(`answers of ${responseTokens} tokens are longer than the ${maxNewTokens} that are allowed`, {
    where: '--response-tokens',
    remedy: 'Lower it, or allow longer answers: rollout.maxNewTokens.',
  });
}

/** Resident memory of the process with the CUDA build of libtorch. */
const hostProgram = 2e9;

/** Training that goes on with an adapter is that of a new one like it. */
function withAdapter(config: Config, adapter: string, model: ModelConfig): Config {
  const { family } = model;
  const targets = adaptedModules(adapter, family.keys);
  const present = settingsOf(readPeftConfig(adapter));
  const modules = targets.map(family.keys.own);
  onOutline(model, (outline) => requireSameAdapter(outline, { ...present, modules }, config.train.lora));
  const vision = modules.some(isVision);
  return {
    ...config,
    train: { ...config.train, lora: { ...present, targets, vision } },
  };
}

/** The longest prompts and labels of the dataset's first samples; of every step the one with most to do. */
async function workloadOf(
  config: Config,
  { samples, validation, images, experiment }: TrainingData,
  { base: directory, adapter }: LocatedModel,
  { model, responseTokens, signal, sampled = SAMPLED }: PlanOptions & Beginning & { readonly model: ModelConfig },
): Promise<Workload> {
  const encoder = PromptEncoder.load(directory, {
    ...config.data,
    ...promptSettings([adapter, directory], config.data),
  });
  const { lora } = config.train;
  const { backend } = config.rollout;
  if (backend !== 'local') {
    const adapted = lora && onOutline(model, (outline) => chosenModules(outline, lora));
    requireServable(backend, { encoder, adapted });
  }
  let [promptTokens, patches, labelTokens] = [0, 0, 0];
  for (const sample of [...setsOf(samples), validation].flatMap((set) => set.slice(0, sampled))) {
    await breathe(signal);
    const { prompt, truth, frames } = await experiment.ask({ encoder }, sample);
    promptTokens = Math.max(promptTokens, prompt.inputIds.length);
    patches = Math.max(
      patches,
      [...prompt.imageGridThw, ...(prompt.videoGridThw ?? [])].reduce((sum, [t, h, w]) => sum + t * h * w, 0),
    );
    const labels = labelTexts(scorerOf(experiment.scorer, sample).task, { sample, truth, frames }).map(
      ({ text }) => encoder.encodeResponse(text).length,
    );
    labelTokens = Math.max(labelTokens, ...labels);
  }
  const { rollouts: group, label: place } = busiestPart(config);
  const labels = place === 'none' ? 0 : 1;
  const longest = Math.max(group > 0 ? (responseTokens ?? config.rollout.maxNewTokens) : 0, labels * labelTokens);
  const responses = group + labels;
  const { microBatch } = config.train;
  const fitting = Math.floor((microBatch.tokens ?? Infinity) / (promptTokens + responses * longest));
  return {
    prompts: config.promptsPerStep,
    microBatch: Math.min(microBatch.prompts, config.promptsPerStep, Math.max(1, fitting)),
    promptTokens,
    patches,
    group,
    responses,
    responseTokens: longest,
    images,
    evaluated: validation.length,
    evaluationTokens: config.eval.maxNewTokens ?? config.rollout.maxNewTokens,
  };
}

/** Bytes of the weights on the disk; of a model of the hub that is not there yet, as its config says. */
function fileBytes(directory: string, parameters: number): number {
  const files = readdirSync(directory).filter((name) => /^model.*\.safetensors$/.test(name));
  if (files.length > 0) return files.reduce((sum, name) => sum + statSync(path.join(directory, name)).size, 0);
  return parameters * (statedDtype(path.join(directory, 'config.json'))?.endsWith('16') ? 2 : 4);
}

/** Resident memory of this process, in which libtorch is open and has nothing to do. */
function programBytes(): number {
  info();
  return process.memoryUsage.rss();
}

/** What can be had without swapping. */
export function availableMemory(): number {
  try {
    return Number(/^MemAvailable:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1]) * 1024;
  } catch {
    return freemem();
  }
}

const given = { call: 4e-6, byte: 1e-10 };
const givenRates = (gflops: number): Rates => ({ product: (rows) => gflops * 1e9 * Math.min(1, rows / 64), ...given });
/** Where a rate is given, so are exchanges: 0.5 GB/s, as gloo between the processes of two cores. */
const givenExchange: Omit<Together, 'rates'> = { gradients: 2e-9, weights: 2e-9, hop: 1e-3 };

/** Of what one of several processes has of a step. */
async function hostTime(
  local: Subject,
  size: number,
  { gflops, signal }: PlanOptions,
  { precision, threads }: Pick<Config, 'precision' | 'threads'>,
): Promise<TimePlan> {
  const rates = gflops === undefined ? undefined : givenRates(gflops / size);
  if (size === 1) return planTime(local, rates ?? measuredRates(precision));
  if (rates) return withExchange(planTime(local, rates), local, { rates, ...givenExchange });
  const rows: number[] = [];
  planTime(local, { product: (each) => rows.push(each), ...given });
  const isSharded = local.config.train.lora === undefined;
  const elements = Math.min(local.sizes.trainable, mostExchanged);
  const together = await calibrate({ size, precision, isSharded, elements, threads }, rows, signal);
  return withExchange(planTime(local, together.rates), local, together);
}

/** Elements that are exchanged to see how long that takes. */
const mostExchanged = 1 << 22;

/** Milliseconds for a rate. */
const measured = 100;

/** Rates of products with 2^k rows are measured when they are asked for. */
function measuredRates(precision: Precision): Rates {
  const known = new Map<number, number>();
  const product = (rows: number): number => {
    const size = roundedRows(rows);
    const rate = known.get(size) ?? 1e9 * Math.max(...repeated(measured, () => productRate(precision, size)));
    known.set(size, rate);
    return rate;
  };
  return { product, call: callSeconds(), byte: Math.min(...repeated(measured, byteSeconds)) };
}
