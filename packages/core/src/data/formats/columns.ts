/**
 * Records by the names of their columns: ours, those of Seg-Zero, VisionReasoner and ViSurf (`problem`, `solution`,
 * `image`, `img_height`, `img_width`), EasyR1 (`problem`, `answer`, `images`), verl (`prompt` of messages,
 * `reward_model`), question files (`question` or `text`, `answer` or `label`), chats, and Hugging Face's detection sets
 * (`objects` of `bbox` and `category`).
 */
import { withoutLeadingPlaces } from '../../prompt/places.ts';
import { solutionOf } from './answer.ts';
import { videoFields } from '../videos.ts';
import { imagesOf, listOf, questionsOf, videosOf } from './conversation.ts';
import { conversationOf } from './sharegpt.ts';
import { fault, fourNumbers, isObject, isText, sizeOf, type Item, type LabelledBox, type Place } from './record.ts';
import type { ReadContext, Reader } from './reader.ts';
import { records } from './source.ts';

const IMAGES = ['image', 'images', 'img', 'image_path', 'image_file', 'file_name', 'img_path'];
const PROBLEMS = ['problem', 'question', 'query', 'text', 'prompt', 'instruction'];
const SOLUTIONS = ['solution', 'answer', 'label', 'response', 'ground_truth', 'answers', 'output'];
const IDS = ['id', 'question_id', 'pid', 'qid'];

type Columns = Readonly<Record<string, unknown>>;

const firstOf = (record: Columns, names: readonly string[]): string | undefined =>
  names.find((name) => record[name] !== undefined && record[name] !== null);

const hasColumns = (record: Columns | undefined): record is Columns =>
  record !== undefined && [PROBLEMS, SOLUTIONS].every((names) => firstOf(record, names) !== undefined);

/** An array of our records; a file of lines of ours needs no reader. */
export const visurf: Reader = {
  name: 'visurf',
  knows: ({ first }) =>
    first !== undefined &&
    'problem' in first &&
    'solution' in first &&
    ['image', undefined].includes(firstOf(first, IMAGES)),
  async *read(source, context) {
    for (const file of source.files) {
      for await (const record of records(file)) {
        if ('kind' in record) yield record;
        else {
          const { place, value } = record;
          const images = await imagesOf(listOf(value['image']), place, context);
          if (typeof images === 'string') yield fault(place, images);
          else {
            const { image: _, ...given } = value;
            const fields = Array.isArray(given['video'])
              ? { ...given, video: located(given['video'], place, context) }
              : given;
            yield { kind: 'question', place, images, fields, convention: { form: 'xyxy', units: 'pixels' } };
          }
        }
      }
    }
  },
};

/** Frames where they are. */
const located = (frames: readonly unknown[], place: Place, context: ReadContext): unknown[] =>
  frames.map((each) =>
    Array.isArray(each) ? located(each, place, context) : isText(each) ? context.images.find(each, place.file) : each,
  );

/** Questions under other names. */
export const questions: Reader = {
  name: 'questions',
  knows: ({ first }) => hasColumns(first) && firstOf(first, [...IMAGES, 'video', 'videos']) !== undefined,
  async *read(source, context) {
    for (const file of source.files) {
      for await (const record of records(file)) {
        if ('kind' in record) yield record;
        else yield* fromColumns(record.value, record.place, context);
      }
    }
  },
};

/**
 * What a record of columns holds.
 * @param classes names of categories that are numbers
 */
export async function* fromColumns(
  record: Columns,
  place: Place,
  context: ReadContext,
  classes: readonly string[] = [],
): AsyncGenerator<Item> {
  const images: unknown[] = listOf(record[firstOf(record, IMAGES) ?? '']);
  if (isObject(record['objects'])) {
    yield* fromObjects(record, images, place, context, classes);
    return;
  }
  if (Array.isArray(record['conversations']) || Array.isArray(record['messages'])) {
    const videos: unknown[] = [];
    const turns = conversationOf(record, images, videos);
    if (typeof turns === 'string') {
      yield fault(place, turns);
      return;
    }
    yield* questionsOf({ place, turns, images, videos, id: record['id'], record }, context);
    return;
  }
  const files = await imagesOf(images, place, context);
  const videos = videosOf(record, place, context);
  if (typeof files === 'string' || typeof videos === 'string') {
    yield fault(place, typeof files === 'string' ? files : (videos as string));
    return;
  }
  const problem = problemOf(record);
  if (problem === undefined) {
    yield fault(place, `no column with a question: ${columnsOf(record)}`);
    return;
  }
  const column = firstOf(record, SOLUTIONS);
  const truth = isObject(record['reward_model']) ? record['reward_model']['ground_truth'] : undefined;
  const answer = column === undefined ? truth : record[column];
  if (answer === undefined || answer === null) {
    yield fault(place, `no column with an answer: ${columnsOf(record)}`);
    return;
  }
  // EasyR1 asks for mathematics, under these two names.
  const mathematics = column === 'answer' && 'problem' in record ? 'math' : undefined;
  const { fields, convention } = solutionOf(answer, isText(record['task']) ? record['task'] : mathematics);
  const id = record[firstOf(record, IDS) ?? ''];
  yield {
    ...{ kind: 'question', place, images: files, convention },
    frame: sizeOf(record['width'], record['height']) ?? sizeOf(record['img_width'], record['img_height']),
    fields: {
      ...((isText(id) || typeof id === 'number' || typeof id === 'bigint') && { id: String(id) }),
      ...{ problem: withoutLeadingPlaces(problem), ...fields },
      ...videoFields(videos),
      ...keptOf(record),
    },
  };
}

const columnsOf = (record: Columns): string => Object.keys(record).slice(0, 20).join(', ');

/** The question, also as the user turn of a list of messages. */
function problemOf(record: Columns): string | undefined {
  const asked = record[firstOf(record, PROBLEMS) ?? ''];
  if (!Array.isArray(asked)) return isText(asked) ? asked : undefined;
  const turns = conversationOf({ messages: asked }, []);
  return typeof turns === 'string' ? undefined : turns.findLast(({ role }) => role === 'user')?.text;
}

/** Columns that tasks of ours read. */
const KEPT = ['thinking', 'set', 'choices', 'question_type', 'answer_type', 'precision', 'unit', 'skills'];
const keptOf = (record: Columns): Columns =>
  Object.fromEntries(
    KEPT.filter((name) => name in record && record[name] !== null).map((name) => [name, record[name]]),
  );

/** Hugging Face's detection columns: boxes as in COCO, and classes as names or numbers. */
async function* fromObjects(
  record: Columns,
  images: readonly unknown[],
  place: Place,
  context: ReadContext,
  classes: readonly string[],
): AsyncGenerator<Item> {
  const files = await imagesOf(images, place, context);
  if (typeof files === 'string' || files.length !== 1) {
    yield fault(place, typeof files === 'string' ? files : `${files.length} images where boxes need one`);
    return;
  }
  const held = record['objects'] as Columns;
  const boxes = listOf(held['bbox'] ?? held['bboxes']);
  const names = listOf(held['category'] ?? held['categories'] ?? held['label'] ?? held['labels']);
  const objects: LabelledBox[] = [];
  for (const [i, box] of boxes.entries()) {
    const numbers = fourNumbers(listOf(box));
    const name: unknown = typeof names[i] === 'string' ? names[i] : classes[Number(names[i] ?? NaN)];
    if (!numbers) {
      yield fault(place, `object ${i + 1}: its bbox is not four numbers`);
      return;
    }
    if (!isText(name)) {
      yield fault(place, `object ${i + 1}: its category has no name`);
      return;
    }
    objects.push({ label: name, numbers, convention: { form: 'xywh' } });
  }
  yield {
    kind: 'image',
    place,
    image: files[0]!,
    objects,
    unsure: [],
    frame: sizeOf(record['width'], record['height']),
  };
}
