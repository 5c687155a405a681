import type { Command } from 'commander';
import { example, withJson, withModel } from './options.ts';
import type { JsonOption, ModelOptions } from './options.ts';
import { downloads, formatNumber, print, printJson } from './output.ts';

/** Labels that are listed one by one. */
const SHOWN = 20;

interface CheckOptions extends ModelOptions, JsonOption {
  readonly task: string;
}

export function defineReward(program: Command): void {
  const reward = program.command('reward').description('look after rewards');
  const check = withModel(
    reward
      .command('check')
      .description('find labels whose reward is not above that of a wrong answer with a thought')
      .argument('<file.jsonl>', 'one sample per line: image, problem, solution'),
    'the checkpoint to train, which decides the coordinates of answers',
  ).option('--task <name>', 'of samples that do not name theirs', 'grounding');
  withJson(check).action(async (data: string, { json, ...options }: CheckOptions) => {
    const { checkReward, listFindings } = await import('@visurf/core');
    const { n, losing, findings } = await checkReward(data, { ...options, onProgress: downloads() });
    const found = losing.map(({ sample: { id, source }, label, rival }) => ({ id, line: source.line, label, rival }));
    if (json) return printJson({ n, losing: found, findings: findings.map(({ id: _, ...finding }) => finding) });
    if (findings.length > 0) {
      print(`${findings.length} labels do not survive the model's coordinates:\n${listFindings(findings).join('\n')}`);
    }
    for (const { id, line, label, rival } of found.slice(0, SHOWN)) {
      print(`${data}:${line} (${id}): the label gets ${formatNumber(label)}, a wrong answer ${formatNumber(rival)}`);
    }
    if (found.length > SHOWN) print(`... and ${found.length - SHOWN} more`);
    print(`${n - found.length} of ${n} labels win against a wrong answer with a thought`);
  });
  example(check, 'visurf reward check train.jsonl --model DIR');
}
