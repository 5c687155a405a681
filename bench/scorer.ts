/**
 * The task's rewards as a program, for trainers in other languages: node bench/scorer.ts WORKLOAD.json
 *
 * A line of input is a list of `[row, text, stop]`, responses to rows of the workload (rival-workload.ts); the line of
 * output is a list of `{terms, form}`: raw reward terms, and the surface form that a well-formed answer is written in.
 */
import { createInterface } from 'node:readline';
import { Experiment } from '../packages/core/src/question/experiment.ts';
import { scorerOf, scoreTerms } from '../packages/core/src/reward/reward.ts';
import type { StopReason, Terms } from '../packages/core/src/types.ts';
import { readRivalWorkload } from './rival-workload.ts';

type Asked = readonly [row: number, text: string, stop: StopReason];

interface Scored {
  readonly terms: Terms;
  readonly form: string | undefined;
}

const { rows, tasks: parameters } = readRivalWorkload(process.argv[2] ?? '');
const scorers = Experiment.open({ parameters }).decide(rows.map(({ sample }) => sample)).scorer;
const subjects = rows.map(({ sample, frames }) => ({
  sample,
  frames,
  truth: scorerOf(scorers, sample).task.parseTruth(sample, frames),
}));

function score([row, text, stop]: Asked): Scored {
  const subject = subjects[row];
  if (!subject) throw new Error(`the workload has no row ${row}`);
  const scorer = scorerOf(scorers, subject.sample);
  return { terms: scoreTerms(scorer, { text, stop }, subject), form: scorer.task.recognise(text) };
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify((JSON.parse(line) as Asked[]).map(score))}\n`);
}
