/** Published rewards for mathematics, in which mathruler compares: that of its box, and R1-V's of an answer in tags. */
import type { Terms } from '../../types.ts';
import { isTagged } from '../grounding/visionreasoner.ts';
import { pythonStrip } from '../python.ts';
import type { Answer } from '../task.ts';
import { nonRepeat } from '../thinking.ts';
import { beforeAnswer } from '../weights.ts';
import { beforeBox, boxedFormat } from './boxed.ts';
import { mathrulerBoxed, mathrulerEqual } from './mathruler.ts';

export function mathrulerTerms(answer: Answer, truth: string): Terms {
  const said = mathrulerBoxed(answer.text);
  // "None" is what mathruler says where there is no box.
  const isThere = said !== undefined && said !== 'None';
  return {
    thinking: boxedFormat(answer),
    format: Number(isThere),
    accuracy: Number(isThere && mathrulerEqual(said, truth)),
    nonRepeat: nonRepeat(beforeBox(answer.text)),
  };
}

export function r1vTerms({ text }: Answer, truth: string): Terms {
  const said = answerOfOneLine(text);
  return {
    thinking: Number(isTagged(text)),
    format: Number(said !== undefined),
    accuracy: Number(mathrulerEqual(pythonStrip(said ?? text), pythonStrip(truth))),
    nonRepeat: nonRepeat(beforeAnswer(text)),
  };
}

/** `<answer>(.*?)</answer>` without line breaks, in linear time. */
function answerOfOneLine(text: string): string | undefined {
  const [open, close] = ['<answer>', '</answer>'];
  for (const line of text.split('\n')) {
    const start = line.indexOf(open);
    const end = start < 0 ? -1 : line.indexOf(close, start + open.length);
    if (end >= 0) return line.slice(start + open.length, end);
  }
  return undefined;
}
