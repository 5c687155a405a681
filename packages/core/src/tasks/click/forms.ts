/** Surface forms of a click: with or without the control's box, spacing, wrapping. The point is the box's centre. */
import type { Frame } from '../../types.ts';
import { answerJson, isWellFormed, parseAnswer } from '../grounding/answer.ts';
import { toModel } from '../grounding/geometry.ts';
import { keysOf, SPACINGS, spacingOf, wrapOf, WRAPS } from '../spelling.ts';
import type { SurfaceForm } from '../task.ts';
import { answerBlock } from '../thinking.ts';
import type { ClickTruth } from './click.ts';

const FIELDS = ['point', 'box-and-point'] as const;

export const clickForms: readonly SurfaceForm<ClickTruth>[] = keysOf(WRAPS).flatMap((wrap) =>
  FIELDS.flatMap((fields) =>
    keysOf(SPACINGS).map((spacing): SurfaceForm<ClickTruth> => ({
      name: `${spacing} ${fields} ${wrap}`,
      write({ box: [x0, y0, x1, y1] }, frames) {
        const frame = frames[0]!;
        const { colon, comma, inner } = SPACINGS[spacing];
        const field = (key: string, values: readonly number[]): string => `"${key}"${colon}[${values.join(inner)}]`;
        const point = field('point_2d', toModel([(x0 + x1) / 2, (y0 + y1) / 2], frame));
        const box = field('bbox_2d', [...toModel([x0, y0], frame), ...toModel([x1, y1], frame)]);
        const item = fields === 'point' ? point : `${box}${comma}${point}`;
        return `<answer>${WRAPS[wrap](`[{${item}}]`)}</answer>`;
      },
    })),
  ),
);

/** Forms are told from characters: any frame will do to see whether an answer is well formed. */
const ANY_FRAME: Frame = { width: 1, height: 1, modelWidth: 1, modelHeight: 1 };

export function recogniseClick(text: string): string | undefined {
  const [block, json, objects] = [answerBlock(text), answerJson(text), parseAnswer(text, ANY_FRAME)];
  if (block === undefined || json === undefined || !objects?.length) return undefined;
  if (objects.some(({ point }) => point === undefined)) return undefined;
  const fields = isWellFormed(objects, true) ? 'box-and-point' : 'point';
  const spacing = spacingOf(json);
  if (spacing === undefined || (fields === 'point' && json.includes('"bbox_2d"'))) return undefined;
  if (json.indexOf('"point_2d"') < json.indexOf('"bbox_2d"')) return undefined;
  return `${spacing} ${fields} ${wrapOf(block)}`;
}
