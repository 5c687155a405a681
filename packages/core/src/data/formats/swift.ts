/**
 * ms-swift: `query`, `response`, `history`; `conversation` of `{human, assistant}`; `messages` with `objects`, whose
 * boxes stand at the `<bbox>` of the texts and whose names at the `<ref-object>`; images in the text or in `images`.
 */
import { listOf, questionsOf, type Turn } from './conversation.ts';
import { conversationOf } from './sharegpt.ts';
import { fault, isObject, isText, objectsOf, type Convention, type Item } from './record.ts';
import type { Reader } from './reader.ts';
import { records } from './source.ts';

const IN_TEXT = /<img>(.*?)<\/img>/g;

export const swift: Reader = {
  name: 'ms-swift',
  knows: ({ first, head }) =>
    (isText(first?.['query']) && 'response' in first) ||
    Array.isArray(first?.['conversation']) ||
    (Array.isArray(first?.['messages']) && (isObject(first['objects']) || /"objects"\s*:\s*\{\s*"/.test(head))),
  async *read(source, context) {
    for (const file of source.files) {
      for await (const record of records(file)) {
        if ('kind' in record) yield record;
        else {
          const { place, value } = record;
          const images: unknown[] = listOf(value['images'] ?? value['image']);
          const videos: unknown[] = [];
          const turns = turnsOf(value, images, videos);
          const filled = typeof turns === 'string' ? turns : withObjects(turns, value['objects']);
          if (typeof filled === 'string') yield fault(place, filled);
          else {
            const convention = conventionOf(value['objects']);
            for await (const item of questionsOf(
              { place, turns: filled, images, videos, id: value['id'], record: value },
              context,
            )) {
              yield declared(item, convention);
            }
          }
        }
      }
    }
  },
};

function turnsOf(value: Readonly<Record<string, unknown>>, images: unknown[], videos: unknown[]): Turn[] | string {
  const { query, response, history, conversation, system } = value;
  const turns: Turn[] = isText(system) ? [{ role: 'system', text: system }] : [];
  const exchange = (question: unknown, answer: unknown): boolean => {
    if (typeof question !== 'string' || typeof answer !== 'string') return false;
    const text = question.replaceAll(IN_TEXT, (_, name: string) => {
      images.push(name);
      return '<image>';
    });
    turns.push({ role: 'user', text }, { role: 'assistant', text: answer });
    return true;
  };
  if (Array.isArray(conversation)) {
    const whole = objectsOf(conversation).every(({ human, assistant }) => exchange(human, assistant));
    return whole ? turns : 'a turn without the texts human and assistant';
  }
  if (query === undefined) return conversationOf(value, images, videos);
  const pairs = listOf(history).map((pair) => (Array.isArray(pair) ? (pair as unknown[]) : []));
  const whole = [...pairs, [query, response]].every(([question, answer]) => exchange(question, answer));
  return whole ? turns : 'query, response and history must be texts';
}

/** Texts with the names and boxes of `objects` at their places; or why they do not fit. */
function withObjects(turns: readonly Turn[], objects: unknown): readonly Turn[] | string {
  if (objects === undefined || objects === null) return turns;
  if (!isObject(objects)) return 'objects is not an object with ref and bbox';
  const [names, boxes] = [listOf(objects['ref']), listOf(objects['bbox'])];
  const text = turns.map((turn) => turn.text).join('\n');
  const [namePlaces, boxPlaces] = ['<ref-object>', '<bbox>'].map((mark) => text.split(mark).length - 1) as [
    number,
    number,
  ];
  if (boxPlaces !== boxes.length) return `${boxPlaces} <bbox> for ${boxes.length} boxes in objects.bbox`;
  if (namePlaces > names.length) return `${namePlaces} <ref-object> for ${names.length} names in objects.ref`;
  let [name, box] = [0, 0];
  return turns.map(({ role, text: own }) => {
    const places = own.split('<bbox>').length - 1;
    if (places > 0 && own.replaceAll(/<bbox>|\s|,/g, '') === '') {
      // Boxes alone, with whatever between them, are a list of them.
      return { role, text: JSON.stringify(boxes.slice(box, (box += places))) };
    }
    const text = own
      .replaceAll('<ref-object>', () => String(names[name++]))
      .replaceAll('<bbox>', () => JSON.stringify(boxes[box++]));
    return { role, text };
  });
}

/** `bbox_type`: `real` are pixels, `norm1000` thousandths, `norm1` shares. */
function conventionOf(objects: unknown): Convention {
  const type = isObject(objects) ? objects['bbox_type'] : undefined;
  if (type === 'norm1000') return { form: 'xyxy', units: 'thousandths' };
  if (type === 'norm1') return { form: 'xyxy', units: 'unit' };
  return { form: 'xyxy' };
}

const declared = (item: Item, convention: Convention): Item =>
  item.kind === 'question' && item.convention.units === undefined ? { ...item, convention } : item;
