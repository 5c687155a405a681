/** XML of the LabelMe web tool: outlines, and boxes around masks. */
import { outlineOf } from './geometry.ts';
import { fault, fourNumbers, isText, sizeOf, type LabelledBox } from './record.ts';
import type { Reader } from './reader.ts';
import { readXml } from './source.ts';
import { childrenOf, textAt, type Element } from './xml.ts';

const CORNERS = { form: 'xyxy' } as const;

export const labelmeXml: Reader = {
  name: 'labelme-xml',
  knows: ({ extension, head }) => extension === 'xml' && /<annotation[\s>]/.test(head) && head.includes('<polygon'),
  async *read(source, context) {
    for (const file of source.files.filter((each) => each.endsWith('.xml'))) {
      const root = await readXml(file);
      const place = { file, record: 1 };
      const name = textAt(root, 'filename');
      if (!isText(name)) yield fault(place, 'no filename');
      else {
        const kept = childrenOf(root, 'object').filter((object) => textAt(object, 'deleted') !== '1');
        const objects = kept.flatMap((object): LabelledBox[] => {
          const [label, shape] = [textAt(object, 'name'), webShape(object)];
          return isText(label) && shape ? [{ label, ...shape, convention: CORNERS }] : [];
        });
        const frame = sizeOf(textAt(root, 'imagesize', 'ncols'), textAt(root, 'imagesize', 'nrows'));
        yield { kind: 'image', place, image: context.images.find(name, file), frame, objects, unsure: [] };
      }
    }
  },
};

function webShape(object: Element): Pick<LabelledBox, 'numbers' | 'mask'> | undefined {
  const polygon = childrenOf(object, 'polygon').flatMap((each) => childrenOf(each, 'pt'));
  if (polygon.length > 0) {
    const outline = outlineOf(polygon.map((point) => [Number(textAt(point, 'x')), Number(textAt(point, 'y'))]));
    // The tool's boxes are outlines, too.
    return outline && textAt(object, 'type') === 'bounding_box' ? { numbers: outline.numbers } : outline;
  }
  const numbers = fourNumbers(['xmin', 'ymin', 'xmax', 'ymax'].map((side) => textAt(object, 'segm', 'box', side)));
  return numbers && { numbers };
}
