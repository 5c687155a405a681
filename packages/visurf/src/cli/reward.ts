import type { Command } from 'commander';
import { stoppable } from './interrupt.ts';
import { measureOf, withMeasure } from './measure.ts';
import type { MeasuredOptions } from './measure.ts';
import { example, withJson, withSource } from './options.ts';
import type { JsonOption, ModelOptions } from './options.ts';
import { Progress, downloads, formatNumber, print, printJson, reading } from './output.ts';

/** Labels that are listed one by one. */
const SHOWN = 20;

interface CheckOptions extends Partial<ModelOptions>, MeasuredOptions, JsonOption {
  readonly allowOutside?: true;
}

export function defineReward(program: Command): void {
  const reward = program.command('reward').description('look after rewards');
  const check = withMeasure(
    reward
      .command('check')
      .description('find labels whose reward is not above that of a wrong or nearly right answer with a thought')
      .argument('<file.jsonl>', 'one sample per line: image, problem, solution'),
  )
    .option(
      '--model <dir>',
      'the checkpoint to train, which decides the coordinates of answers (default: that of --config)',
    )
    .option('--allow-outside', 'images may lie outside of the folder of the data')
    .option('--base <dir>', 'the base of a model that is an adapter, where it is not where the adapter says');
  withSource(check);
  withJson(check).action(async (data: string, given: CheckOptions) => {
    const { checkReward, listFindings } = await import('@visurf/core');
    const { json, model, revision, adapter, base, allowOutside } = given;
    const options = {
      ...(await measureOf(given)),
      ...{ model, revision, adapter, base, allowOutside, onProgress: downloads() },
    };
    const progress = new Progress();
    const report = await stoppable((signal) => checkReward(data, { ...options, onRead: reading(progress), signal }));
    progress.finish();
    if (!report) return;
    const { n, losing, findings } = report;
    const found = losing.map(({ sample: { id, source }, ...rest }) => ({ id, line: source.line, ...rest }));
    if (json) return printJson({ n, losing: found, findings: findings.map(({ id: _, ...finding }) => finding) });
    if (findings.length > 0) {
      print(`${findings.length} labels do not survive the model's coordinates:\n${listFindings(findings).join('\n')}`);
    }
    for (const { id, line, label, rival, rivalIs } of found.slice(0, SHOWN)) {
      const rewards = `the label gets ${formatNumber(label)}, a ${rivalIs} answer ${formatNumber(rival)}`;
      print(`${data}:${line} (${id}): ${rewards}`);
    }
    if (found.length > SHOWN) print(`... and ${found.length - SHOWN} more`);
    const wrong = found.filter(({ rivalIs }) => rivalIs === 'wrong').length;
    print(`${n - wrong} of ${n} labels win against a wrong answer with a thought`);
    print(`${n - found.length} of ${n} win against a nearly right one, too`);
  });
  example(check, 'visurf reward check train.jsonl --model DIR');
}
