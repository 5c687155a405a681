/** Answers in `\boxed{}`, as mathematics writes them. */
import type { Answer } from '../task.ts';

const OPEN = '\\boxed{';

/** Where the content of the last `\boxed{` that is closed begins and ends. */
function lastBox(text: string): readonly [number, number] | undefined {
  /** Braces that are open: where their content begins, and whether they are a box's. */
  const open: (readonly [number, boolean])[] = [];
  let last: readonly [number, number] | undefined;
  for (const { index } of text.matchAll(/[{}]/g)) {
    const start = index + 1;
    if (text[index] === '{') open.push([start, text.startsWith(OPEN, start - OPEN.length)]);
    else {
      const [begin = 0, isBox = false] = open.pop() ?? [];
      if (isBox && begin > (last?.[0] ?? 0)) last = [begin, index];
    }
  }
  return last;
}

/** The content of the last `\boxed{}` with balanced braces; undefined where there is none. */
export function boxedContent(text: string): string | undefined {
  const place = lastBox(text);
  return place && text.slice(...place);
}

/**
 * 1 if the whole response is one thought that is not blank and then an answer in `\boxed{}`, with nothing but white space
 * around them, and ended by itself, else 0.
 */
export function boxedFormat({ text, stop }: Answer): 0 | 1 {
  const [before, open, thought, close, answer, ...rest] = text.split(/(<\/?think>)/);
  if (stop !== 'eos' || rest.length > 0 || open !== '<think>' || close !== '</think>') return 0;
  const trimmed = answer?.trim() ?? '';
  const place = lastBox(trimmed);
  const alone = place?.[0] === OPEN.length && trimmed.startsWith(OPEN) && place[1] === trimmed.length - 1;
  return alone && before?.trim() === '' && thought?.trim() !== '' ? 1 : 0;
}

/** What comes before the first box. */
export const beforeBox = (text: string): string => text.split(OPEN)[0]!;
