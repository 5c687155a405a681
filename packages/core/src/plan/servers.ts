/**
 * Rollouts by servers beside the cards that train (`rollout.backend`): a card each, of the same machine. What they sample
 * with captures its kernels, so launches cost it nothing; bytes and operations are those of our own decoding.
 */
import { planCardTime, type CardTime, type PhaseTime } from './card.ts';
import type { CardMachine } from './machines.ts';
import type { Subject } from './workload.ts';

export interface ServersPlan {
  readonly count: number;
  /** Of the rollouts of a step, by so many. */
  readonly seconds: number;
  /** How many take no longer than the cards take to learn; undefined where one for every prompt is too slow. */
  readonly enough: number | undefined;
}

export const samplesElsewhere = ({ config, workload }: Pick<Subject, 'config' | 'workload'>): boolean =>
  config.rollout.backend !== 'local' && workload.group > 0;

/** What is left to cards whose rollouts come from servers. */
export const learning = (subject: Subject): Subject =>
  samplesElsewhere(subject) ? { ...subject, workload: { ...subject.workload, group: 0 } } : subject;

/** @param time of the cards that learn */
export function planServers(
  subject: Subject,
  machine: CardMachine,
  keptPerToken: number,
  time: CardTime,
): { readonly servers: ServersPlan; readonly time: CardTime } {
  const { workload, config } = subject;
  const secondsBy = (count: number): number => {
    const prompts = Math.ceil(workload.prompts / count);
    const microBatch = Math.min(workload.microBatch, prompts);
    const own = { ...subject, workload: { ...workload, prompts, microBatch } };
    return planCardTime(own, { ...machine, launch: 0 }, keptPerToken).generation;
  };
  const count = config.rollout.servers.length;
  const seconds = secondsBy(count);
  const numbers = Array.from({ length: workload.prompts }, (_, i) => i + 1);
  const enough = numbers.find((each) => secondsBy(each) <= time.step);
  // One step ahead they sample while the cards learn.
  const waited = config.rollout.ahead > 0 ? Math.max(0, seconds - time.step) : seconds;
  const phase: PhaseTime = { name: 'rollouts by servers', seconds: waited, binds: 'bandwidth' };
  return {
    servers: { count, seconds, enough },
    time: {
      ...time,
      ...{ generation: waited, step: time.step + waited },
      phases: waited > 0 ? [phase, ...time.phases] : time.phases,
    },
  };
}
