import { spawn } from 'node:child_process';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { Ask, BoxForm, Initialised, Units } from '@visurf/core';
import { asks, names, share, withReading } from './data.ts';
import { stoppable } from './interrupt.ts';
import { deviceOption, example, precisionOption, wholeNumber, withJson } from './options.ts';
import type { ComputeOptions, JsonOption } from './options.ts';
import { PROGRAM, Progress, formatDuration, formatNumber, print, printJson, reading, table } from './output.ts';

interface InitOptions extends Partial<ComputeOptions>, JsonOption {
  readonly model: string;
  readonly revision?: string;
  readonly format?: string;
  readonly boxes?: BoxForm;
  readonly units?: Units;
  readonly split?: string;
  readonly allowOutside?: true;
  readonly ask?: Ask[];
  readonly classes?: string[];
  readonly validation: number;
  readonly seed: number;
  readonly prompt?: string;
  readonly probe: boolean;
  readonly samples: number;
  readonly seconds: number;
  readonly open: boolean;
  readonly keepEmpty?: true;
  readonly force?: true;
}

export function defineInit(program: Command): void {
  const command = withReading(
    program
      .command('init')
      .description(
        'look at a folder of pictures and labels and at a model, and write data and a configuration that fit them here: ' +
          'config.yaml, train.jsonl, validation.jsonl, preview.html in this folder',
      )
      .argument('<source>', 'a folder or a file, of any format that is known (docs/data.md)')
      .requiredOption('--model <dir>', 'the base: a directory, a run, or owner/name on the hub'),
  )
    .option('--revision <name>', 'branch, tag or commit of a model on the hub (default: main)')
    .option(
      '--ask <kinds>',
      'questions about classes: find, count, exists, or several with commas (default: find)',
      asks,
    )
    .option('--classes <names>', 'classes that are asked for, with commas (default: all)', names)
    .option('--validation <share>', 'held out, where the set does not say what is', share, 0.2)
    .option('--keep-empty', 'keep questions whose answer is [], however many they are')
    .option('--seed <n>', 'of the order in which pictures are dealt and asked about', wholeNumber(0), 0)
    .option('--prompt <template>', 'of the user turn: a text with {Question} in it (default: that of the task)')
    .option('--no-probe', 'do not ask the base anything')
    .option('--samples <n>', 'questions that the base is asked', wholeNumber(8), 64)
    .option('--seconds <n>', 'that asking it may take', wholeNumber(1), 180)
    .option('--no-open', 'do not open preview.html in a browser')
    .option('--force', 'overwrite what is here already')
    .addOption(deviceOption())
    .addOption(precisionOption());
  withJson(command).action(async (source: string, options: InitOptions) => {
    const { initialise } = await import('@visurf/core');
    const progress = new Progress();
    const { json, probe, samples, force = false, open, keepEmpty = false, ...rest } = options;
    const made = await stoppable((signal) =>
      initialise(source, {
        ...{ ...rest, probes: probe, questions: samples, overwrite: force, keepsEmpty: keepEmpty, signal },
        onStage: (stage, done, total) => progress.update(stage, done, total),
        onDownload: (each) => progress.download(each),
        onRead: reading(progress),
      }),
    );
    progress.finish();
    if (!made) return;
    if (json) {
      const findings = made.findings.map(({ id: _, ...finding }) => finding);
      return printJson({ ...made, findings });
    }
    const { describeFinding } = await import('@visurf/core');
    print(describe(made, made.findings.map(describeFinding)));
    if (open && process.stdout.isTTY) openInBrowser(resolve('preview.html'));
  });
  example(command, 'visurf init photos/ --model Qwen/Qwen2.5-VL-3B-Instruct', 'visurf train config.yaml');
}

/** Where there is a screen; nothing depends on it. */
function openInBrowser(page: string): void {
  const isMac = process.platform === 'darwin';
  if (!isMac && !process.env.DISPLAY && !process.env.WAYLAND_DISPLAY) return;
  const child = spawn(isMac ? 'open' : 'xdg-open', [page], { detached: true, stdio: 'ignore' });
  child.on('error', () => undefined);
  child.unref();
}

const percent = (value: number): string => `${Math.round(100 * value)}%`;

/** Lines shown of a list. */
const SHOWN = 8;

function describe(made: Initialised, findings: readonly string[]): string {
  const { format, n, notes, survey, advice, files } = made;
  const parts = Object.entries(n).map(([part, count]) => `${count} ${part}`);
  const more =
    findings.length > SHOWN ? [`  and ${findings.length - SHOWN} more: ${PROGRAM} data check train.jsonl`] : [];
  return [
    `format: ${format}; samples: ${parts.join(', ')}; pictures of training: ${survey.images}`,
    ...notes.map((note) => `  ${note}`),
    '',
    ...surveyed(made),
    ...(findings.length > 0
      ? ['', 'worth a look:', ...findings.slice(0, SHOWN).map((finding) => `  ${finding}`), ...more]
      : []),
    '',
    ...asked(made),
    '',
    `paradigm: ${advice.paradigm}. ${advice.why}.`,
    ...advice.warnings.map((warning) => `warning: ${warning}.`),
    '',
    ...planned(made),
    '',
    `written: ${files.join(', ')}`,
    `next: look at preview.html, then ${PROGRAM} train config.yaml`,
  ].join('\n');
}

function surveyed({ survey }: Initialised): string[] {
  const { classes, boxes, sizes, area, problem, empty } = survey;
  const rows = classes.slice(0, SHOWN).map(({ name, present, absent }) => [name, String(present), String(absent)]);
  const left = classes.length > SHOWN ? [`and ${classes.length - SHOWN} classes more`] : [];
  const shown = sizes.slice(0, 3).map(({ size, images }) => `${size} (${images})`);
  const span = ([least, , middle, , most]: readonly number[], unit: string): string =>
    `${Math.round(least!)} to ${Math.round(most!)}${unit}, the middle ${Math.round(middle!)}`;
  return [
    ...(rows.length > 0 ? [table(['asked for', 'there', 'not there []'], rows), ...left, ''] : []),
    ...(empty === undefined ? [] : [`[] is the answer to ${percent(empty)} of the questions`]),
    ...(boxes.n === 0
      ? []
      : [
          `${boxes.n} boxes, sides of ${span(boxes.side, ' px')}; as the model sees them ${span(boxes.seen, ' px')}, ` +
            `${percent(boxes.tiny)} narrower than half a token`,
        ]),
    ...(sizes.length === 0
      ? []
      : [
          `pictures: ${shown.join(', ')}${sizes.length > 3 ? `, and ${sizes.length - 3} sizes more` : ''}; area ${span(area, ' px')}`,
        ]),
    `questions: ${span(problem, ' characters')}`,
  ];
}

function asked({ probe, unasked }: Initialised): string[] {
  if (!probe) return [unasked === undefined ? 'the base was not asked' : `the base was not asked: ${unasked}`];
  const { all, kinds, answers, separation, cut } = probe;
  const rows = [['all', all] as const, ...Object.entries(kinds)].map(([name, kind]) => [
    ...[name, String(kind.questions), percent(kind.right), percent(kind.reached)],
  ]);
  return [
    table(['the base, asked about', 'questions', 'right', `in ${answers} tries`], rows),
    `answers: ${percent(probe.wellFormed)} can be read, ${percent(probe.thinking)} think, ${percent(probe.cutOff)} did not end; ` +
      `log pi of a label ${formatNumber(probe.labelLogProb)}, of one of its tokens ${formatNumber(probe.labelTokenLogProb)}`,
    ...(separation
      ? [
          `a probe of its state after the prompt tells ${Object.keys(separation.kinds).join(' from ')} in ` +
            `${percent(separation.accuracy)} +- ${percent(separation.error)} of new pictures (chance: ${percent(1 / Object.keys(separation.kinds).length)})`,
        ]
      : []),
    ...(cut === undefined ? [] : [`stopped by --seconds: ${cut}`]),
  ];
}

function planned({ plan }: Initialised): string[] {
  if (!plan) return ['memory and time: this card is not known here (visurf plan config.yaml --machine ...)'];
  const { memory, available, fits, time, total, steps } = plan;
  const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`;
  return [
    `memory: ${gigabytes(memory.peak)} of ${gigabytes(available)}${fits ? '' : ': IT DOES NOT FIT (visurf plan config.yaml says what helps)'}; ` +
      `time: ${formatNumber(time.step)} s a step, ${formatDuration(total)} for ${steps} steps if answers are as long as they may be`,
  ];
}
