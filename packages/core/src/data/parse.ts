/** A line of our own JSONL, or a record in its fields, as a sample. */
import path from 'node:path';
import { editDistance, messageOf } from '../errors.ts';
import { LISTED } from './lines.ts';
import { placeFault, withoutLeadingPlaces } from '../prompt/places.ts';
import { thinkingFault } from '../tasks/thinking.ts';
import type { Sample } from '../types.ts';
import { clipsOf } from './videos.ts';

/** The sample of a line, or what is wrong with it. */
export function parseSample(text: string, source: Sample['source'], defaultTask: string): Sample | string {
  try {
    return sampleOf(JSON.parse(text), source, defaultTask);
  } catch (error) {
    if (source.line === 1 && text.startsWith('[')) return LISTED;
    return `malformed JSON: ${messageOf(error)}`;
  }
}

/** The sample of a record in the fields of our JSONL, or what is wrong with it. */
export function sampleOf(value: unknown, source: Sample['source'], defaultTask: string): Sample | string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'not a JSON object';
  const { image, video, problem, solution, thinking, task, id, ...others } = value as Record<string, unknown>;
  // Not every question is about an image: its task says so where it is.
  const images = Array.isArray(image) ? (image as unknown[]) : image === undefined || image === null ? [] : [image];
  if (!images.every((item) => typeof item === 'string' && item !== '')) {
    return 'image must be a path, or a list of paths';
  }
  const misspelled = misspelledField(value as Record<string, unknown>);
  if (misspelled !== undefined) return misspelled;
  const folder = path.dirname(path.resolve(source.file));
  // Of a row without a video, `fps` is a field like any other.
  const { fps, ...rest } = others;
  const videos = clipsOf(video, fps, folder);
  if (typeof videos === 'string') return videos;
  const extra = videos.length > 0 ? rest : others;
  if (problem === undefined) return 'missing field problem';
  if (typeof problem !== 'string' || problem.trim() === '') return 'problem must be a text that is not empty';
  if (solution === undefined || solution === null) return 'missing field solution';
  const asked = withoutLeadingPlaces(problem);
  if (asked.trim() === '') return 'problem must be a text that is not empty';
  const fault =
    placeFault(problem, images.length, videos.length) ?? (thinking === undefined ? undefined : thinkingFault(thinking));
  if (fault !== undefined) return fault;
  if (task !== undefined && typeof task !== 'string') return 'task must be a name';
  if (id !== undefined && typeof id !== 'string' && typeof id !== 'number') return 'id must be a text or a number';
  const { prompt } = extra;
  if (prompt !== undefined && (typeof prompt !== 'string' || prompt.trim() === '')) {
    return 'prompt must be a text that is not empty';
  }
  return {
    id: id === undefined ? `line-${source.line}` : String(id),
    images: (images as string[]).map((item) => path.resolve(folder, item)),
    ...(videos.length > 0 && { videos }),
    problem: asked,
    solution: typeof solution === 'string' ? solution : JSON.stringify(solution),
    ...(thinking !== undefined && { thinking: thinking as string }),
    task: task ?? defaultTask,
    extra,
    source,
  };
}

/** Fields that a slip of the pen takes the effect of. */
const FIELDS = ['image', 'video', 'problem', 'solution', 'thinking', 'task', 'prompt'];
/** Fields of ours that are near to one of them. */
const OTHERS = ['mask', 'class', 'set', 'kind'];

/** A field that is nearly one which is not there; others are the user's own. */
function misspelledField(row: Readonly<Record<string, unknown>>): string | undefined {
  for (const name of Object.keys(row)) {
    if (name.length < 4 || FIELDS.includes(name) || OTHERS.includes(name)) continue;
    const plain = name.toLowerCase();
    const slips = (field: string): number => (field.length > 5 ? 2 : 1);
    const meant = FIELDS.find((field) => !Object.hasOwn(row, field) && editDistance(plain, field) <= slips(field));
    if (meant !== undefined) return `the field ${name} means nothing here: write ${meant}, or give it another name`;
  }
  return undefined;
}
