/**
 * Surface forms of a grounding answer: every combination of spacing, key order, number format and wrapping.
 * They differ in characters only, so each parses back to the same objects.
 */
import type { Frame } from '../../types.ts';
import type { SurfaceForm } from '../task.ts';
import { answerJson, isWellFormed, parseAnswer } from './answer.ts';
import { keysOf, SPACINGS, spacingOf, wrapOf, WRAPS, type Spacing, type Wrap } from '../spelling.ts';
import { answerBlock } from '../thinking.ts';
import { toModel } from './geometry.ts';
import type { GroundingTruth, TrueObject } from './truth.ts';

/** The published prompt and its authors write numbers with spaces between them, so that form stands first. */
const SPACING_ORDER = ['spaced', 'compact', 'tight-lists'] as const satisfies readonly Spacing[];
const ORDERS = ['box-first', 'point-first'] as const;
const NUMBERS = ['integer', 'decimal'] as const;
interface Axes {
  readonly spacing: Spacing;
  readonly order: (typeof ORDERS)[number];
  readonly numbers: (typeof NUMBERS)[number];
  readonly wrap: Wrap;
}

/** Key order says nothing where there is one key, so it is part of the name only beside points. */
const nameOf = ({ spacing, order, numbers, wrap }: Axes, points: boolean): string =>
  (points ? [spacing, order, numbers, wrap] : [spacing, numbers, wrap]).join(' ');

/** The forms of answers with or without points, that of the published prompt first. */
export function groundingForms(points: boolean): readonly SurfaceForm<GroundingTruth>[] {
  const orders = points ? ORDERS : ORDERS.slice(0, 1);
  return keysOf(WRAPS).flatMap((wrap) =>
    NUMBERS.flatMap((numbers) =>
      orders.flatMap((order) => SPACING_ORDER.map((spacing) => form({ spacing, order, numbers, wrap }, points))),
    ),
  );
}

function form(axes: Axes, points: boolean): SurfaceForm<GroundingTruth> {
  const { colon, comma, inner } = SPACINGS[axes.spacing];
  const list = (values: readonly number[]): string =>
    `[${values.map((value) => (axes.numbers === 'decimal' ? value.toFixed(1) : String(value))).join(inner)}]`;
  const object = ({ box, point }: TrueObject, frame: Frame): string => {
    const corners = [...toModel([box[0], box[1]], frame), ...toModel([box[2], box[3]], frame)];
    const fields = [`"bbox_2d"${colon}${list(corners)}`];
    if (points && point !== undefined) fields.push(`"point_2d"${colon}${list(toModel(point, frame))}`);
    return `{${(axes.order === 'box-first' ? fields : fields.reverse()).join(comma)}}`;
  };
  return {
    name: nameOf(axes, points),
    write({ objects }, frames) {
      const json = `[${objects.map((item) => object(item, frames[0]!)).join(comma)}]`;
      return `<answer>${WRAPS[axes.wrap](json)}</answer>`;
    },
  };
}

/** Forms are told from characters: any frame will do to see whether an answer is well formed. */
const ANY_FRAME: Frame = { width: 1, height: 1, modelWidth: 1, modelHeight: 1 };

/** The form of a well-formed answer that is not empty (an empty list does not tell); undefined: none of ours. */
export function recogniseForm(text: string, points: boolean): string | undefined {
  const block = answerBlock(text);
  const json = answerJson(text);
  const objects = parseAnswer(text, ANY_FRAME);
  if (block === undefined || json === undefined || !isWellFormed(objects, points) || objects.length === 0) {
    return undefined;
  }
  const spacing = spacingOf(json);
  if (spacing === undefined) return undefined;
  const boxFirst = !points || json.indexOf('"bbox_2d"') < json.indexOf('"point_2d"');
  return nameOf(
    {
      spacing,
      order: boxFirst ? 'box-first' : 'point-first',
      numbers: /\d\.\d/.test(json) ? 'decimal' : 'integer',
      wrap: wrapOf(block),
    },
    points,
  );
}
