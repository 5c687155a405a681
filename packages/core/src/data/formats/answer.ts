/** The text that a set has for an answer, as a solution of ours. */
import { isObject, isText, fourNumbers, type Convention } from './record.ts';

export interface Solution {
  readonly fields: Readonly<Record<string, unknown>>;
  readonly convention: Convention;
}

const THOUSANDTHS: Convention = { form: 'xyxy', units: 'thousandths', fixed: true };
const THOUGHT = /^\s*<think>([\s\S]*?)<\/think>([\s\S]*)$/;
const NUMBER = String.raw`\s*(-?\d+(?:\.\d+)?)\s*`;
const PAIRS = String.raw`\(${NUMBER},${NUMBER}\)\s*(?:,\s*)?\(${NUMBER},${NUMBER}\)`;
/** Seg-Zero's text, also with several boxes in one. */
const TAGGED = new RegExp(String.raw`^\s*<box>([\s\S]*?)</box>\s*(?:<points?>([\s\S]*?)</points?>\s*)?$`);
/** Special tokens around thousandths, as Qwen's second generation writes places in text. */
const TOKENS = new RegExp(String.raw`<\|box_start\|>${PAIRS}<\|box_end\|>`, 'g');

/** Reads boxes, mathematics and words out of an answer; what the model thought comes apart. */
export function solutionOf(answer: unknown, task?: string): Solution {
  if (!isText(answer)) return fromValue(answer, task);
  const [, thought, rest] = THOUGHT.exec(answer) ?? [];
  const said = (rest ?? answer).replace(/^\s*<answer>([\s\S]*)<\/answer>\s*$/, '$1').trim();
  const { fields, convention } = fromText(said, task);
  return { fields: { ...fields, ...(isText(thought) && { thinking: thought.trim() }) }, convention };
}

function fromText(said: string, task: string | undefined): Solution {
  const plain = said.replace(/^```(?:json)?([\s\S]*)```$/, '$1').trim();
  const boxes = fromJson(plain) ?? fromTags(plain);
  if (boxes) return { fields: { solution: boxes }, convention: {} };
  const tokens = [...said.matchAll(TOKENS)];
  const beside = said.replaceAll(TOKENS, '').replaceAll(/<\|object_ref_start\|>.*?<\|object_ref_end\|>/g, '');
  if (tokens.length > 0 && beside.trim() === '') {
    const solution = tokens.map(([, ...corners]) => ({ bbox_2d: corners.map(Number) }));
    return { fields: { solution }, convention: THOUSANDTHS };
  }
  const isFormula = /\\boxed\s*\{/.test(said);
  return { fields: { solution: said, task: task ?? (isFormula ? 'math' : 'answer') }, convention: {} };
}

function fromValue(value: unknown, task: string | undefined): Solution {
  const boxes = boxesOf(value);
  if (boxes) return { fields: { solution: boxes }, convention: {} };
  const scalar = typeof value === 'number' || typeof value === 'boolean' ? String(value) : value;
  return { fields: { solution: scalar, task: task ?? 'answer' }, convention: {} };
}

function fromJson(text: string): Record<string, unknown>[] | undefined {
  if (!/^[[{]/.test(text)) return undefined;
  try {
    return boxesOf(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** A box, or a list of boxes, as numbers or as objects; undefined where it is anything else. */
function boxesOf(value: unknown): Record<string, unknown>[] | undefined {
  if (isObject(value)) return boxesOf([value]);
  if (!Array.isArray(value)) return undefined;
  const items = value as unknown[];
  if (items.length === 4 && items.every((each) => typeof each === 'number')) return [{ bbox_2d: items }];
  const boxes = items.flatMap((item): Record<string, unknown>[] => {
    if (Array.isArray(item)) return fourNumbers(item as unknown[]) ? [{ bbox_2d: item }] : [];
    if (!isObject(item)) return [];
    const { bbox_2d, bbox = bbox_2d, point_2d, label } = item;
    const numbers = Array.isArray(bbox) ? fourNumbers(bbox as unknown[]) : undefined;
    const point = point_2d !== undefined && { point_2d };
    return numbers ? [{ bbox_2d: numbers, ...point, ...(typeof label === 'string' && { label }) }] : [];
  });
  return boxes.length === items.length ? boxes : undefined;
}

function fromTags(text: string): Record<string, unknown>[] | undefined {
  const [, inBoxes, inPoints] = TAGGED.exec(text) ?? [];
  if (inBoxes === undefined) return undefined;
  const points = [...(inPoints ?? '').matchAll(new RegExp(String.raw`\(${NUMBER},${NUMBER}\)`, 'g'))];
  const boxes = [...inBoxes.matchAll(new RegExp(PAIRS, 'g'))].map(([, ...corners]) => corners.map(Number));
  const at = (place: number, name: string) => {
    const [, x, y] = points[place] ?? [];
    return x === undefined ? {} : { [name]: [Number(x), Number(y)] };
  };
  // One object may have several points.
  if (boxes.length === 1) return [{ bbox_2d: boxes[0], ...at(0, 'point_2d'), ...at(1, 'second_2d') }];
  return boxes.map((bbox_2d, i) => ({ bbox_2d, ...at(i, 'point_2d') }));
}
