/** LLaVA: `image`, and `conversations` of `{from, value}`, as an array or a record a line; VLM-R1 has several images. */
import { listOf, questionsOf, roleOf, type Turn } from './conversation.ts';
import { fault, isText, objectsOf, type Item } from './record.ts';
import type { Glance, ReadContext, Reader } from './reader.ts';
import { records, type Source } from './source.ts';

const isLlava = ({ first }: Glance): boolean =>
  objectsOf(first?.['conversations']).some((turn) => 'from' in turn && 'value' in turn);

export const llava: Reader = {
  name: 'llava',
  knows: (glance) => isLlava(glance) && !Array.isArray(glance.first?.['image']) && !('images' in (glance.first ?? {})),
  read: readTurns,
};

/** VLM-R1: the same with a list of images, and mostly no `<image>`. */
export const vlmR1: Reader = {
  name: 'vlm-r1',
  knows: (glance) => isLlava(glance) && Array.isArray(glance.first?.['image']),
  read: readTurns,
};

async function* readTurns(source: Source, context: ReadContext): AsyncGenerator<Item> {
  for (const file of source.files) {
    for await (const record of records(file)) {
      if ('kind' in record) yield record;
      else {
        const { place, value } = record;
        const turns = turnsOf(value['conversations'], 'from', 'value');
        if (typeof turns === 'string') yield fault(place, turns);
        else {
          const images = listOf(value['image'] ?? value['images']);
          yield* questionsOf({ place, turns, images, id: value['id'], record: value }, context);
        }
      }
    }
  }
}

/** Turns under the names that a format has for role and text, or what is wrong with them. */
export function turnsOf(given: unknown, role: string, text: string): Turn[] | string {
  const turns = objectsOf(given).map((turn) => ({ role: roleOf(turn[role]), text: turn[text] }));
  if (turns.length === 0) return 'no conversation';
  const odd = turns.findIndex((turn) => turn.role === undefined || typeof turn.text !== 'string');
  if (odd >= 0) return `turn ${odd + 1} has no ${role} that is known, or no text as its ${text}`;
  return turns.filter((turn): turn is Turn => turn.role !== 'system' || isText(turn.text));
}
