/** CreateML: boxes by their centre, in pixels. */
import { fault, fourNumbers, isObject, isText, objectsOf, type LabelledBox } from './record.ts';
import type { Reader } from './reader.ts';
import { records } from './source.ts';

export const createml: Reader = {
  name: 'createml',
  knows: ({ first }) =>
    isText(first?.['image'] ?? first?.['imagefilename']) &&
    objectsOf(first?.['annotations'] ?? first?.['annotation']).some((each) => 'coordinates' in each),
  async *read(source, context) {
    for (const file of source.files) {
      for await (const record of records(file)) {
        if ('kind' in record) yield record;
        else {
          const { place, value } = record;
          const name = value['image'] ?? value['imagefilename'];
          const objects = objectsOf(value['annotations'] ?? value['annotation']).flatMap((each): LabelledBox[] => {
            const { label, coordinates: at } = each;
            const numbers = isObject(at) ? fourNumbers([at['x'], at['y'], at['width'], at['height']]) : undefined;
            return isText(label) && numbers ? [{ label, numbers, convention: { form: 'cxcywh' } }] : [];
          });
          if (!isText(name)) yield fault(place, 'no image');
          else yield { kind: 'image', place, image: context.images.find(name, file), objects, unsure: [] };
        }
      }
    }
  },
};
