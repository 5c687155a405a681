/** Turns of a conversation as questions: one for every answer, after what was said before it. */
import { placeFault, withoutLeadingPlaces } from '../../prompt/places.ts';
import type { Clip } from '../../types.ts';
import { videoFields, videoFileFault } from '../videos.ts';
import { solutionOf } from './answer.ts';
import { fault, isObject, isText, sizeOf, type Item, type Place } from './record.ts';
import type { ReadContext } from './reader.ts';
import { IMAGE_NAME } from './source.ts';

export interface Turn {
  readonly role: 'system' | 'user' | 'assistant';
  /** The text, with `<image>` where an image stands. */
  readonly text: string;
}

/** A record as its format tells it. */
export interface Conversation {
  readonly place: Place;
  readonly id?: unknown;
  readonly turns: readonly Turn[];
  /** Names, data URIs or bytes, in the order of their places. */
  readonly images: readonly unknown[];
  /** Of videos within the turns: frames, or files that cannot be read. */
  readonly videos?: readonly unknown[];
  /** What else the record says. */
  readonly record: Readonly<Record<string, unknown>>;
}

const PLACE = '<image>';
const ROLES: Readonly<Record<string, Turn['role']>> = {
  ...{ human: 'user', user: 'user', gpt: 'assistant', assistant: 'assistant', system: 'system', developer: 'system' },
  ...{ function_call: 'assistant', observation: 'user', tool: 'user', model: 'assistant', bot: 'assistant' },
};

export const roleOf = (name: unknown): Turn['role'] | undefined => ROLES[String(name).toLowerCase()];

/** The questions of a conversation. */
export async function* questionsOf(conversation: Conversation, context: ReadContext): AsyncGenerator<Item> {
  const { place, turns, record, id } = conversation;
  for (const kind of ['audio', 'audios']) {
    const held = record[kind];
    if (Array.isArray(held) ? held.length > 0 : isText(held)) {
      yield fault(place, `${kind} are not read here`);
      return;
    }
  }
  const images = await imagesOf(conversation.images, place, context);
  const videos = videosOf(
    { ...record, video: conversation.videos?.length ? conversation.videos : record['video'] },
    place,
    context,
  );
  if (typeof images === 'string' || typeof videos === 'string') {
    yield fault(place, typeof images === 'string' ? images : (videos as string));
    return;
  }
  if (turns.some(({ role }) => role === 'system')) context.note('system turns are left out: data.system sets one');
  const pairs = pairsOf(turns);
  if (pairs.length === 0) {
    yield fault(place, 'no answer follows a question');
    return;
  }
  if (pairs.length > 1) context.note('conversations of several turns give a question for every answer');
  const wrong = placeFault(pairs.at(-1)!.question, images.length, videos.length);
  if (wrong !== undefined) {
    yield fault(place, wrong);
    return;
  }
  for (const [i, { question, answer }] of pairs.entries()) {
    // Texts without places show all their images first.
    const seen = <T>(all: readonly T[], mark: string): readonly T[] =>
      question.includes(mark) ? all.slice(0, question.split(mark).length - 1) : all;
    const { fields, convention } = solutionOf(answer);
    const named = isText(id) || typeof id === 'number' ? String(id) : undefined;
    yield {
      ...{ kind: 'question', place, images: seen(images, PLACE), convention },
      frame: sizeOf(record['width'], record['height']),
      fields: {
        ...(named !== undefined && { id: pairs.length > 1 ? `${named}-${i + 1}` : named }),
        ...{ problem: withoutLeadingPlaces(placesTogether(question)), ...fields },
        ...videoFields(seen(videos, '<video>')),
      },
    };
  }
}

/** The one place of a question at its end says no more than one at its beginning. */
const placesTogether = (question: string): string =>
  /^[^]*\S\s*<(?:image|video)>\s*$/.test(question) && question.split(/<(?:image|video)>/).length === 2
    ? question.replace(/<(?:image|video)>/, '').trim()
    : question;

/** Every answer with the question before it, which holds all that was said until then. */
function pairsOf(turns: readonly Turn[]): { question: string; answer: string }[] {
  const pairs: { question: string; answer: string }[] = [];
  let said: string[] = [];
  for (const { role, text } of turns) {
    if (role === 'system') continue;
    if (role === 'assistant' && said.length > 0) pairs.push({ question: said.join('\n'), answer: text });
    said = [...said, text.trim()];
  }
  return pairs;
}

/** Files of images, or why there are none. */
export async function imagesOf(
  given: readonly unknown[],
  { file }: Place,
  { images, store }: ReadContext,
): Promise<string[] | string> {
  const found: string[] = [];
  for (const each of given) {
    const held: unknown = isObject(each) ? (each['bytes'] ?? each['path'] ?? each['url'] ?? each['image']) : each;
    if (held instanceof Uint8Array) found.push(await store.put(held));
    else if (!isText(held)) return 'an image is neither a path nor bytes';
    else if (/^https?:/i.test(held)) return `the image ${held.slice(0, 200)} is not on this machine: download it first`;
    else if (held.startsWith('data:')) {
      const [, base64] = /^data:image\/[\w.+-]+;base64,([\w+/=\s]*)$/.exec(held) ?? [];
      if (base64 === undefined) return 'a data URI that is no image in base64';
      found.push(await store.put(Buffer.from(base64, 'base64')));
    } else found.push(images.find(held, file));
  }
  return found;
}

/** Frames per second where nobody says: what the trainers that such records are written for sample videos at. */
const USUAL_FPS = 2;

/** The videos of a record, or why there are none: lists of frames under `video` or `videos`. */
export function videosOf(
  record: Readonly<Record<string, unknown>>,
  { file }: Place,
  { images, note }: ReadContext,
): Clip[] | string {
  const held = listOf(record['videos'] ?? record['video']);
  const isFrames = held.length > 0 && held.every((each) => isText(each) && IMAGE_NAME.test(each));
  const clips: Clip[] = [];
  for (const [i, given] of (isFrames ? [held] : held).entries()) {
    const own: unknown = isObject(given) ? (given['video'] ?? given['frames'] ?? given['path']) : given;
    const frames = listOf(own);
    if (typeof own === 'string' || !frames.every(isText)) return videoFileFault(isText(own) ? own : 'of the record');
    if (frames.length === 0) return 'a video without frames';
    const rates = listOf(record['fps'] ?? record['video_fps']);
    const said: unknown = (isObject(given) ? given['fps'] : undefined) ?? rates[rates.length > 1 ? i : 0];
    if (said === undefined) note(`videos that name no fps are taken for ${USUAL_FPS} frames per second`);
    const fps = said === undefined ? USUAL_FPS : Number(said);
    if (!(fps > 0)) return 'fps must be a number above 0, of frames per second';
    clips.push({ video: frames.map((name) => images.find(name, file)), fps });
  }
  return clips;
}

/** One value, or the values of a list; none for what is missing. */
export const listOf = (value: unknown): unknown[] =>
  value === undefined || value === null ? [] : Array.isArray(value) ? (value as unknown[]) : [value];
