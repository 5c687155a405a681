/** ViSurf by our trainer and ViSurf built on TRL: what both reach, in what time and memory, and what the rival cannot do. */
import type { Resumed } from '../rival-check.ts';
import type { RivalResult, RivalRun, RivalSystem } from './result.ts';
import { number, percent, table } from './text.ts';

type Column = readonly [title: string, value: (run: RivalRun) => number | undefined, format: (value: number) => string];

const plain = (value: number): string => value.toFixed(1);

const columns: readonly Column[] = [
  ['gIoU', ({ metrics }) => metrics.gIoU, plain],
  ['IoU, present', ({ metrics }) => metrics.presentIoU, plain],
  ['N-Acc', ({ metrics }) => metrics.nAcc, plain],
  ['false `[]`', ({ metrics }) => metrics.falseEmpty, plain],
  ['thinking', ({ metrics }) => metrics.thinking, plain],
  ['updates, s', ({ seconds }) => seconds, number],
  ['of it rollouts', ({ phases }) => phases.rollouts, number],
  ['whole process, s', ({ processSeconds }) => processSeconds, number],
  ['processor, s', ({ processorSeconds }) => processorSeconds, number],
  ['peak memory, MB', ({ peakMb }) => peakMb, number],
];

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
const over = ({ runs }: RivalSystem, value: (run: RivalRun) => number | undefined): number =>
  mean(runs.map((run) => value(run) ?? NaN));

/** One value per seed. */
function rowOf(system: RivalSystem): string[] {
  const cell = ([, value, format]: Column): string => system.runs.map((run) => format(value(run) ?? NaN)).join(' / ');
  return [system.name, ...columns.map(cell)];
}

function ratiosOf(ours: RivalSystem, rival: RivalSystem): string {
  const times = (value: (run: RivalRun) => number): string => `${number(over(rival, value) / over(ours, value))} times`;
  return (
    `The rival takes ${times(({ seconds }) => seconds)} the time of our updates, ` +
    `${times(({ processorSeconds }) => processorSeconds)} the processor seconds of our process, and ` +
    `${times(({ peakMb }) => peakMb)} its memory.`
  );
}

/** Where another program's work makes clocks worthless. */
const busy = 0.5;

function whatDiffers({ checked, systems: [ours, rival] }: RivalResult): string {
  if (!ours || !rival) return '';
  const { step, resumed } = checked;
  const left = Math.max(...rival.runs.map(({ labelLeft = 0 }) => labelLeft));
  const skipped = percent(1 - over(ours, ({ scored }) => scored));
  return [
    '- *Share a prompt.* Each of the G + 1 members carries the prompt and its image through the processor, the vision tower and ' +
      'the decoder again, in sampling and in training: nine times what ours computes of them, with G = 8.',
    `- *Leave out what teaches nothing.* ${skipped} of the responses had no advantage; our update left them out, the rival's does not.`,
    '- *Know a label.* To TRL it is one more completion: its means of reward, length and entropy count it in, and none ' +
      "says how labels fare. A `rollout_func` is given messages alone, so a row's number travels in the message.",
    `- *Set an advantage.* What smoothing wants must be said by a reward, the mean of the others. It gave ${number(left)} at most; ` +
      'rewards that are no multiples of a power of two leave what float32 rounds.',
    `- *Choose the epsilon beside the std.* It is 1e-4; in the repeated step this moved advantages by up to ${number(step.advantagesOurs)}.`,
    `- *Resume by itself.* ${resumedWords(resumed)} What \`align\` counted needs a stateful callback of one's own (the rival has none).`,
  ].join('\n');
}

/** Largest differences of a weight. */
function resumedWords({ again, resumed, loaded }: Resumed): string {
  const made = `Six updates made twice differ by ${number(again)} in a weight`;
  if (resumed <= again) return `${made}, resumed after the third by no more.`;
  return (
    `${made}; with \`resume_from_checkpoint\` after the third they differ by ${number(resumed)}, since transformers does not find the ` +
    "checkpoint's names in the model, warns, and goes on from the base's weights. With the model loaded from the checkpoint " +
    `first they differ by ${number(loaded)}.`
  );
}

/** @param machine what it was measured on, in words */
export function renderRival(result: RivalResult, machine: string): string {
  const { systems, updates, checked, machine: measuredOn } = result;
  const [ours, rival] = systems;
  if (!ours || !rival) throw new Error('the rival was measured without a system');
  const seeds = ours.runs.map(({ seed }) => seed).join(', ');
  const { rewards, gradient } = checked.step;
  const noise =
    measuredOn.load > busy
      ? '\n\nOther programs were using the machine: only processor seconds and memory say much here.'
      : '';
  return [
    `${updates} updates, seed ${seeds}; the 800 questions of the test split, in percent. ${machine}.${noise}`,
    table(['', ...columns.map(([title]) => title)], systems.map(rowOf)),
    ratiosOf(ours, rival),
    `Given the responses of one of our steps, the rival finds the same rewards (${number(rewards)} apart) and a gradient that differs ` +
      `by ${number(gradient)} of its norm: it is the same method. What it cannot do:`,
    whatDiffers(result),
  ].join('\n\n');
}
