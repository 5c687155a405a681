/** Answers in `\boxed{}`, as mathematics writes them. */
import type { Answer } from '../task.ts';

const OPEN = '\\boxed{';

/** Where the content of the last `\boxed{` that is closed begins and ends. */
function lastBox(text: string): readonly [number, number] | undefined {
  for (let open = text.lastIndexOf(OPEN); open >= 0; open = open === 0 ? -1 : text.lastIndexOf(OPEN, open - 1)) {
    const start = open + OPEN.length;
    let depth = 1;
    for (let end = start; end < text.length; end++) {
      if (text[end] === '{') depth += 1;
      if (text[end] === '}') depth -= 1;
      if (depth === 0) return [start, end];
    }
  }
  return undefined;
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
