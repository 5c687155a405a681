/** CVAT's XML "for images": corners and outlines of every image. */
import { outlineOf } from './geometry.ts';
import { fault, fourNumbers, isText, sizeOf, type Item, type LabelledBox } from './record.ts';
import type { ReadContext, Reader } from './reader.ts';
import { readXml } from './source.ts';
import { childrenOf, textAt, type Element } from './xml.ts';

const CORNERS = { form: 'xyxy' } as const;

export const cvat: Reader = {
  name: 'cvat',
  knows: ({ extension, head }) => extension === 'xml' && /<annotations[\s>]/.test(head),
  async *read(source, context) {
    for (const file of source.files.filter((each) => each.endsWith('.xml'))) {
      const root = await readXml(file);
      const labels = childrenOf(root, 'meta').flatMap(({ children }) =>
        children.flatMap((task) => childrenOf(task, 'labels').flatMap((all) => childrenOf(all, 'label'))),
      );
      context.declare(...labels.map((label) => textAt(label, 'name')).filter(isText));
      for (const [i, image] of childrenOf(root, 'image').entries()) yield cvatImage(image, file, i + 1, context);
      if (childrenOf(root, 'track').length > 0) context.note(`${file}: tracks of videos are left out`);
    }
  },
};

function cvatImage(image: Element, file: string, record: number, context: ReadContext): Item {
  const name = image.attributes.get('name');
  if (!isText(name)) return fault({ file, record }, 'an image without a name');
  const objects = image.children.flatMap((shape): LabelledBox[] => {
    const label = shape.attributes.get('label');
    const sides = ['xtl', 'ytl', 'xbr', 'ybr'].map((side) => shape.attributes.get(side));
    const points = (shape.attributes.get('points') ?? '').split(';').map((pair) => pair.split(',').map(Number));
    const outline = ['polygon', 'polyline'].includes(shape.name) ? outlineOf(points as [number, number][]) : undefined;
    const numbers = shape.name === 'box' ? fourNumbers(sides) : outline?.numbers;
    const mask = shape.name === 'polygon' ? outline?.mask : undefined;
    return isText(label) && numbers ? [{ label, numbers, mask, convention: CORNERS }] : [];
  });
  const labels = image.children.map((shape) => shape.attributes.get('label')).filter(isText);
  const unsure = labels.filter((label) => !objects.some((object) => object.label === label));
  const frame = sizeOf(image.attributes.get('width'), image.attributes.get('height'));
  return { kind: 'image', place: { file, record }, image: context.images.find(name, file), frame, objects, unsure };
}
