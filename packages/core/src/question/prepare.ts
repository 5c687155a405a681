/**
 * What must be known of all questions before the first step: that each can be asked, whether its label survives the model's
 * coordinates, and whether it can win. Nothing is kept of a question that a step can make again.
 */
import { z } from 'zod';
import type { Config } from '../config/schema.ts';
import { trainingName, trainingSets } from '../config/sets.ts';
import { DataCache, entryName } from '../data/cache.ts';
import type { Frames } from '../data/images.ts';
import { breathe, type PaceOptions } from '../data/paced.ts';
import { joinSamples, pickSamples } from '../data/samples.ts';
import { Numbers } from '../data/texts.ts';
import { UserError } from '../errors.ts';
import { LosingLabels, labelsThatCannotWin } from '../label/labelcheck.ts';
import type { Scorer, Subject } from '../reward/reward.ts';
import { LostLabels, lostLabel } from '../reward/survival.ts';
import type { Samples } from '../types.ts';
import type { Measures } from './ask.ts';
import type { Experiment } from './experiment.ts';

/** Faults that are listed. */
const SHOWN = 20;
/** Questions whose labels are judged together. */
const JUDGED = 64;

export interface Weighing extends PaceOptions {
  readonly experiment: Experiment;
  readonly policy: Measures;
  readonly frames: Frames;
}

/**
 * Visits every question without its pixels, some at a time. What cannot be asked comes in one list.
 * @param onSkip hears of places that cannot be asked, and of the list; unset: that is an error
 * @throws UserError that lists it
 */
export async function weighAll(
  samples: Samples,
  { experiment, policy, frames, signal, onProgress }: Weighing,
  visit: (subjects: readonly Subject[], places: readonly number[]) => void | Promise<void>,
  onSkip?: (places: Numbers, message: string) => void,
): Promise<void> {
  const faults: UserError[] = [];
  const bad = new Numbers();
  let place = 0;
  let [subjects, places]: [Subject[], number[]] = [[], []];
  const flush = async (): Promise<void> => {
    await visit(subjects, places);
    [subjects, places] = [[], []];
    onProgress?.(place);
    await breathe(signal);
  };
  for (const sample of samples) {
    try {
      subjects.push(experiment.weigh(policy, sample, frames));
      places.push(place);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      if (faults.length < SHOWN) faults.push(error);
      bad.push(place);
    }
    place += 1;
    if (place % JUDGED === 0) await flush();
  }
  await flush();
  if (bad.size === 0) return;
  const lines = faults.map(({ where, reason }) => `${where ?? 'unknown place'}: ${reason}`);
  const more = bad.size > SHOWN ? `\n... and ${bad.size - SHOWN} more` : '';
  const message = `${bad.size} of ${place} samples cannot be used:\n${lines.join('\n')}${more}`;
  if (!onSkip) throw new UserError(message, { remedy: faults[0]?.remedy });
  onSkip(bad, message);
}

interface Prepared {
  /** Samples whose labels survive: those to train on, in any paradigm, so that all train on the same. */
  readonly taught: Samples;
  /** Samples to evaluate on. */
  readonly held: Samples;
  readonly warnings: readonly string[];
}

const places = z.array(z.int().nonnegative());
const schema = z.object({ lost: places, lostHeld: places, warnings: z.array(z.string()) });

/** Labels that are lost beyond which nothing is remembered. */
const MOST_LOST = 100_000;

export interface Preparing extends Omit<Weighing, 'onProgress'> {
  readonly config: Config;
  readonly samples: Samples;
  readonly validation: Samples;
  /** Whether labels are compared with rollouts. */
  readonly joins: boolean;
  /** Whether samples that cannot be asked are left out. */
  readonly skips: boolean;
  /** Everything else that decides what is found; undefined: nothing is remembered. */
  readonly key: readonly unknown[] | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** @throws UserError where a question cannot be asked, or none is left */
export async function prepareQuestions(preparing: Preparing): Promise<Prepared> {
  const { config, samples, validation, key, experiment } = preparing;
  const cache = DataCache.of(trainingSets(config.data.train)[0].file);
  const name =
    key && entryName('prepared', 3, ...key, experiment.settings, config.label, preparing.joins, preparing.skips);
  const found = (name === undefined ? undefined : remembered(cache, name)) ?? (await look(preparing));
  if (name && found.lost.length <= MOST_LOST) cache.write(name, JSON.stringify(found));
  if (found.lost.length === samples.length) {
    throw new UserError(found.warnings[0] ?? 'no samples', { where: trainingName(config.data.train) });
  }
  const taught = without(samples, found.lost);
  const held = without(validation, found.lostHeld);
  return { taught, held, warnings: [...found.warnings, ...(await judgeFirst(taught, preparing))] };
}

type Found = z.output<typeof schema>;

function remembered(cache: DataCache, name: string): Found | undefined {
  try {
    return schema.parse(JSON.parse(cache.read(name) ?? ''));
  } catch {
    return undefined;
  }
}

function without(samples: Samples, lost: readonly number[]): Samples {
  if (lost.length === 0) return samples;
  const left = new Set(lost);
  const kept = new Numbers();
  for (let place = 0; place < samples.length; place++) if (!left.has(place)) kept.push(place);
  return pickSamples(samples, kept.values);
}

/** Whether labels are judged one by one: rewards of the user's own, which may be slow, judge the first of them. */
const judgesAll = ({ rewards }: Scorer, joins: boolean): boolean => joins && rewards.length === 0;

async function look({ samples, validation, config, joins, skips, onProgress, ...weighing }: Preparing): Promise<Found> {
  const { scorer } = weighing.experiment;
  const total = samples.length + validation.length;
  const lost = new LostLabels();
  const lostAt: number[] = [];
  const lostHeld: number[] = [];
  const skipped: string[] = [];
  const losing = new LosingLabels();
  const told = { isAbsent: true };
  const visit = async (subjects: readonly Subject[], at: readonly number[]): Promise<void> => {
    const taught = subjects.filter((subject, i) => {
      if (at[i]! >= samples.length) return false;
      const label = lostLabel(scorer, subject);
      if (label === undefined) return true;
      lost.add(label);
      lostAt.push(at[i]!);
      return false;
    });
    told.isAbsent &&= taught.every(({ sample: { task, solution } }) => task === 'grounding' && solution === '[]');
    if (judgesAll(scorer, joins)) losing.add(await labelsThatCannotWin(scorer, taught, config.label));
  };
  const skip = (bad: Numbers, message: string): void => {
    skipped.push(message);
    for (const place of bad.values) {
      if (place < samples.length) lostAt.push(place);
      else lostHeld.push(place - samples.length);
    }
  };
  const pace = { ...weighing, onProgress: (done: number) => onProgress?.(done, total) };
  await weighAll(joinSamples(samples, validation), pace, visit, skips ? skip : undefined);
  const message = lost.describe(samples.length);
  const warnings = losing.warnings(samples.length - lostAt.length, config.label);
  const first = [
    ...skipped,
    ...(message === undefined ? [] : [message]),
    ...(told.isAbsent && samples.length > lostAt.length ? [ABSENT] : []),
  ];
  return { lost: lostAt, lostHeld, warnings: [...first, ...warnings] };
}

const ABSENT = 'every label is []: the model learns to say that there is nothing, whatever it is shown';

/** What rewards of the user's own make of the first labels. */
async function judgeFirst(
  taught: Samples,
  { joins, config, experiment, policy, frames }: Preparing,
): Promise<string[]> {
  const { scorer } = experiment;
  if (!joins || judgesAll(scorer, joins)) return [];
  const subjects = taught.slice(0, JUDGED).map((sample) => experiment.weigh(policy, sample, frames));
  const losing = new LosingLabels();
  losing.add(await labelsThatCannotWin(scorer, subjects, config.label));
  return losing.warnings(subjects.length, config.label);
}
