/**
 * A step on several cards: parallel over prompts, whose groups are never split. Adapters are whole on every card, and their
 * gradients are added up while the last backward pass goes on. Where all weights are trained, every card has them whole, in
 * the dtype of products, and a share of masters, moments and gradients (ZeRO-2, arXiv 1910.02054): gradients leave with every
 * micro-batch, weights come back after the step. Time of rings: NCCL's own reckoning of bytes by bandwidth.
 */
import { UserError } from '../errors.ts';
import { float, half } from './activations.ts';
import { planCardTime, type CardTime, type PhaseTime } from './card.ts';
import type { CardMachine } from './machines.ts';
import { learning } from './servers.ts';
import type { Subject } from './workload.ts';

export interface Fleet {
  /** Of all nodes. */
  readonly cards: number;
  readonly nodes: number;
  /** Of a node, in bytes per second. */
  readonly network: number;
}

/** What of links between cards and nodes is reached, assumed. */
export const reachedLinks = 0.7;
/** Seconds of one hop, assumed: within a node, and between two. */
const hop = { within: 5e-6, between: 20e-6 };

/** Numbers of cards whose efficiency is told. */
const told = [1, 8, 64, 1024] as const;
/** Cards of a usual node, for efficiency where a single card is planned for. */
const usualNode = 8;

/** @throws UserError for what is no rate, such as 400G: bits per second, of a node */
export function parseNetwork(text: string): number {
  const [, count, unit] = /^(\d+(?:\.\d+)?)([MGT])$/i.exec(text.trim()) ?? [];
  const scale = { M: 1e6, G: 1e9, T: 1e12 }[unit?.toUpperCase() ?? ''];
  if (scale !== undefined && Number(count) > 0) return (Number(count) * scale) / 8;
  throw new UserError(`${JSON.stringify(text)} is no rate of a network`, {
    where: '--network',
    remedy: 'Say bits per second of a node, such as 400G, 25G or 1.6T.',
  });
}

/** What the card, or the process, with most to do has of a step. */
export function shareOf(subject: Subject, cards: number): Subject {
  if (cards === 1) return subject;
  const { workload, config } = subject;
  const prompts = Math.ceil(workload.prompts / cards);
  const local = { ...subject, workload: { ...workload, prompts, microBatch: Math.min(workload.microBatch, prompts) } };
  if (config.train.lora) return local;
  const { weights, copied: masters } = subject.sizes;
  return {
    ...local,
    shards: cards,
    sizes: { ...subject.sizes, weights: weights - half * masters, copied: 0, masters },
  };
}

/** Of cards that sample, or learn from what servers do. @param keptPerToken as of planCardTime */
export function planCardsTime(subject: Subject, machine: CardMachine, fleet: Fleet, keptPerToken: number): CardTime {
  const { cards } = fleet;
  const local = learning(shareOf(subject, cards));
  const time = planCardTime(local, machine, keptPerToken);
  if (cards === 1) return time;
  const phase = communication(local, machine, fleet, time);
  const step = time.step + phase.seconds;
  return { ...time, step, communication: phase.seconds, phases: [...time.phases, phase] };
}

/** What of it no backward pass hides. */
function communication(subject: Subject, machine: CardMachine, fleet: Fleet, { phases }: CardTime): PhaseTime {
  const { sizes, workload, config, model } = subject;
  const { cards } = fleet;
  const apart = fleet.nodes > 1;
  const rate = reachedLinks * (apart ? Math.min(machine.link, fleet.network) : machine.link);
  const latency = Math.log2(cards) * (apart ? hop.between : hop.within);
  const twice = config.precision === 'float64' ? 2 : 1;
  const updates = config.objective.updatesPerBatch;
  const micro = Math.ceil(workload.prompts / workload.microBatch);
  const layers = model.text.layers;
  // Every byte passes all cards but one: once to be added up, once to come back.
  const pass = (twice * sizes.trainable * (cards - 1)) / cards / rate;
  const forward = phases.filter(({ name }) => /^(image tower|layers: .*)$/.test(name));
  const backward = forward.reduce((sum, { seconds }) => sum + seconds, 0) / 2 / micro / updates;
  // A block's gradients leave as soon as they are there; those of the last block are waited for.
  const exposed = (seconds: number): number => Math.max(seconds / layers, seconds - backward);
  const sharded = (subject.shards ?? 1) > 1;
  const times = sharded ? micro : 1;
  const passes = sharded ? 1 : 2;
  const [bytes, hops] = [passes * float * pass, passes * layers * latency];
  const weights = sharded ? (sizes.masters > 0 ? half : float) * pass + layers * latency : 0;
  return {
    name: 'communication',
    seconds: updates * (times * exposed(bytes + hops) + weights),
    binds: bytes >= hops ? 'bandwidth' : 'launches',
  };
}

/** Time of a step on one card, by that of all cards together, for 1, 8, 64 and 1024 cards and the same step. */
export function efficiencies(
  subject: Subject,
  machine: CardMachine,
  fleet: Fleet,
  keptPerToken: number,
): Readonly<Record<`${(typeof told)[number]}`, number>> {
  const node = fleet.cards > 1 ? fleet.cards / fleet.nodes : usualNode;
  const secondsOf = (cards: number): number =>
    planCardsTime(subject, machine, { ...fleet, cards, nodes: Math.ceil(cards / node) }, keptPerToken).step;
  const one = secondsOf(1);
  return Object.fromEntries(told.map((cards) => [String(cards), one / cards / secondsOf(cards)])) as Record<
    `${(typeof told)[number]}`,
    number
  >;
}
