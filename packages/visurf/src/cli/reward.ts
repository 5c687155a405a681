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
      .description('find labels whose reward is not above that of a wrong or nearly right answer with a thought')
      .argument('<file.jsonl>', 'one sample per line: image, problem, solution'),
    'the checkpoint to train, which decides the coordinates of answers',
  ).option('--task <name>', 'of samples that do not name theirs', 'grounding');
  withJson(check).action(async (data: string, { json, ...options }: CheckOptions) => {
    const { checkReward } = await import('@visurf/core');
    const { n, losing } = await checkReward(data, { ...options, onProgress: downloads() });
    const found = losing.map(({ sample: { id, source }, ...rest }) => ({ id, line: source.line, ...rest }));
    if (json) return printJson({ n, losing: found });
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
