/** LLaVA's captions with boxes: `instances` of category and corners. */
import { fault, fourNumbers, isText, objectsOf, type Item, type LabelledBox } from './record.ts';
import type { ReadContext, Reader } from './reader.ts';
import { records } from './source.ts';

type Json = Readonly<Record<string, unknown>>;

export const instances: Reader = {
  name: 'instances',
  knows: ({ first }) => isText(first?.['image']) && objectsOf(first['instances']).some((each) => 'bbox' in each),
  async *read(source, context) {
    for (const file of source.files) {
      for await (const record of records(file)) {
        if ('kind' in record) yield record;
        else yield instancesOf(record.value, record.place, context);
      }
    }
  },
};

function instancesOf(value: Json, place: { file: string; record: number }, context: ReadContext): Item {
  if (!isText(value['image'])) return fault(place, 'no image');
  const objects: LabelledBox[] = [];
  for (const [i, each] of objectsOf(value['instances']).entries()) {
    const { category: label, bbox } = each;
    const numbers = Array.isArray(bbox) ? fourNumbers(bbox as unknown[]) : undefined;
    if (!isText(label) || !numbers)
      return fault(place, `instance ${i + 1} has no category, or no bbox of four numbers`);
    objects.push({ label, numbers, convention: {} });
  }
  return { kind: 'image', place, image: context.images.find(value['image'], place.file), objects, unsure: [] };
}
